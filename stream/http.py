"""The three HTTP paths of a process: /metrics, /healthz, /readyz. Nothing else is served."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from stream.metrics import CONTENT_TYPE, readiness_text

MOST_CONNECTIONS = 128  # a worker needs its file descriptors for Kafka
ACCEPTED_AT_ONCE = 16  # who was just accepted is not counted yet: so many may be beyond the most, twice for a moment
WAITING = 1_024  # of whom the kernel keeps until then, for nothing of ours
CONNECTION_SECONDS = 30.0  # longer than any answer takes; who wants more connects again
STOP_SECONDS = 1.0


class PortTakenError(RuntimeError):
    """Another process listens there. Operator action: choose another `http_port`, or 0 for any free one."""


class Readiness:
    """Why a process is not ready: it is ready once no reason is left."""

    def __init__(self, *reasons: str) -> None:
        self._waiting: dict[str, str] = {reason: reason for reason in reasons}
        self.facts: dict[str, Any] = {}

    def wait_for(self, step: str, reason: str) -> None:
        """Not ready because of `step`; `reason` says what is being waited for."""
        self._waiting[step] = reason

    def done(self, step: str) -> None:
        """`step` holds the process up no more."""
        self._waiting.pop(step, None)

    @property
    def reasons(self) -> list[str]:
        """All that is being waited for."""
        return list(self._waiting.values())


@asynccontextmanager
async def serve(host: str, port: int, metrics: Callable[[], bytes], readiness: Readiness) -> AsyncIterator[int]:
    """Serves while the context lasts and yields the port. Raises PortTakenError."""

    async def answer_metrics(_request: web.Request) -> web.Response:
        body = metrics() + readiness_text(not readiness.reasons)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def answer_health(_request: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def answer_readiness(_request: web.Request) -> web.Response:
        reasons = readiness.reasons
        body = {"ready": not reasons, **({"reasons": reasons} if reasons else {}), **readiness.facts}
        return web.Response(
            status=503 if reasons else 200, body=msgspec.json.encode(body), content_type="application/json"
        )

    app = web.Application(client_max_size=1024)
    app.add_routes(
        [
            web.get("/metrics", answer_metrics),
            web.get("/healthz", answer_health),
            web.get("/readyz", answer_readiness),
        ]
    )
    logger = logging.getLogger("alluvium.http")
    logger.addFilter(_is_ours)
    runner = web.AppRunner(app, access_log=None, logger=logger, keepalive_timeout=15.0, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    try:
        async with _listening(runner.server, host, port) as listening:
            yield listening
    finally:
        await asyncio.shield(runner.cleanup())


def _is_ours(record: logging.LogRecord) -> bool:
    """Not what a client did wrong: it was told, and must not fill our log."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


@asynccontextmanager
async def _listening(server: web.Server | None, host: str, port: int) -> AsyncIterator[int]:
    """Takes connections, so many and for so long each: who opens many or sends slowly keeps nobody out."""
    assert server is not None  # the runner was set up

    def take() -> asyncio.Protocol:
        open_ones = server.connections
        for oldest in open_ones[: max(0, len(open_ones) + 1 - MOST_CONNECTIONS)]:  # one that was ended is there a while
            _end(oldest)
        return server()

    try:
        listener = await asyncio.get_running_loop().create_server(take, host, port, backlog=ACCEPTED_AT_ONCE)
    except OSError as error:
        raise PortTakenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    _queue(listener)
    ending = asyncio.create_task(_end_old(server))
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        ending.cancel()
        listener.close()


def _queue(listener: asyncio.Server) -> None:
    """Lets more wait to be accepted than are accepted at once."""
    for listening in listener.sockets:
        with socket.fromfd(listening.fileno(), listening.family, listening.type) as same:
            same.listen(WAITING)


async def _end_old(server: web.Server) -> None:
    clock = asyncio.get_running_loop().time
    seen: dict[web.RequestHandler, float] = {}
    while True:
        seen = {connection: seen.get(connection, clock()) for connection in server.connections}
        for connection in [connection for connection, since in seen.items() if clock() - since > CONNECTION_SECONDS]:
            _end(connection)
        await asyncio.sleep(CONNECTION_SECONDS / 10)


def _end(connection: web.RequestHandler) -> None:
    if connection.transport is not None:
        connection.transport.abort()
