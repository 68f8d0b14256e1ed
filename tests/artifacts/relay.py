"""A TCP relay in front of a port, which a test can have cut connections."""

from __future__ import annotations

import asyncio
from typing import Self

__all__ = ["Relay"]

_PIECE_BYTES = 64 * 1024


class Relay:
    """Passes on what comes, both ways.

    `sent` and `received` count the bytes towards the port and from it, `cuts` the connections it cut.

    With `bytes_per_s` what comes from the port is passed on no faster than that, each connection by itself.
    """

    def __init__(self, port: int, *, bytes_per_s: float | None = None) -> None:
        self._port = port
        self._bytes_per_s = bytes_per_s
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut_after = 0
        self._cuts_left = 0
        self.sent = 0
        self.received = 0
        self.cuts = 0

    @property
    def address(self) -> str:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return f"127.0.0.1:{port}"

    def cut_after(self, size: int, *, times: int) -> None:
        """Cuts the next connections that pass so many bytes on, each where it has."""
        self._cut_after, self._cuts_left = size, times

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *raised: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:  # nobody is there at the moment
            writer.transport.abort()
            return
        ways = (
            asyncio.create_task(self._pass(reader, back, counted=True)),
            asyncio.create_task(self._pass(there, writer, counted=False)),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in (writer, back):
                end.transport.abort()
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            for way in ways:
                if not way.cancelled():
                    way.exception()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        passed = 0
        while data := await reader.read(_PIECE_BYTES):
            writer.write(data)
            await writer.drain()
            if counted:
                self.sent += len(data)
                passed += len(data)
                if self._cuts_left and passed >= self._cut_after:
                    self._cuts_left -= 1
                    self.cuts += 1
                    return
            else:
                self.received += len(data)
                if self._bytes_per_s is not None:
                    await asyncio.sleep(len(data) / self._bytes_per_s)
