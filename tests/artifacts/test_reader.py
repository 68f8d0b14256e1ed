"""Files that are read ahead: nobody closes one under a thread that reads it."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from paglets.artifacts.disk import Disk
from paglets.artifacts.reader import PIECE_BYTES, FileReader
from paglets.digest import Digest, Hasher


async def test_pieces(tmp_path: Path) -> None:
    """The bytes come in order, and have all been hashed at the end."""
    data = os.urandom(2 * PIECE_BYTES + 1)
    (tmp_path / "file").write_bytes(data)
    disk, hasher = Disk(2), Hasher()
    reader = FileReader(disk)
    await reader.open(tmp_path / "file")
    assert b"".join([piece async for piece in reader.pieces(hasher)]) == data
    assert hasher.digest() == Digest.of(data)
    await reader.close()
    await reader.close()
    await disk.close()


async def test_close_waits_for_what_is_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is closed while a thread reads it stays open until the thread is through."""
    (tmp_path / "file").write_bytes(bytes(3 * PIECE_BYTES))
    disk, pread = Disk(2), os.pread
    begun, proceed = threading.Event(), threading.Event()

    def slow(descriptor: int, size: int, offset: int) -> bytes:
        if offset:
            begun.set()
            proceed.wait(10)
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", slow)
    reader = FileReader(disk)
    await reader.open(tmp_path / "file")
    descriptor = reader.descriptor
    pieces = reader.pieces(Hasher())
    await anext(pieces)
    assert await asyncio.to_thread(begun.wait, 10)
    closing = asyncio.create_task(reader.close())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not closing.done()
    os.fstat(descriptor)
    proceed.set()
    await closing
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    await disk.close()


async def test_close_closes_when_it_is_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is cancelled while he waits for what is read ahead leaves no file open."""
    (tmp_path / "file").write_bytes(bytes(3 * PIECE_BYTES))
    disk, pread = Disk(2), os.pread
    begun, proceed = threading.Event(), threading.Event()

    def slow(descriptor: int, size: int, offset: int) -> bytes:
        if offset:
            begun.set()
            proceed.wait(10)
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", slow)
    reader = FileReader(disk)
    await reader.open(tmp_path / "file")
    descriptor = reader.descriptor
    pieces = reader.pieces()
    await anext(pieces)
    assert await asyncio.to_thread(begun.wait, 10)
    closing = asyncio.create_task(reader.close())
    await asyncio.sleep(0)
    closing.cancel()
    proceed.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    await disk.close()
