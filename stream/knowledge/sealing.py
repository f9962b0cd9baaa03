"""The last step of building an artifact: its id, its README and its manifest, from the files as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from stream.failpoints import failpoint
from stream.knowledge.manifest import (
    FILES,
    MANIFEST,
    README,
    Manifest,
    artifact_id,
    describe_file,
    encode_manifest,
)
from stream.wire.times import to_iso

LIBRARIES = (
    "alluvium",
    "numpy",
    "torch",
    "faiss-cpu",
    "numba",
    "msgspec",
    "safetensors",
    "pyarrow",
    "fsspec",
    "aiokafka",
)


def seal(directory: Path, draft: Manifest, created: int) -> Manifest:
    """Completes `draft` (its id and files are empty) for the data files in `directory` and writes README and manifest.

    `created` is the moment in epoch milliseconds. Returns the manifest as written.
    """
    files = {name: describe_file(directory / name) for name in FILES if name != README}
    manifest = msgspec.structs.replace(
        draft, id=artifact_id(created, files), created=to_iso(created), libraries=library_versions(), files=files
    )
    (directory / README).write_text(readme(manifest), "utf-8")
    failpoint("write.README.md")
    manifest = msgspec.structs.replace(manifest, files={**files, README: describe_file(directory / README)})
    (directory / MANIFEST).write_bytes(encode_manifest(manifest))
    failpoint("write.manifest.json")
    return manifest


def readme(manifest: Manifest) -> str:
    """The manifest in words, as Markdown."""
    spans = [span for span in manifest.window.partitions.values() if span.first_time and span.last_time]
    first = min((span.first_time or "" for span in spans), default="")
    last = max((span.last_time or "" for span in spans), default="")
    lines = [
        f"# Knowledge artifact {manifest.id}",
        "",
        f"Made {manifest.created} from {manifest.window.events} events of `{manifest.window.topic}`"
        + (f", which happened from {first} to {last}." if spans else "."),
        f"It knows {manifest.items} items. "
        + (f"Its parent is `{manifest.parent}`." if manifest.parent else "It is the first: it has no parent."),
        "",
        "`manifest.json` has every detail, and size and SHA-256 of each file. `alluvium artifacts verify` checks them.",
        "",
        "| measure | value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in measures(manifest.metrics)),
        "",
        "| file | bytes |",
        "|---|---|",
        *(f"| {name} | {entry.size} |" for name, entry in manifest.files.items()),
        "",
    ]
    return "\n".join(lines)


def measures(metrics: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested metrics as flat names and shown values, in the order given."""
    shown: list[tuple[str, str]] = []
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            shown += measures(value, f"{prefix}{name}.")
        else:
            shown.append((f"{prefix}{name}", f"{value:.4f}" if isinstance(value, float) else str(value)))
    return shown


def library_versions() -> dict[str, str]:
    """What this process was running with."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
