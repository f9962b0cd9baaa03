"""What Alluvium writes is compressed as the settings say, and read back by itself and by others."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.shop.broker import Broker
from tests.worker_kit import Shop, wait_until

pytestmark = pytest.mark.kafka

CODECS = {"snappy": 2, "zstd": 4}  # as the attributes of a batch number them (Kafka's record batch, format 2)
ATTRIBUTES = slice(21, 23)


def codecs_of(broker: Broker, topic: str) -> set[int]:
    """The codecs of the first batches of a topic's partitions."""
    logs = (broker.data_dir / "records").glob(f"{topic}-*/{0:020d}.log")
    return {int.from_bytes(head[ATTRIBUTES], "big") & 7 for log in logs if (head := log.read_bytes()[:61])}


@pytest.mark.parametrize("codec", CODECS)
def test_lists_rows_and_letters_are_compressed(
    kafka_broker: Broker, topic_prefix: str, tmp_path: Path, codec: str
) -> None:
    """Another client reads the list and the letter, `alluvium state` and a worker started anew the row."""
    shop = Shop(kafka_broker, topic_prefix, tmp_path, ALLUVIUM_KAFKA__COMPRESSION=codec).create_topics()
    try:
        worker = shop.start_worker().wait_until_ready()
        shop.click("ann", "hat")
        shop.send("events", "ann", b"no event")
        shop.flush()
        wait_until(lambda: shop.read("recommendations") and shop.read("dead-letters"), "the list and the letter")
        assert worker.stop() == 0
        for name in ("recommendations", "dead-letters", "state"):
            assert codecs_of(kafka_broker, shop.topic(name)) == {CODECS[codec]}, name
        assert "hat" in shop.alluvium("state", "ann").stdout
        assert shop.start_worker().wait_until_ready().metric("users") == 1
    finally:
        shop.close()


@pytest.mark.parametrize("lines", ["ann,hat,1700000000\n", '"ann",hat,1700000000\n'], ids=["by column", "by row"])
def test_what_is_replayed_is_compressed(kafka_broker: Broker, topic_prefix: str, tmp_path: Path, lines: str) -> None:
    """However it is read, and a worker answers it."""
    shop = Shop(kafka_broker, topic_prefix, tmp_path, ALLUVIUM_KAFKA__COMPRESSION="snappy").create_topics()
    try:
        (log := tmp_path / "log.csv").write_text("user,item,time\n" + 30 * lines)
        shop.alluvium("replay", str(log), "--columns", "user=user,item=item,time=time")
        assert codecs_of(kafka_broker, shop.topic("events")) == {CODECS["snappy"]}
        shop.start_worker().wait_until_ready()
        wait_until(lambda: shop.read("recommendations"), "the list")
    finally:
        shop.close()
