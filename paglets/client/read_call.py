"""One ReadArtifact call: its header, then the pieces that come.

This file must never know what becomes of them, nor whether another call went before.
"""

from __future__ import annotations

from collections.abc import Callable

from paglets.artifacts.store import ByteRange
from paglets.client.artifact_streams import ArtifactStreams
from paglets.client.calls import errors_of_calls
from paglets.values import ArtifactRef
from paglets.wire.artifact import artifact_from_message, read_to_request
from paglets.wire.frames import ReadFrames

__all__ = ["ReadCall"]


class ReadCall:
    """A call that the host has accepted: what it will send. Make it by `begin`, end it by `cancel`."""

    def __init__(
        self, frames: ReadFrames, cancel: Callable[[], object], ref: ArtifactRef, byte_range: ByteRange
    ) -> None:
        self._frames = frames
        self._cancel = cancel
        self.ref = ref
        self.byte_range = byte_range

    @classmethod
    async def begin(
        cls,
        streams: ArtifactStreams,
        artifact_id: str,
        read_ticket: bytes,
        stall_timeout_s: float,
        offset: int,
        length: int | None,
    ) -> ReadCall:
        """Asks for an artifact, or a range of it. Raises what the host refuses with; then nothing is left to cancel."""
        with errors_of_calls():
            call = streams.ReadArtifact(read_to_request(artifact_id, offset, length, read_ticket))
            try:
                frames = ReadFrames(aiter(call), stall_timeout_s)
                header = await frames.header(artifact_id, offset, length)
                byte_range = ByteRange(header.offset, header.length)
                return cls(frames, call.cancel, artifact_from_message(header.artifact), byte_range)
            except BaseException:
                call.cancel()
                raise

    async def piece(self) -> bytes | memoryview | None:
        """What comes next; None when the host has ended the stream well."""
        with errors_of_calls():
            return await self._frames.piece()

    def cancel(self) -> None:
        """Leaves the stream. Safe to repeat."""
        self._cancel()
