"""Lists for tests, made from columns instead of from knowledge."""

from __future__ import annotations

from collections.abc import Sequence

from indexing.candidates import SourceNames, source_bit
from models.vocabulary import Vocabulary
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.listed import Lists, RankedList
from stream.knowledge.places import Places
from stream.knowledge.served import ServedItems

MEMORIES = ("sessions", "covisitation")


def made_list(
    item_ids: Sequence[str],
    scores: Sequence[float],
    sources: Sequence[Sequence[str]],
    *,
    chances: Sequence[float] = (),
    because: list[list[str]] | None = None,
    fallback: str | None = None,
) -> RankedList:
    """A list of these places, for certain unless `chances` are given."""
    rows = {item_id: row for row, item_id in enumerate(dict.fromkeys(item_ids))}
    lists = Lists(ServedItems(Vocabulary([*rows]), Catalogue()), SourceNames(MEMORIES), (1, len(item_ids)))
    bits = [sum(source_bit(name, MEMORIES) for name in {*names}) for names in sources]
    certain = list(chances) or [1.0] * len(item_ids)
    lists.put(0, Places([rows[item_id] for item_id in item_ids], list(scores), bits, certain))
    if because is not None:
        lists.because[0] = because
    lists.fallbacks[0] = fallback
    return lists[0]
