"""`alluvium artifacts`: look at, compare, check, announce and move knowledge artifacts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from aiokafka.errors import KafkaError
from rich import box
from rich.table import Column, Table

from stream.cli.common import FAILED, JsonOption, fail, load_settings, print_json, run, stderr, stdout
from stream.logs import Log
from stream.settings import Settings

if TYPE_CHECKING:  # numba, FAISS and Arrow take seconds to import: only the commands that need them do
    from stream.knowledge.manifest import Manifest
    from stream.knowledge.store import ArtifactStore
    from stream.wire.messages import ArtifactAnnouncement

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="An artifact's id, or `latest`.")]
ReasonOption = Annotated[str, typer.Option(help="Why; written into the announcement.")]
ChannelOption = Annotated[Literal["champion", "challenger"], typer.Option(help="Which channel to change.")]

app = typer.Typer(no_args_is_help=True, help="Knowledge artifacts: list, show, compare, verify, announce, move.")
log = Log("alluvium.artifacts")


def register(parent: typer.Typer) -> None:
    """Adds the commands."""
    parent.add_typer(app, name="artifacts")


@app.command("list")
def list_artifacts(context: typer.Context, json: JsonOption = False) -> None:
    """List all artifacts of the store, newest first, and which of them are announced."""
    settings = load_settings(context)
    with _errors(settings):
        store = _store(settings)
        announced = _announced_if_reachable(settings)
        rows = [_row(store, artifact, announced) for artifact in store.list()]
    if json:
        print_json(rows)
        return
    headings = ("age", "items", "events", "recall@20", "mrr@20", "serves")
    table = Table(Column("id", min_width=21), *headings, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for row in rows:
        shown = (f"{value:.4f}" if isinstance(value, float) else str(value) for value in list(row.values())[2:])
        table.add_row(str(row["id"]), _age(row["age_seconds"]), *("" if value == "None" else value for value in shown))
    stdout.print(table)


@app.command()
def show(context: typer.Context, artifact: IdArgument = "latest", json: JsonOption = False) -> None:
    """Show one artifact: what it is, what it was made from and how good it was found to be."""
    settings = load_settings(context)
    with _errors(settings):
        store = _store(settings)
        manifest = store.manifest(store.resolve(artifact))
    if json:
        print_json(manifest)
        return
    from stream.knowledge.sealing import readme  # noqa: PLC0415

    stdout.print(readme(manifest), markup=False)


@app.command()
def verify(
    context: typer.Context,
    artifact: IdArgument = "latest",
    every: Annotated[bool, typer.Option("--all", help="Verify every artifact of the store.")] = False,
    json: JsonOption = False,
) -> None:
    """Hash every file anew, load the artifact and ask it for a list; exit code 1 if anything is wrong."""
    settings = load_settings(context)
    with _errors(settings):
        store = _store(settings)
        artifacts = store.list() if every else [store.resolve(artifact)]
        found = {name: store.verify(name) for name in artifacts}
    if json:
        print_json(found)
    else:
        for name, problems in found.items():
            stdout.print(f"{'good' if not problems else 'bad '}  {name}", style=None if not problems else "red")
            for problem in problems:
                stdout.print(f"      {problem}", markup=False)
    if any(found.values()):
        raise typer.Exit(FAILED)


@app.command()
def diff(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A", help="An artifact's id, or `latest`.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")] = "latest",
    json: JsonOption = False,
) -> None:
    """Say what changed from artifact A to artifact B."""
    settings = load_settings(context)
    from stream.knowledge.comparing import TOP_ITEMS, compare_artifacts  # noqa: PLC0415

    with _errors(settings):
        store = _store(settings)
        comparison = compare_artifacts(store, store.resolve(first), store.resolve(second))
    if json:
        print_json(comparison)
        return
    table = Table(Column(no_wrap=True), comparison.first, comparison.second)
    for part in (comparison.metrics, comparison.settings):
        for name, values in part.items():
            table.add_row(name, *("" if value is None else value for value in values))
    stdout.print(table)
    stdout.print(f"items added: {comparison.items_added} {' '.join(comparison.added_examples)}", markup=False)
    stdout.print(f"items removed: {comparison.items_removed} {' '.join(comparison.removed_examples)}", markup=False)
    if comparison.similar_overlap is not None:
        stdout.print(
            f"similar items of the {comparison.similar_items} best known (of {TOP_ITEMS}) items that both know: "
            f"{comparison.similar_overlap:.0%} the same"
        )


@app.command()
def promote(
    context: typer.Context,
    artifact: IdArgument,
    reason: ReasonOption = "",
    channel: ChannelOption = "champion",
    json: JsonOption = False,
) -> None:
    """Verify an artifact and announce it: all workers change to it, and the trainer goes on from it."""
    settings = load_settings(context)
    from stream import announcements, promoting  # noqa: PLC0415

    with _errors(settings):
        store = _store(settings)
        why = _reason(announcements.PROMOTE, reason)
        work = promoting.promote(
            settings.kafka, store, store.resolve(artifact), now=_now(), reason=why, channel=channel
        )
        _print_announcement(run(work), channel, json=json)


@app.command()
def rollback(
    context: typer.Context, reason: ReasonOption = "", channel: ChannelOption = "champion", json: JsonOption = False
) -> None:
    """Verify the parent of the artifact that serves now and announce it."""
    settings = load_settings(context)
    from stream import announcements, promoting  # noqa: PLC0415

    with _errors(settings):
        why = _reason(announcements.ROLLBACK, reason)
        work = promoting.roll_back(settings.kafka, _store(settings), log, now=_now(), reason=why, channel=channel)
        _print_announcement(run(work), channel, json=json)


@app.command()
def gc(
    context: typer.Context,
    keep: Annotated[
        int | None, typer.Option(min=1, help="How many of the newest to keep; default: artifacts.keep.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Delete all but the newest artifacts, the announced ones and their parents; also what was left half built."""
    settings = load_settings(context)
    from stream.announcements import announced_now  # noqa: PLC0415

    with _errors(settings):
        store = _store(settings)
        announced = run(announced_now(settings.kafka, log))
        pinned = {announcement.artifact for announcement in announced.values()}
        deleted = store.collect(keep or settings.artifacts.keep, pinned)
        left = store.clean()
    if json:
        print_json({"deleted": deleted, "left_half_built": left})
        return
    for name in (*deleted, *left):
        stdout.print(f"deleted  {name}")


