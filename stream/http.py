"""The three HTTP paths of a process: /metrics, /healthz, /readyz. Nothing else is served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from stream.metrics import CONTENT_TYPE, readiness_text


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
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=15.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise PortTakenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
        yield runner.addresses[0][1]
    finally:
        await asyncio.shield(runner.cleanup())
