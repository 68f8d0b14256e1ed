"""Ports of loopback that a test chooses."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def taken_port(address: str) -> Generator[None, None, None]:
    """Keeps others from the port of an address whose host has left; its closed connections may linger there."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", int(address.rpartition(":")[2])))
        taken.listen()
        yield
