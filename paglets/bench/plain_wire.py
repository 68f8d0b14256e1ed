"""The words of the plain-socket program: one line of JSON each way, then bytes, over one TCP connection.

It is what one would write by hand to move a file with its digest, and no more.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, Self, TypeVar

import msgspec

__all__ = ["CHUNK_BYTES", "PlainReply", "PlainRequest", "Worker", "read_line", "receive", "send_line", "send_nothing"]

CHUNK_BYTES = 1024 * 1024
"""What is read, hashed, written and sent at a time: as much as a message of an artifact carries."""

MessageT = TypeVar("MessageT")
_MAX_LINE_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainRequest:
    """What the client wants. `raw` moves bytes that nobody reads, hashes or writes.

    With `overlap` a second thread hashes and writes while the next bytes are moved.
    """

    action: Literal["put", "get", "delete"]
    name: str = ""
    size_bytes: int = 0
    raw: bool = False
    overlap: bool = False
    direct: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainReply:
    """What the server says before or after the bytes: what they are, and how often it has waited for the disk."""

    size_bytes: int = 0
    digest: str = ""
    syncs: int = 0


class Worker:
    """Does one thing after the other for its caller: at once, or in a second thread while the caller goes on."""

    def __init__(self, *, overlap: bool) -> None:
        self._pool = ThreadPoolExecutor(1) if overlap else None
        self._running: Future[object] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def hand(self, work: Callable[[], object]) -> None:
        """Has it done, after what was handed over before."""
        self.wait()
        if self._pool is None:
            work()
        else:
            self._running = self._pool.submit(work)

    def wait(self) -> None:
        """Waits until everything is done, and raises what it raised."""
        running, self._running = self._running, None
        if running is not None:
            running.result()


def send_line(connection: socket.socket, message: PlainRequest | PlainReply) -> None:
    """Sends a line."""
    connection.sendall(msgspec.json.encode(message) + b"\n")


def read_line(connection: socket.socket, message_type: type[MessageT]) -> MessageT | None:
    """Receives a line and not a byte more; None where the connection has ended."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte or len(line) > _MAX_LINE_BYTES:
            return None
        line += byte
    return msgspec.json.decode(line, type=message_type)


def receive(connection: socket.socket, size_bytes: int) -> Iterator[memoryview]:
    """Receives so many bytes in chunks; a chunk stays as it is until the one after the next is asked for."""
    buffers = (memoryview(bytearray(CHUNK_BYTES)), memoryview(bytearray(CHUNK_BYTES)))
    done = 0
    while done < size_bytes:
        buffers = buffers[::-1]
        chunk = buffers[0][: min(CHUNK_BYTES, size_bytes - done)]
        filled = 0
        while filled < len(chunk):
            count = connection.recv_into(chunk[filled:])
            if not count:
                raise ConnectionError(f"the connection ended after {done + filled} of {size_bytes} bytes")
            filled += count
        done += filled
        yield chunk


def send_nothing(connection: socket.socket, size_bytes: int) -> None:
    """Sends bytes that mean nothing."""
    data = memoryview(bytes(CHUNK_BYTES))
    for start in range(0, size_bytes, CHUNK_BYTES):
        connection.sendall(data[: size_bytes - start])
