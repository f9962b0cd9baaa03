"""Artifacts that can be told apart in every list, and workers that change from one to the next under load."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from models.vocabulary import Vocabulary
from stream.announcements import CHAMPION
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.files import write_snapshot
from stream.knowledge.sealing import seal
from stream.knowledge.store import ArtifactStore
from stream.wire.messages import ArtifactAnnouncement
from tests.artifacts import NOON, drafted, made_snapshot
from tests.worker_kit import Shop


def item_of(version: int, row: int) -> str:
    """Every version has items of its own: one from another version in a list is a mixed list."""
    return f"v{version}-i{row}"


class Versions:
    """So many artifacts in a store, with the same numbers and no item in common; `ids` in the order they were made."""

    def __init__(self, store: ArtifactStore, count: int, items: int) -> None:
        self.items = items
        self._store = store
        self._version: dict[str, int] = {}
        snapshot, _ = made_snapshot(items=items)
        for version in range(count):
            named = replace(snapshot, vocabulary=Vocabulary(item_of(version, row) for row in range(items)))
            with store.building() as directory:
                write_snapshot(named, Catalogue(), directory)
                artifact = seal(directory, drafted(named), NOON + 1_000 * version).id
                store.publish(directory)
            self._version[artifact] = version
        self.ids = list(self._version)
        self._pins = {artifact: store.manifest_sha256(artifact) for artifact in self.ids}

    def announce(self, shop: Shop, artifact: str) -> None:
        """Makes it the champion."""
        announcement = ArtifactAnnouncement(artifact, None, self._store.place(artifact), self._pins[artifact], "")
        shop.send("artifacts", CHAMPION, msgspec.json.encode(announcement))
        shop.flush()

    def clicks(self, shop: Shop, count: int, first: int, users: int) -> None:
        """Events of so many users in turn, on items of all versions in turn, so that each knows some of a history."""
        for number, version in zip(range(first, first + count), itertools.cycle(range(len(self.ids)))):
            shop.click(f"u{number % users}", item_of(version, number % self.items))

    def assert_unmixed(self, lists: Iterable[Mapping[str, Any]]) -> set[str]:
        """All items of a list are of the version that it names; returns the artifacts that lists name."""
        named = set()
        for message in lists:
            artifact = message["provenance"]["artifact"]
            if artifact is not None:
                named.add(artifact)
                prefix = item_of(self._version[artifact], 0).removesuffix("0")
                assert message["items"], message
                assert all(item["item_id"].startswith(prefix) for item in message["items"]), message
        return named
