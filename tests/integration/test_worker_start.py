"""A worker that cannot start says why, over HTTP and in its log, and stops when told."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from stream.shop.broker import free_port
from tests.worker_kit import Shop, wait_until


def shop_without_kafka(tmp_path: Path, **settings: str) -> Shop:
    nobody = cast("Any", SimpleNamespace(bootstrap_servers=f"127.0.0.1:{free_port()}"))
    return Shop(nobody, "nowhere.", tmp_path, **settings)


def test_without_a_broker_it_waits_and_says_so(tmp_path: Path) -> None:
    """/healthz is fine, /readyz names the address that nobody answers at, the log has it, SIGTERM ends it with 0."""
    shop = shop_without_kafka(tmp_path)
    worker = shop.start_worker()
    try:
        wait_until(lambda: shop.servers in str(worker.ready.get("reasons")), "the reason")
        assert worker.get("/healthz") == "alive\n"
        assert "waiting for Kafka" in worker.log.read_text()
        assert worker.stop() == 0
        assert "Traceback" not in worker.log.read_text()
    finally:
        shop.close()


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """Exit code 1 and the port, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        shop = shop_without_kafka(tmp_path, ALLUVIUM_WORKER__HTTP_PORT=port)
        done = shop.alluvium("worker")
    assert (done.returncode, port in done.stderr, "Traceback" in done.stderr) == (1, True, False)