@app.command("export")
def export_command(
    context: typer.Context,
    artifact: IdArgument,
    target: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .tar, .tar.gz or .tgz; any other name: a directory.")
    ],
) -> None:
    """Write an artifact to a file that `import` reads, elsewhere or later."""
    settings = load_settings(context)
    from stream.knowledge.transfer import export_artifact  # noqa: PLC0415

    with _errors(settings):
        store = _store(settings)
        stdout.print(str(export_artifact(store, store.resolve(artifact), target)))


@app.command("import")
def import_command(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What `export` wrote, or an artifact's directory.")],
) -> None:
    """Verify an exported artifact and put it into the store; announce it with `promote`."""
    settings = load_settings(context)
    from stream.knowledge.transfer import import_artifact  # noqa: PLC0415

    with _errors(settings):
        stdout.print(import_artifact(_store(settings), source))


def _store(settings: Settings) -> ArtifactStore:
    from stream.knowledge.store import ArtifactStore  # noqa: PLC0415

    return ArtifactStore(settings.artifacts.url, settings.artifacts.cache_dir)


@contextmanager
def _errors(settings: Settings) -> Iterator[None]:
    """What can go wrong on the way, each as one line and exit code 1."""
    from stream.knowledge.directories import StoreInUseError  # noqa: PLC0415
    from stream.knowledge.manifest import ArtifactError  # noqa: PLC0415
    from stream.promoting import NothingToRollBackToError  # noqa: PLC0415

    try:
        yield
    except (ArtifactError, NothingToRollBackToError, StoreInUseError) as error:
        fail(str(error))
    except KafkaError as error:
        fail(f"Kafka at {settings.kafka.bootstrap_servers}: {error}")
    except OSError as error:
        fail(f"{settings.artifacts.url}: {error}")


def _announced_if_reachable(settings: Settings) -> dict[str, ArtifactAnnouncement]:
    from stream.announcements import announced_now  # noqa: PLC0415

    try:
        return run(announced_now(settings.kafka, log))
    except (KafkaError, OSError) as error:
        stderr.print(
            f"which ones serve is not known: Kafka at {settings.kafka.bootstrap_servers}: {error}", markup=False
        )
        return {}


def _row(store: ArtifactStore, artifact: str, announced: dict[str, ArtifactAnnouncement]) -> dict[str, object]:
    from stream.knowledge.manifest import ArtifactError, time_of  # noqa: PLC0415

    manifest: Manifest | None = None
    marks = [channel for channel, announcement in announced.items() if announcement.artifact == artifact]
    try:
        manifest = store.manifest(artifact)
    except ArtifactError:
        marks.append("damaged")
    scores = manifest.metrics.get("held_out", {}).get("candidate", {}) if manifest else {}
    return {
        "id": artifact,
        "age_seconds": max(0, (_now() - time_of(artifact)) // 1000),
        "items": manifest.items if manifest else None,
        "events": manifest.window.events if manifest else None,
        "recall@20": scores.get("recall@20"),
        "mrr@20": scores.get("mrr@20"),
        "serves": ", ".join(sorted(marks)),
    }


def _print_announcement(announcement: ArtifactAnnouncement, channel: str, *, json: bool) -> None:
    if json:
        print_json(announcement)
    else:
        stdout.print(f"announced {announcement.artifact} as {channel}")


def _reason(kind: str, why: str) -> str:
    return f"{kind}: {why}" if why else kind


def _age(seconds: object) -> str:
    total = int(str(seconds))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if total >= 2 * size:
            return f"{total // size} {unit}"
    return f"{total} s"


def _now() -> int:
    return time.time_ns() // 1_000_000
