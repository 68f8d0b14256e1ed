"""A TCP proxy between a client and a host, for tests of what the way between them does to bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Literal, TypeAlias

__all__ = ["Cuts", "Flip", "Proxy", "Way", "proxied"]

Way: TypeAlias = Literal["up", "down"]
Meddle: TypeAlias = Callable[[Way, bytes], bytes]
"""Is shown what passes, to the host or from it; gives what shall arrive, or raises ConnectionError to cut the way."""

_READ_BYTES = 64 * 1024


class Flip:
    """Flips one bit on one way: of the byte at `offset`, or of the first byte from there on that is payload.

    That is told by its neighbours: `payload` stands for a run of the same byte, as only the data have it.
    """

    def __init__(self, way: Way, offset: int, payload: bytes = b"") -> None:
        self.done = False
        self._way = way
        self._left = offset
        self._payload = payload

    def __call__(self, way: Way, data: bytes) -> bytes:
        """Flips the bit if it is there."""
        if self.done or way != self._way:
            return data
        start, self._left = self._left, max(0, self._left - len(data))
        at = data.find(self._payload, start) + len(self._payload) // 2 if self._payload in data[start:] else -1
        if not 0 <= at < len(data):
            return data
        self.done = True
        return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


class Cuts:
    """Cuts the way each time when so many more bytes came from the host."""

    def __init__(self, *after: int) -> None:
        self.left = list(after)
        self.passed = 0
        self._since = 0

    def __call__(self, way: Way, data: bytes) -> bytes:
        """Counts, and cuts if it is time."""
        if way == "down":
            self.passed += len(data)
            self._since += len(data)
            if self.left and self._since >= self.left[0]:
                self._since = 0
                self.left.pop(0)
                raise ConnectionError
        return data


class Proxy:
    """Listens on `port`; passes on to `target`, which may change from one connection to the next.

    What passes is held up for `delay_s` each time, which makes a slow way.
    """

    def __init__(self, target: int, meddle: Meddle) -> None:
        self.port = 0
        self.target = target
        self.meddle = meddle
        self.delay_s = 0.0
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes on one connection."""
        writers = [writer]
        try:
            with suppress(OSError):
                from_host, to_host = await asyncio.open_connection("127.0.0.1", self.target)
                writers.append(to_host)
                self._open.update(writers)
                ways = (self._pass(reader, to_host, "up"), self._pass(from_host, writer, "down"))
                tasks = [asyncio.ensure_future(way) for way in ways]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
        finally:
            for one in writers:
                self._open.discard(one)
                one.transport.abort()

    def cut(self) -> None:
        """Breaks all connections."""
        for writer in self._open:
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        with suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(self.meddle(way, data))
                await writer.drain()


def _pass_on(_way: Way, data: bytes) -> bytes:
    return data


@asynccontextmanager
async def proxied(target: int, meddle: Meddle = _pass_on) -> AsyncGenerator[Proxy]:
    """A proxy to a port of this machine."""
    proxy = Proxy(target, meddle)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
