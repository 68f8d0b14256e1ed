"""A TCP relay in front of a host that lets so many bytes through to it and then stands still.

For commands that shall be ended in the middle: the same place each time, whatever the machine's speed.
"""

from __future__ import annotations

import math
import socket
import threading
from contextlib import suppress
from typing import Self

__all__ = ["GatedRelay"]

_PIECE_BYTES = 64 * 1024


class GatedRelay:
    """Listens at `address`. `passed` counts the bytes that went to the host; at `most` no more are let through."""

    def __init__(self, host: str) -> None:
        name, _, port = host.rpartition(":")
        self._host = name, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._room = threading.Condition()
        self._sockets = list[socket.socket]()
        self._closed = False
        self.most = math.inf
        self.passed = 0

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def open(self) -> None:
        """Lets through whatever comes from now on, and forgets what came."""
        with self._room:
            self.most, self.passed = math.inf, 0
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        with self._room:
            self._closed = True
            self._room.notify_all()
            for end in (self._listener, *self._sockets):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(self._host)
                with self._room:
                    if self._closed:
                        here.close()
                        there.close()
                        return
                    self._sockets += [here, there]
                threading.Thread(target=self._pass, args=(here, there, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(there, here, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:  # noqa: FBT001 - a thread's
        with suppress(OSError):
            while data := source.recv(_PIECE_BYTES):
                if counted and not self._may_pass(len(data)):
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _may_pass(self, size: int) -> bool:
        """Waits until there is room; False when there is none any more."""
        with self._room:
            self._room.wait_for(lambda: self._closed or self.passed < self.most)
            self.passed += size
            return not self._closed
