"""A simulated shop on real Kafka: sends events and items, and its shoppers react to the lists they receive."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Callable

import msgspec
from aiokafka.structs import ConsumerRecord

from stream.kafka import producer, reader, topic_partitions
from stream.settings import KafkaSettings
from stream.shop.delivery import Delivery, Message, OutgoingEvent, cluster_with_topics
from stream.shop.shoppers import Crowd, ShownList
from stream.shop.world import World
from stream.wire.messages import Recommendation
from stream.wire.topics import EVENTS, ITEMS, RECOMMENDATIONS

TICK_SECONDS = 0.05
CATCH_UP_SECONDS = 1.0  # events that a stalled machine could not send in time are sent later, older ones are left out
IN_FLIGHT = 200  # ticks that wait for their acknowledgement, ten seconds' worth
ITEMS_AT_ONCE = 1_000


class Simulator:
    """The outside world: `run` until told to stop. Counts what it did in plain attributes."""

    def __init__(
        self, kafka: KafkaSettings, world: World, *, seed: int, rate: float, new_items_per_minute: float
    ) -> None:
        started = int(time.time() * 1000)
        self.run_id = hashlib.sha256(f"{seed}-{started}".encode()).hexdigest()[:12]
        self.world = world
        self.events = self.items = self.lists = self.reactions = 0
        self.on_event: Callable[[OutgoingEvent], None] = lambda _event: None
        self.on_list: Callable[[Recommendation, ConsumerRecord], None] = lambda _list, _record: None
        self._crowd = Crowd(world, seed, self.run_id)
        self._kafka = kafka
        self._rate = rate
        self._new_item_seconds = 60 / new_items_per_minute if new_items_per_minute > 0 else float("inf")
        self._shown: dict[str, ShownList] = {}
        self._topic = {name: kafka.topic_prefix + name for name in (EVENTS, ITEMS, RECOMMENDATIONS)}

    async def run(self, stop: asyncio.Event, duration: float | None = None) -> None:
        """Sends the catalogue, then events, until `stop` or for `duration` seconds. Raises KafkaError, TopicsError."""
        await cluster_with_topics(self._kafka)
        async with producer(self._kafka) as client:
            delivery = Delivery(client, self._kafka)
            await self._send_catalogue(delivery)
            listening = asyncio.create_task(self.listen())
            try:
                await self._live(delivery, stop, duration, listening)
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    async def listen(self) -> None:
        """Shows shoppers the lists that arrive from now on."""
        async with reader(self._kafka, auto_offset_reset="latest") as consumer:
            partitions = await topic_partitions(consumer, self._topic[RECOMMENDATIONS])
            consumer.assign(partitions)
            await consumer.seek_to_end(*partitions)
            decoder = msgspec.json.Decoder(Recommendation)
            async for record in consumer:
                self._receive(decoder.decode(record.value), record)

    def _receive(self, received: Recommendation, record: ConsumerRecord) -> None:
        if received.kind == "user" and received.request_id is None and received.user_id is not None:
            self.lists += 1
            item_ids = [entry.item_id for entry in received.items]
            self._shown[received.user_id] = ShownList(received.recommendation_id, item_ids)
            self.on_list(received, record)

    async def _send_catalogue(self, delivery: Delivery) -> None:
        goods = self.world.goods[: self.world.on_sale_at_first]
        for start in range(0, len(goods), ITEMS_AT_ONCE):
            part = goods[start : start + ITEMS_AT_ONCE]
            await (await delivery.send([self._item_message(good.number) for good in part]))
            self.items += len(part)

    def _item_message(self, number: int) -> Message:
        item = self.world.goods[number].item
        return Message(self._topic[ITEMS], item.item_id.encode(), msgspec.json.encode(item))

    async def _live(
        self, delivery: Delivery, stop: asyncio.Event, duration: float | None, listening: asyncio.Task[None]
    ) -> None:
        begun = time.time()
        next_item = begun + self._new_item_seconds
        sent_until = begun
        unacknowledged: deque[asyncio.Future[list[object]]] = deque()
        while not stop.is_set() and (duration is None or time.time() - begun < duration):
            await asyncio.sleep(TICK_SECONDS)
            if listening.done():
                listening.result()  # raises what ended it
            now = time.time()
            sent_until = max(sent_until, now - CATCH_UP_SECONDS)
            messages, sent_until = self._due(sent_until, now)
            if now >= next_item and (good := self._crowd.release()) is not None:
                messages.append(self._item_message(good.number))
                self.items += 1
                next_item = now + self._new_item_seconds
            if messages:
                unacknowledged.append(await delivery.send(messages))
            while unacknowledged and (unacknowledged[0].done() or len(unacknowledged) > IN_FLIGHT):
                await unacknowledged.popleft()
        await asyncio.gather(*unacknowledged)

    def _due(self, since: float, now: float) -> tuple[list[Message], float]:
        """The events between two moments, evenly spread, and the moment of the last."""
        messages: list[Message] = []
        step = 1 / self._rate
        while since + step <= now:
            since += step
            event = self._crowd.step(int(since * 1000), self._shown)
            self.events += 1
            self.reactions += event.recommendation_id is not None
            self.on_event(event)
            messages.append(Message(self._topic[EVENTS], event.user_id.encode(), msgspec.json.encode(event)))
        return messages, since
