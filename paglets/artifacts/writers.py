"""Who writes which upload now, and what the parts of the others were hashed to.

One writer an upload. This file must never read a row.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Protocol
from weakref import WeakValueDictionary

from paglets.artifacts import refusals
from paglets.artifacts.blobs import BlobFolder
from paglets.artifacts.disk import Disk
from paglets.digest import Digest, Hasher
from paglets.errors import PagletError

__all__ = ["Writer", "Writers"]


class Writer(Protocol):
    """Somebody who writes an upload."""

    @property
    def writer_epoch(self) -> int:
        """His number."""
        ...

    @property
    def is_publishing(self) -> bool:
        """Whether all bytes are here and are being made visible: he cannot be stopped any more."""
        ...

    async def so_far(self) -> Digest:
        """What is here of his upload. Raises UPLOAD_IN_PROGRESS when that cannot be said now."""
        ...

    async def lose(self, error: PagletError, *, drop: bool = False) -> None:
        """Takes the upload from him; none of his bytes land once this returns. `drop` gives up what is here."""
        ...


class Writers:
    """The writers of one store. What is hashed is remembered, so that no part is read twice by one process."""

    def __init__(self, blobs: BlobFolder, disk: Disk) -> None:
        self._blobs = blobs
        self._disk = disk
        self._writers: dict[str, Writer] = {}
        self._opening: set[str] = set()
        self._hashers: dict[str, Hasher] = {}
        self._measuring: dict[str, asyncio.Future[Hasher]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def names(self) -> frozenset[str]:
        """The uploads that are being written, or opened."""
        return frozenset(self._writers) | self._opening

    def of(self, upload_id: str) -> Writer | None:
        """Who writes an upload."""
        return self._writers.get(upload_id)

    def all(self) -> list[Writer]:
        """Everybody who writes."""
        return list(self._writers.values())

    @asynccontextmanager
    async def alone(self, upload_id: str) -> AsyncGenerator[None]:
        """Whoever opens an upload, or drops it, does so alone."""
        lock = self._locks.setdefault(upload_id, asyncio.Lock())
        async with lock:
            yield

    @contextmanager
    def opening(self, upload_id: str, limit: int) -> Generator[None]:
        """Counts an upload as one that is being written. Raises TOO_MANY_UPLOADS where `limit` are."""
        if len(self.names) >= limit:
            raise refusals.too_many_uploads(limit, "open")
        self._opening.add(upload_id)
        try:
            yield
        finally:
            self._opening.discard(upload_id)

    def enter(self, upload_id: str, writer: Writer) -> None:
        """A writer begins."""
        self._hashers.pop(upload_id, None)
        self._writers[upload_id] = writer

    def leave(self, upload_id: str, hasher: Hasher | None) -> None:
        """The writer ends; `hasher` was given what is here, if that is known and will be needed."""
        self._writers.pop(upload_id, None)
        if hasher is not None:
            self._hashers[upload_id] = hasher

    def forget(self, upload_id: str) -> None:
        """An upload without a writer is over."""
        self._hashers.pop(upload_id, None)
        self._measuring.pop(upload_id, None)

    async def measured(self, upload_id: str) -> Hasher:
        """The state of the hash of what is here of an upload that nobody writes.

        A caller who leaves does not end the work: whoever asks again, finds it further.
        """
        if upload_id not in self._hashers:
            if upload_id not in self._measuring:
                work = self._disk.begin(partial(self._blobs.measure_part, upload_id))
                self._measuring[upload_id] = work
                work.add_done_callback(partial(self._measured, upload_id))
            return (await asyncio.shield(self._measuring[upload_id])).copy()
        return self._hashers[upload_id].copy()

    def _measured(self, upload_id: str, work: asyncio.Future[Hasher]) -> None:
        if self._measuring.get(upload_id) is work:
            del self._measuring[upload_id]
            if not work.cancelled() and work.exception() is None:
                self._hashers[upload_id] = work.result()
