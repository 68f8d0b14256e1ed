"""Reading an artifact of a host: the bytes as they come, over as many calls as it takes, the whole proven at the end.

This file must never know where they go.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeAlias

from paglets.artifacts import refusals
from paglets.artifacts.behind import Behind
from paglets.artifacts.disk import Disk
from paglets.artifacts.ranges import check_range
from paglets.artifacts.store import ByteRange
from paglets.client.backoff import Backoff
from paglets.client.read_call import ReadCall
from paglets.client.retry import RetryPolicy
from paglets.digest import Hasher
from paglets.errors import (
    DeadlineError,
    ExhaustedError,
    NotFoundError,
    OutOfRangeError,
    PagletError,
    Resource,
    UnavailableError,
)
from paglets.values import ArtifactRef

__all__ = ["Begin", "RemoteReader"]

Begin: TypeAlias = Callable[[int, int | None], Awaitable[ReadCall]]
"""Begins a call that reads one artifact from an offset on: so many bytes, or to the end."""


class RemoteReader:
    """An artifact of a host, or a range of it, that is open for reading; it can be read once.

    When the way to the host breaks, the host is restarted, or one of them took or gave nothing for too long, it goes on
    by range from what came, for as long as the policy says without a byte. The bytes of all calls together are proven
    against the digest that the first one told.
    """

    def __init__(self, begin: Begin, call: ReadCall, backoff: Backoff, disk: Disk) -> None:
        self._begin = begin
        self._call = call
        self._backoff = backoff
        self._disk = disk
        self._ref = call.ref
        self._range = call.byte_range
        self._received = 0
        self._views: AsyncGenerator[bytes | memoryview] | None = None

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, begin: Begin, offset: int, length: int | None, policy: RetryPolicy, disk: Disk
    ) -> AsyncGenerator[RemoteReader, None]:
        """Opens an artifact; raises what the host refuses with on entry, unless that passes."""
        check_range(offset, length)
        backoff = Backoff(policy)
        call = await _begun(partial(begin, offset, length), backoff)
        reader = cls(begin, call, backoff, disk)
        try:
            yield reader
        finally:
            reader._call.cancel()
            if reader._views is not None:  # whoever left it in the middle does not end it
                await reader._views.aclose()

    @property
    def ref(self) -> ArtifactRef:
        """The artifact as it was when the read began."""
        return self._ref

    @property
    def byte_range(self) -> ByteRange:
        """Which of its bytes come."""
        return self._range

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self.views():
            yield bytes(piece)

    def views(self) -> AsyncIterator[bytes | memoryview]:
        """The bytes as they lie in the messages that they came in, for those who need no `bytes` of their own."""
        self._views = self._proven()
        return self._views

    async def _proven(self) -> AsyncGenerator[bytes | memoryview]:
        hasher = Hasher()
        async with Behind.working(self._disk, hasher.update) as hashing:
            while (piece := await self._next()) is not None:
                self._received += len(piece)
                if self._received > self._range.length:
                    raise self._corrupt("more bytes came than it has")
                await hashing.put(piece)
                yield piece
            await hashing.wait()
        if self._received != self._range.length:
            raise self._corrupt(f"{self._received} bytes came instead of {self._range.length}")
        if self._received == self._ref.size_bytes and hasher.digest() != self._ref.digest:
            raise self._corrupt("the bytes that came do not have its digest")

    async def _next(self) -> bytes | memoryview | None:
        """The next piece; None at the end."""
        while True:
            try:
                piece = await self._call.piece()
            except (UnavailableError, DeadlineError) as failure:
                if self._received == self._range.length:  # all came, but for the word that it was all
                    return None
                await self._backoff.pause(failure)
                await self._go_on()
            else:
                self._backoff.progressed()
                return piece

    async def _go_on(self) -> None:
        """Asks for the rest. Raises ARTIFACT_NOT_FOUND if it would be another artifact's."""
        self._call.cancel()
        offset = self._range.offset + self._received
        length = None if self._range.end == self._ref.size_bytes else self._range.end - offset
        try:
            self._call = await _begun(partial(self._begin, offset, length), self._backoff)
        except OutOfRangeError as error:
            raise self._replaced("a smaller one") from error
        if self._call.ref.digest != self._ref.digest:
            raise self._replaced(str(self._call.ref.digest))

    def _replaced(self, found: str) -> PagletError:
        return NotFoundError(
            "ARTIFACT_NOT_FOUND",
            f"artifact {self._ref.artifact_id} was replaced while it was read: from {self._ref.digest} to {found}",
            resource=Resource("artifact", self._ref.artifact_id),
        )

    def _corrupt(self, message: str) -> PagletError:
        return refusals.blob_corrupt(self._ref.artifact_id, message)


async def _begun(begin: Callable[[], Awaitable[ReadCall]], backoff: Backoff) -> ReadCall:
    """Begins a call, again and again while the host cannot be reached or has too many readers."""
    while True:
        try:
            return await begin()
        except UnavailableError as failure:
            await backoff.pause(failure)
        except ExhaustedError as failure:
            if failure.reason != "TOO_MANY_READS":
                raise
            await backoff.pause(failure)
