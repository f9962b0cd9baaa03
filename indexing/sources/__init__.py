"""All candidate sources by name. A module here is a source: `SOURCE` is its class (see `indexing.source`)."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexing.source import Source

MOST = 12  # at once: each has a bit of its own beside those of `indexing.columns`


def names() -> list[str]:
    """The sources there are, in alphabetical order. Imports none of them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


@cache
def source(name: str) -> type[Source]:
    """The class of a source. Raises ValueError for a name that is none."""
    if name not in names():
        raise ValueError(f"unknown candidate source {name!r}; known: {', '.join(names())}")
    found: type[Source] = import_module(f"{__name__}.{name}").SOURCE
    return found


def check(chosen: Sequence[str]) -> None:
    """Raises ValueError unless every name is a source, once, and there are not too many."""
    for name in chosen:
        source_names = names()
        if name not in source_names:
            raise ValueError(f"unknown candidate source {name!r}; known: {', '.join(source_names)}")
    if len(set(chosen)) < len(chosen) or len(chosen) > MOST:
        raise ValueError(f"each candidate source may be named once, and at most {MOST} of them")
