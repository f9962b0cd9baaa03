"""Dead letters, each written once in effect, whoever else believes that it is for them to write it.

They are written in transactions. Who begins to write takes a transactional id over: what others began under it is
settled then, and Kafka refuses them from that moment on. Only after that it looks which letters stand already. Who has
lost the id meanwhile, a process that was taken for dead or one beside it, takes it back, and looks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import ConsumerRecord

from stream.failpoints import failpoint
from stream.kafka import FORBIDDEN, PATIENCE_SECONDS, PRODUCER_BYTES, producer_options, started
from stream.logs import Log
from stream.settings import KafkaSettings
from stream.wire.dead_letters import letter_for
from stream.wire.decoding import Rejection
from stream.wire.topics import DEAD_LETTERS

TRANSACTION_SECONDS = 20  # one left open by a frozen process hides from readers what stands behind it for so long
BATCH_BYTES = 512 * 1024
RETRY_SECONDS = 0.5

Standing = Mapping[tuple[str, int], int]  # by topic and partition of bad records: the newest that has its letter
BadRecord = tuple[ConsumerRecord, Rejection]


class LetterWriter:
    """Writes letters of some partitions under one transactional id.

    `standing` reads the end of the topic, `limit` is how many bytes it takes.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        transactional_id: str,
        limit: int,
        standing: Callable[[], Awaitable[Standing]],
        log: Log,
    ) -> None:
        self._kafka, self._id, self._limit, self._log = kafka, transactional_id, limit, log
        self._topic = kafka.topic_prefix + DEAD_LETTERS
        self._standing = standing
        self._client: AIOKafkaProducer | None = None
        self._written: dict[tuple[str, int], int] = {}

    async def write(self, bad: Sequence[BadRecord]) -> list[BadRecord]:
        """Returns once all of them have their letters, with those whose letters were written now.

        Those of one partition come in the order of their offsets. Raises KafkaError where it is refused for long.
        """
        told = False
        give_up = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            try:
                client = self._client or await self._begin()
                due = [one for one in bad if one[0].offset > self._written.get((one[0].topic, one[0].partition), -1)]
                if due:
                    await self._write(client, due)
                return due
            except KafkaError as error:  # what became of the transaction is known to who begins the next one
                await self.close()
                if isinstance(error, FORBIDDEN) or asyncio.get_running_loop().time() > give_up:
                    raise
                if not told:
                    self._log.warning("dead letters are looked for and written anew", id=self._id, error=repr(error))
                told = True
                await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """Frees the connections; `write` begins anew."""
        client, self._client = self._client, None
        if client is not None:
            _hear_outcome(client)
            await client.stop()
            _hear_outcome(client)  # stopping may have it fail once more

    async def _begin(self) -> AIOKafkaProducer:
        """Takes the id over, then looks."""
        self._client = await transactional_producer(self._kafka, self._id)
        self._written = dict(await self._standing())
        return self._client

    async def _write(self, client: AIOKafkaProducer, due: Sequence[BadRecord]) -> None:
        await client.begin_transaction()
        batches = self._batches(client, due)
        deliveries = [
            await client.send_batch(batch, self._topic, partition=partition)
            for partition, of_one in batches.items()
            for batch in of_one
        ]
        await asyncio.gather(*deliveries)
        failpoint("letters.commit")
        await client.commit_transaction()
        for record, _rejection in due:
            self._written[record.topic, record.partition] = record.offset

    def _batches(self, client: AIOKafkaProducer, due: Sequence[BadRecord]) -> dict[int, list[BatchBuilder]]:
        batches: dict[int, list[BatchBuilder]] = {}
        for record, rejection in due:
            letter = letter_for(record, rejection, self._limit)
            of_one = batches.setdefault(record.partition, [])
            fields = {"timestamp": None, "key": letter.key, "value": letter.value, "headers": letter.headers}
            if not of_one or of_one[-1].append(**fields) is None:
                of_one.append(client.create_batch())  # an empty batch takes a record of any size
                of_one[-1].append(**fields)
        return batches


def _hear_outcome(client: AIOKafkaProducer) -> None:
    """An error of the last transaction was told to who writes already: asyncio would log that nobody has asked."""
    outcome = client._txn_manager.wait_for_transaction_end()
    if outcome is not None:
        outcome.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


async def transactional_producer(kafka: KafkaSettings, transactional_id: str) -> AIOKafkaProducer:
    """A connected producer; Kafka has settled what was begun under the id before, and refuses who began it."""
    client = AIOKafkaProducer(
        **producer_options(kafka),
        transactional_id=transactional_id,
        transaction_timeout_ms=TRANSACTION_SECONDS * 1000,
        acks="all",
        linger_ms=0,
        max_batch_size=BATCH_BYTES,
        max_request_size=PRODUCER_BYTES,
    )
    return await started(client)
