"""An upload that was finished before and is sent again.

Its bytes are held against what they made then; this file must never store anything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Self

from paglets.artifacts import refusals
from paglets.artifacts.disk import Disk
from paglets.artifacts.limits import check_proof
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult, WriteOutcome
from paglets.digest import Digest, Hasher
from paglets.values import ArtifactRef

__all__ = ["Replay"]


class Replay:
    """The repetition of a finished upload. The writer goes on from the end, with a digest, or sends all of it again."""

    def __init__(self, write: ArtifactWrite, ref: ArtifactRef, disk: Disk) -> None:
        self._upload_id = write.upload_id
        self._is_complete = write.expected_digest is not None
        self._ref = ref
        self._disk = disk
        self._hasher = Hasher()

    @property
    def committed_size(self) -> int:
        """All of the artifact."""
        return self._ref.size_bytes

    @property
    def writer_epoch(self) -> int:
        """None: nobody writes any more."""
        return 0

    @property
    def is_complete(self) -> bool:
        """Whether the digest was said already, and was the right one."""
        return self._is_complete

    @property
    def lost(self) -> None:
        """Nobody can take it."""

    def when_lost(self, wake: Callable[[], None]) -> None:
        """Never calls it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.leave()

    async def write(self, offset: int, data: bytes | memoryview) -> None:
        """Takes the next bytes only to compare them."""
        expected, size = self._hasher.size_bytes, self._ref.size_bytes
        if offset not in (expected, size):
            raise refusals.offset_mismatch(expected, offset)
        if offset + len(data) > size:
            raise refusals.upload_reused(self._upload_id)
        await self._disk.run(partial(self._hasher.update, data))

    async def finish(self, declared: Digest | None = None) -> ArtifactWriteResult:
        """The artifact as this upload made it. Raises REQUEST_ID_REUSED if these are other bytes."""
        actual = self._hasher.digest()
        if actual.size_bytes == 0 and self._is_complete:
            actual = self._ref.digest
        elif actual.size_bytes == 0 and declared is not None:
            actual = declared
        check_proof(actual, declared)
        if actual != self._ref.digest:
            raise refusals.upload_reused(self._upload_id)
        return ArtifactWriteResult(self._ref, WriteOutcome.ALREADY_COMMITTED)

    async def pause(self) -> int:
        """All of it is durable."""
        return self._ref.size_bytes

    async def leave(self) -> None:
        """Does nothing: nothing was stored."""

    async def drop(self) -> None:
        """Does nothing, too."""
