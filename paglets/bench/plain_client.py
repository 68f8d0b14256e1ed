"""The other end of the plain-socket program, as a process of its own: `python -m paglets.bench.plain_client`."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import closing
from functools import partial
from pathlib import Path

from blake3 import blake3

from paglets.bench.plain_files import DurableFile, Syncs
from paglets.bench.plain_wire import (
    CHUNK_BYTES,
    PlainReply,
    PlainRequest,
    Worker,
    read_line,
    receive,
    send_line,
    send_nothing,
)
from paglets.bench.transfers import Transfer, TransferCommand
from paglets.bench.worker import obey
from paglets.loop import run

__all__ = ["PlainClient", "main"]


class PlainClient:
    """Obeys transfer commands over one connection to each server."""

    def __init__(self) -> None:
        self._connections: dict[str, socket.socket] = {}
        self._syncs = Syncs()

    def close(self) -> None:
        """Ends the connections."""
        for connection in self._connections.values():
            connection.close()

    async def obey(self, command: TransferCommand) -> Transfer:
        """Moves the bytes; the clock runs from the request to the proof."""
        return await asyncio.to_thread(self._move, command)

    def _move(self, command: TransferCommand) -> Transfer:
        connection = self._connection(command.address)
        request = PlainRequest(
            action=command.action,
            name=command.name,
            size_bytes=command.size_bytes,
            raw=command.raw,
            overlap=command.overlap,
            direct=command.direct,
        )
        before, began = self._syncs.count, time.perf_counter()
        match command.action:
            case "put" if command.raw:
                reply = _raw_put(connection, request)
            case "get" if command.raw:
                reply = _raw_get(connection, request)
            case "put":
                reply = self._put(connection, request, Path(command.path))
            case "get":
                reply = self._get(connection, request, Path(command.path))
            case "delete":
                send_line(connection, request)
                reply = _reply(connection)
        seconds = time.perf_counter() - began
        syncs = reply.syncs + self._syncs.count - before
        return Transfer(seconds=seconds, size_bytes=reply.size_bytes, digest=reply.digest, syncs=syncs)

    def _put(self, connection: socket.socket, request: PlainRequest, path: Path) -> PlainReply:
        """Sends a file while it is hashed, then its digest; the reply says that it is proven and durable."""
        hasher = blake3()
        send_line(connection, request)
        _reply(connection)
        with path.open("rb", buffering=0) as source, Worker(overlap=request.overlap) as worker:
            while data := source.read(CHUNK_BYTES):
                worker.hand(partial(hasher.update, data))
                connection.sendall(data)
            worker.wait()
        send_line(connection, PlainReply(digest=hasher.hexdigest()))
        return _reply(connection)

    def _get(self, connection: socket.socket, request: PlainRequest, path: Path) -> PlainReply:
        """Writes what comes while it is hashed, and gives it its name when it is proven and durable."""
        send_line(connection, request)
        promised = _reply(connection)
        file = DurableFile(path, self._syncs, by=os.fsync, direct=request.direct)
        try:
            with Worker(overlap=request.overlap) as worker:
                for chunk in receive(connection, promised.size_bytes):
                    worker.hand(partial(file.append, chunk))
                worker.wait()
            if not promised.digest == _reply(connection).digest == file.digest():
                raise ConnectionError(f"{request.name} came with another digest than {promised.digest}")
            file.sync()
            file.place()
        finally:
            file.close()
        return promised

    def _connection(self, address: str) -> socket.socket:
        if address not in self._connections:
            host, _, port = address.rpartition(":")
            self._connections[address] = socket.create_connection((host, int(port)))
        return self._connections[address]


def _raw_put(connection: socket.socket, request: PlainRequest) -> PlainReply:
    send_line(connection, request)
    send_nothing(connection, request.size_bytes)
    return _reply(connection)


def _raw_get(connection: socket.socket, request: PlainRequest) -> PlainReply:
    send_line(connection, request)
    return PlainReply(size_bytes=sum(len(chunk) for chunk in receive(connection, request.size_bytes)))


def _reply(connection: socket.socket) -> PlainReply:
    reply = read_line(connection, PlainReply)
    if reply is None:
        raise ConnectionError("the plain server has ended the connection")
    return reply


def main() -> None:
    """Obeys until standard input ends."""
    with closing(PlainClient()) as client:
        run(obey(TransferCommand, client.obey))


if __name__ == "__main__":
    main()
