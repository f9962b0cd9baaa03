"""Everything that changes how Faust behaves, each change with its upstream issue: in this place, or named here.

1. **Whole fetches.** Faust spends 35 to 90 µs on every record between the consumer thread and the agent. Here it is
   handed lists of consecutive records of one partition (`Chunk`s), small ones of several partitions together, and
   treats that as one message of the first partition: groups, assignment, tables, recovery, flow control and commits
   stay Faust's (`stream/worker/chunks.py`).
2. **Recovery guard** (upstream #596: events are skipped after recovery and committed all the same). The flow stands
   still until partitions have been sought, and a poll in flight keeps its own copy of the active partitions.
3. **Bulk recovery.** Rows are read by `StateTable.load` once the group has been joined: heartbeats go on meanwhile.
4. **Taking what waits** without a timer and without acknowledging on errors (`stream/worker/taking.py`; upstream #497,
   #527).
5. **Waits of a fetch at the broker**: shorter where nothing comes, longer at a pace (`stream/worker/pace.py`).
6. **Commit before a rebalance.** Faust forgets what was acknowledged since the last commit before it commits: lists of
   up to a second were made and sent again after each join and leave.
7. **Partitions known.** Faust shares only the topics that the client of the group's leader has heard of. One that had
   just been cut off shared nothing, and a whole group stood still until its next look, five minutes later.
8. **Livelock detector silenced**: it logs errors for partitions on which simply nothing happens, and for changelogs,
   of which Faust itself reads nothing.

All of it is subclasses handed to Faust's own settings. `PATCHED` pins the source they were written against.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from aiokafka.consumer.fetcher import Fetcher
from faust.assignor.partition_assignor import PartitionAssignor
from faust.streams import Stream
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread as PollThread
from faust.types import TP

from stream.state.table import StateTable

KNOWN_VERSION = "0.15.3"

# SHA-256 of the source of what is overridden or relied on from inside; a test compares.
PATCHED: Mapping[Callable[..., Any], str] = {
    Consumer.getmany: "4b168d84882a70d6e3e2f9804430a63b92f8fd117d3187cbb4aeb54305bda34e",
    Consumer.ack: "5fcf41cf45153475de3790dc56fec1b83335956dc8b3bf7ff6bbb2b57627f03f",
    Consumer._drain_messages: "44a2500309e83c630493f6828af50166ec8d96a0b3e4fb2bab735f704ae93417",
    Consumer.on_partitions_revoked: "d04b7ae72c6fc206924a2879d6c90dd383f3e8ba6f4b10a19ca99a921eb8f4db",
    Consumer.wait_empty: "e4662fe24f094819add590b2d75f233840e77823b432aea6504539768572102f",
    Consumer._new_offset: "1d2c7ea89a7ad4f1a216c1d51936e569162cd66bd56f889e13fd29c910b58eb0",
    Consumer.perform_seek: "0e8c130ff4b0afd82c0be9c5fd831316e10febc62c94032833911096e156d7c6",
    driver.Consumer._to_message: "7c24f6511b2fcef7cbfe73526e78de033bfe0df211f1fd30509d699c9deb6ce4",
    Fetcher._get_actions_per_node: "1dab2cf937d165d0eeacc8da8ed2b0ebd80b321bb6583757e01cdc1013d31635",
    PollThread._fetch_records: "39a2c6c79fc1455a199629912b533458a720c64983bc957420a42feef6593baa",
    PollThread._create_worker_consumer: "c2701bfc3e6f6cad95c2be36d6a255a86e2c57d18d36cc1082b5fb5c482d99d7",
    Recovery.on_recovery_completed: "6ef567acf072e46da3fccbccc6d662371f634f622c3d510972d5df81f70ae3ac",
    Recovery._build_highwaters: "91b4cc0d3724ae7bfc398e873684fc6f667ef8feb61a3b3314346ef11f2823de",
    Recovery._build_offsets: "27eec86be06cb51f66dfd2572be2f9b41acd22c3570239bb5c554bd94e59a1d6",
    TableManager.recovery.fget: "f0bf5de78b4c3d235c3554010480f407010ccb7c481c68852a985542b952df32",
    PartitionAssignor._get_copartitioned_groups: "82b7a3764ad596f67ac9d08bfaf5c857dd0c5001d70b36cb010096443a085138",
    Stream.noack_take: "f2cc2dbfc162d2006c94361c0ed68535c95484020849eb0d4210c1f52c4c430a",
    Stream._enable_passive: "64da8ce9f729e30ea2c6952a4cb55617c1231f82793c4435966a8b811a0f26e8",
}


class UnknownFaustError(RuntimeError):
    """Another release of Faust is installed than the one these changes were measured with.

    Operator action: install the named one, or run the crash tests with yours and set `worker.allow_other_faust`.
    """


def check_version(*, allow_other: bool) -> None:
    """Raises UnknownFaustError unless the installed Faust is the known one or another is allowed."""
    installed = version("faust-streaming")
    if installed != KNOWN_VERSION and not allow_other:
        raise UnknownFaustError(
            f"faust-streaming {installed} is installed; the worker is tested with {KNOWN_VERSION}: install it, or set "
            "worker.allow_other_faust = true once tests/crash pass with yours"
        )


def source_digest(function: Callable[..., Any]) -> str:
    """SHA-256 of a function's source, to notice when upstream changes it."""
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()


def known_partitions(count: int) -> type[PartitionAssignor]:
    """For Faust's `PartitionAssignor` setting: each topic has so many partitions, whatever a client has heard of it."""

    class KnownPartitions(PartitionAssignor):  # type: ignore[misc]  # Faust is untyped to us
        @classmethod
        def _get_copartitioned_groups(cls, topics: Any, cluster: Any, subscriptions: Any) -> Any:  # noqa: ANN401, ARG003
            return {count: cls._group_co_subscribed(topics, subscriptions)}

    return KnownPartitions


class GuardedRecovery(Recovery):  # type: ignore[misc]  # Faust is untyped to us
    """Recovery that skips no event and loads state in bulk."""

    async def _build_highwaters(self, consumer: Any, tps: set[TP], destination: Any, title: str) -> None:  # noqa: ANN401
        """The first step after the group was joined, with heartbeats running: the place to load state."""
        if title == "active":
            for table, partitions in list(self.actives_for_table.items()):
                if isinstance(table, StateTable):
                    await table.load(sorted(partitions))
                    for tp in partitions:  # a Counter: its `update` would add
                        self.active_offsets[tp] = table.persisted_offset(tp)
        await super()._build_highwaters(consumer, tps, destination, title)

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Upstream #596: nothing is drained between here and the seek to committed offsets."""
        self.app.consumer.stop_flow()
        await super().on_recovery_completed(generation_id)


class GuardedTableManager(TableManager):  # type: ignore[misc]  # Faust is untyped to us
    """Faust's tables with our recovery."""

    _guarded: GuardedRecovery | None = None

    @property
    def recovery(self) -> GuardedRecovery:
        """The recovery service of this manager."""
        guarded: GuardedRecovery | None = self._guarded
        if guarded is None:
            guarded = self._guarded = GuardedRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
            self._recovery = guarded
        return guarded
