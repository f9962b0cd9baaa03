"""The three paths, and clients that are slow, malformed or many: nobody keeps the others out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

import stream.http
from stream.http import ACCEPTED_AT_ONCE, MOST_CONNECTIONS, PortTakenError, Readiness, serve
from stream.settings import Settings

BAD_REQUESTS = {
    "noise": b"\x00\xff\xfe\x16\x03\x01" * 50 + b"\r\n\r\n",
    "no path": b"GET\r\n\r\n",
    "a long line": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "a long header": b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "many headers": b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\nhello",
    "a huge body": b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n",
    "a bad chunk": b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "another path": b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "another method": b"DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serve("127.0.0.1", 0, lambda: b"# nothing\n", Readiness()) as port:
        yield port


async def asked(port: int, request: bytes) -> bytes:
    """All that is answered before the connection ends, or for a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(2):
            while block := await reader.read(1 << 16):
                answer += block
    writer.close()
    return answer


async def status(port: int, path: str) -> int:
    answer = await asked(port, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return int(answer.split()[1])


async def test_three_paths_and_no_other(port: int) -> None:
    """Nothing at the root, in a folder or above it; and no method that changes anything."""
    assert [await status(port, path) for path in ("/metrics", "/healthz", "/readyz")] == [200] * 3
    for path in ("/", "/metrics/", "/../metrics", "/debug", "/static/x", "//metrics", "/%2e%2e/metrics"):
        assert await status(port, path) == 404, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"):
        answer = await asked(port, f"{method} /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert answer.split()[1] in {b"405", b"404", b"400"}, method


async def test_loopback_is_the_default() -> None:
    """Nobody else is served unless the settings say so."""
    assert Settings().worker.http_host == Settings().trainer.http_host == "127.0.0.1"


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_a_malformed_request_is_refused_in_silence(
    port: int, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An error for the client or the end of the connection, nothing of the process, no line in its log."""
    answer = await asked(port, BAD_REQUESTS[name])
    assert not answer or answer.split()[1][:1] == b"4", answer[:200]
    assert b"Traceback" not in answer
    assert await status(port, "/healthz") == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    "beginning", [b"", b"GET", b"GET /metrics HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"]
)
async def test_slow_clients_are_ended(monkeypatch: pytest.MonkeyPatch, beginning: bytes) -> None:
    """Who sends a byte now and then has the connection for as long as others, while those are answered."""
    monkeypatch.setattr(stream.http, "CONNECTION_SECONDS", 0.5)
    async with serve("127.0.0.1", 0, lambda: b"", Readiness()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(beginning)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(20):
                while not reader.at_eof():
                    writer.write(b"a")
                    await asyncio.sleep(0.05)
                    assert await status(port, "/healthz") == 200
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(1000), 0.01)
        writer.close()


async def test_many_connections_keep_nobody_out(port: int) -> None:
    """The oldest make room: no more than so many are open, and the next client is answered."""
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3 * MOST_CONNECTIONS)]
    assert await status(port, "/readyz") == 200
    await asyncio.sleep(0.1)
    ended = sum(reader.at_eof() or reader.exception() is not None for reader, _ in idle)
    assert ended >= 2 * MOST_CONNECTIONS
    for _, writer in idle:
        writer.close()


async def test_a_crowd_that_comes_at_once_is_no_larger(port: int) -> None:
    """However many connect in the same moment, hardly more than the most stay, also when nobody comes after them."""
    crowd = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(6 * MOST_CONNECTIONS)))

    def stay() -> int:
        return sum(not reader.at_eof() and reader.exception() is None for reader, _ in crowd)

    async with asyncio.timeout(20):
        while stay() > MOST_CONNECTIONS + 2 * ACCEPTED_AT_ONCE:
            await asyncio.sleep(0.05)
    assert stay() > MOST_CONNECTIONS / 2
    assert await status(port, "/readyz") == 200
    for _, writer in crowd:
        writer.close()


async def test_a_client_that_hangs_does_not_hold_up_the_end() -> None:
    """Serving ends with half a request open."""
    async with asyncio.timeout(20):
        async with serve("127.0.0.1", 0, lambda: b"", Readiness()) as port:
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics HTTP/1.1\r\n")
            await writer.drain()
        writer.close()


async def test_a_port_that_is_taken_is_said(port: int) -> None:
    """By its number."""
    with pytest.raises(PortTakenError, match=str(port)):
        async with serve("127.0.0.1", port, lambda: b"", Readiness()):
            pass
