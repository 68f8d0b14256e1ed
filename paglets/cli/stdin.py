"""Standard input as an async stream of bytes that nobody has to wait for: Ctrl-C ends a command that waits for it."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator

import click

__all__ = ["stdin_chunks"]

_READ_BYTES = 1024 * 1024
_AHEAD = 4


async def stdin_chunks() -> AsyncIterator[bytes]:
    """The bytes of standard input as they come, a few pieces ahead; what reading raises comes out here.

    The reading thread is a daemon and reads the bare descriptor: a read that never returns keeps no process alive.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes | OSError] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    if sys.stdin is None:
        raise click.BadParameter("standard input is closed")
    descriptor = sys.stdin.fileno()

    def read() -> None:
        while True:
            room.acquire()
            try:
                piece: bytes | OSError = os.read(descriptor, _READ_BYTES)
            except OSError as error:
                piece = error
            try:
                loop.call_soon_threadsafe(pieces.put_nowait, piece)
            except RuntimeError:  # the loop is closed: nobody wants it any more
                return
            if not isinstance(piece, bytes) or not piece:
                return

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while True:
        piece = await pieces.get()
        if isinstance(piece, OSError):
            raise piece
        if not piece:
            return
        room.release()
        yield piece
