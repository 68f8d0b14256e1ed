"""The plain-socket program that uploads and downloads are held against: `python -m paglets.bench.plain_server FOLDER`.

It does what a host does for an artifact, hash for hash, write for write and sync for sync, without gRPC, without a
database and without a question that can be refused.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from functools import partial
from pathlib import Path

from blake3 import blake3

from paglets.bench.plain_files import Catalogue, DurableFile, Syncs
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
from paglets.bench.worker import until_eof
from paglets.loop import run

__all__ = ["PlainServer", "main"]

_log = logging.getLogger(__name__)


class PlainServer:
    """Keeps files below `folder`, each under the digest that it was proven to have."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._syncs = Syncs()
        self._catalogue = Catalogue(folder / "plain.catalogue", self._syncs)
        self._digests: dict[str, str] = {}

    def close(self) -> None:
        """Lets go of the catalogue."""
        self._catalogue.close()

    def accept(self, listener: socket.socket) -> None:
        """Serves every connection in a thread of its own, for ever."""
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        """Answers one request after the other until the client is gone, or has sent what it should not have."""
        with connection:
            try:
                while (request := read_line(connection, PlainRequest)) is not None:
                    self._answer(connection, request)
            except ConnectionError as error:
                _log.warning("a connection is given up: %s", error)

    def _answer(self, connection: socket.socket, request: PlainRequest) -> None:
        match request.action:
            case "put" if request.raw:
                size = sum(len(chunk) for chunk in receive(connection, request.size_bytes))
                send_line(connection, PlainReply(size_bytes=size))
            case "get" if request.raw:
                send_nothing(connection, request.size_bytes)
            case "put":
                self._put(connection, request)
            case "get":
                self._get(connection, request)
            case "delete":
                (self._folder / request.name).unlink()
                send_line(connection, PlainReply())

    def _put(self, connection: socket.socket, request: PlainRequest) -> None:
        """The order of a store: noted, received, durable, noted, named, noted, answered."""
        before = self._syncs.count
        self._catalogue.record()
        send_line(connection, PlainReply())
        file = DurableFile(self._folder / request.name, self._syncs, by=os.fdatasync, direct=request.direct)
        try:
            with Worker(overlap=request.overlap) as worker:
                for chunk in receive(connection, request.size_bytes):
                    worker.hand(partial(file.append, chunk))
                worker.wait()
            declared = read_line(connection, PlainReply)
            if declared is None or declared.digest != file.digest():
                raise ConnectionError(f"{request.name} came with another digest than {declared}")
            file.sync()
            self._catalogue.record()
            file.place()
            self._catalogue.record()
        finally:
            file.close()
        self._digests[request.name] = declared.digest
        syncs = self._syncs.count - before
        send_line(connection, PlainReply(size_bytes=request.size_bytes, digest=declared.digest, syncs=syncs))

    def _get(self, connection: socket.socket, request: PlainRequest) -> None:
        """Sends a file while it is hashed, and at the end the digest that it was found to have."""
        path = self._folder / request.name
        hasher = blake3()
        send_line(connection, PlainReply(size_bytes=path.stat().st_size, digest=self._digests[request.name]))
        with path.open("rb", buffering=0) as source, Worker(overlap=request.overlap) as worker:
            while data := source.read(CHUNK_BYTES):
                worker.hand(partial(hasher.update, data))
                connection.sendall(data)
            worker.wait()
        send_line(connection, PlainReply(digest=hasher.hexdigest()))


def main() -> None:
    """Serves on a free port until standard input ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = PlainServer(Path(sys.argv[1]))
        threading.Thread(target=server.accept, args=(listener,), daemon=True).start()
        run(until_eof(f"127.0.0.1:{listener.getsockname()[1]}"))


if __name__ == "__main__":
    main()
