"""A network that can be cut, held up and slowed: a TCP proxy for each worker, which the broker takes for its own.

A broker tells its clients where to connect, by the listener they came through. So each proxy has a listener to itself,
whose advertised address is the proxy's.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

from stream.shop.broker import HOST, Broker, free_port

PIECE = 65_536


class Proxy:
    """Passes bytes on to a port of this machine; all methods may be called from any thread."""

    def __init__(self, port: int, target: int, loop: asyncio.AbstractEventLoop) -> None:
        self.port, self._target, self._loop = port, target, loop
        self._refusing = False
        self._delay = 0.0
        self._connections: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    @property
    def servers(self) -> str:
        """For `bootstrap_servers`."""
        return f"{HOST}:{self.port}"

    def cut(self) -> None:
        """Resets every connection and refuses new ones."""
        self._loop.call_soon_threadsafe(self._cut)

    def hold(self) -> None:
        """Nothing passes, nobody is told: what has been sent arrives after `heal`, however late."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def slow(self, delay: float) -> None:
        """Each piece, of 64 KiB at most, takes so many seconds more in either direction."""
        self._delay = delay

    def heal(self) -> None:
        """As before."""
        self._loop.call_soon_threadsafe(self._heal)

    async def serve(self) -> None:
        """Until cancelled."""
        server = await asyncio.start_server(self._connected, HOST, self.port)
        async with server:
            await server.serve_forever()

    def _cut(self) -> None:
        self._refusing = True
        for connection in self._connections:
            connection.transport.abort()

    def _heal(self) -> None:
        self._refusing, self._delay = False, 0.0
        self._flowing.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        self._connections.add(writer)
        try:
            upstream = await asyncio.open_connection(HOST, self._target)
        except OSError:
            writer.transport.abort()
            self._connections.discard(writer)
            return
        self._connections.add(upstream[1])
        try:
            await asyncio.gather(self._pump(reader, upstream[1]), self._pump(upstream[0], writer))
        finally:
            self._connections -= {writer, upstream[1]}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE):
                await self._flowing.wait()
                if self._delay:
                    await asyncio.sleep(self._delay)
                writer.write(piece)
                await writer.drain()
        writer.transport.abort() if self._refusing else writer.close()


class Network:
    """A thread that runs proxies."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def proxy(self, target: int) -> Proxy:
        """A proxy before a port of this machine, on a free port."""
        proxy = Proxy(free_port(), target, self._loop)
        asyncio.run_coroutine_threadsafe(proxy.serve(), self._loop)
        return proxy

    def close(self) -> None:
        """Ends all proxies."""
        asyncio.run_coroutine_threadsafe(_end_others(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


async def _end_others() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class ProxiedBroker(Broker):
    """A broker with so many listeners more, each behind a proxy of its own."""

    def __init__(self, data_dir: Path, network: Network, proxies: int) -> None:
        super().__init__(data_dir)
        self._behind = _free_ports(proxies)
        self.proxies = [network.proxy(port) for port in self._behind]

    def _write_properties(self) -> Path:
        properties = super()._write_properties()
        lines = properties.read_text("utf-8").splitlines()
        ours = {
            "listeners": "".join(f",W{at}://{HOST}:{port}" for at, port in enumerate(self._behind)),
            "advertised.listeners": "".join(f",W{at}://{proxy.servers}" for at, proxy in enumerate(self.proxies)),
            "listener.security.protocol.map": "".join(f",W{at}:PLAINTEXT" for at in range(len(self._behind))),
        }
        properties.write_text("\n".join(line + ours.get(line.partition("=")[0], "") for line in lines) + "\n", "utf-8")
        return properties


def _free_ports(count: int) -> list[int]:
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return sorted(found)
