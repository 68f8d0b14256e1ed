"""One pull of this host: fetches an artifact from another host into the own store, whatever breaks on the way.

What it has come to is in the journal before anybody is told. This file must never know who asked for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from paglets.artifacts.store import (
    ArtifactWrite,
    ArtifactWriteResult,
    PullProgress,
    PullRequest,
    UploadInfo,
    UploadState,
)
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.backoff import Backoff
from paglets.client.channel import open_channel
from paglets.client.retry import RetryPolicy
from paglets.digest import NOTHING, Digest
from paglets.errors import (
    ConflictError,
    DeadlineError,
    ExhaustedError,
    NotFoundError,
    PagletError,
    Resource,
    UnavailableError,
)
from paglets.faults import point
from paglets.host.gate import shutting_down
from paglets.host.parts import HostParts
from paglets.host.peers import unreachable
from paglets.host.pull_plan import planned, require_same
from paglets.host.records import StoredPull
from paglets.host.runner import attempt
from paglets.values import ArtifactRef
from paglets.wire.status import from_status_bytes, to_status

__all__ = ["PULL_POINTS", "Pull"]

PULL_POINTS = ("pull.accept.after", "pull.plan.after", "pull.end.before", "pull.end.after")
"""The named points of a pull; its upload has those of any upload."""

_FIRST_TOLD_S = 0.25
_TOLD_AT_A_PACE = 64
_PROBLEM_LETTERS = 200
_SOURCE_PATIENCE_S = 10.0


class Pull:
    """A pull that was kept in the journal; `run` fetches it, `progress` tells how far it is."""

    def __init__(self, parts: HostParts, stored: StoredPull) -> None:
        self._parts = parts
        self._stored = stored
        self._done = 0
        self._problem = ""
        self._lost: PagletError | None = None
        self._unwanted = False
        self._until: asyncio.Timeout | None = None
        self._ended = asyncio.Event()
        patience_s = parts.settings.pull_patience_s
        self._backoff = Backoff(RetryPolicy(timeout_s=patience_s, first_pause_s=0.2, last_pause_s=5.0))
        if stored.ended_at:
            self._ended.set()

    @property
    def request(self) -> PullRequest:
        """What was asked for."""
        return self._stored.request

    @property
    def _upload_id(self) -> str:
        """The upload by which it comes has its id: who knows one can look at the other, and cancel both."""
        return self._stored.request.pull_id

    async def progress(self) -> AsyncGenerator[PullProgress]:
        """How far it is, when that has changed, to its end: four times a second at first, half as often every 64 times.

        Raises what the pull ends with, and SHUTTING_DOWN when its host ends before it.
        """
        told: PullProgress | None = None
        count, pause_s = 0, _FIRST_TOLD_S
        while True:
            is_over, now = self._ended.is_set(), self._now()
            if is_over and now.result is None:
                raise self._lost or from_status_bytes(self._stored.status)
            if now != told:
                yield now
                told, count = now, count + 1
                pause_s *= 1 + (count % _TOLD_AT_A_PACE == 0)
            if is_over:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), pause_s)

    def lose(self) -> None:
        """Its host ends: whoever waits is told to come again."""
        if not self._ended.is_set():
            self._lost = shutting_down()
            self._ended.set()

    async def cancel(self) -> bool:
        """Ends it with UPLOAD_CANCELLED, durably; False if it has its artifact, or had ended before.

        Raises SHUTTING_DOWN.
        """
        if self._ended.is_set():
            return False
        if not self._unwanted:
            self._unwanted = True
            if self._until is not None:
                self._until.reschedule(asyncio.get_running_loop().time())
        await self._ended.wait()
        if self._lost is not None:
            raise self._lost
        return self._stored.result is None

    async def run(self, slots: asyncio.Semaphore) -> None:
        """Fetches the artifact to the end, each attempt in one of the slots; safe to begin again after a restart."""
        try:
            result = await self._unless_cancelled(slots)
        except PagletError as error:
            if self._stored.write is not None and error.reason != "REQUEST_ID_REUSED":  # else it is another's upload
                with suppress(PagletError):  # a partial that cannot be dropped now expires
                    await attempt(self._parts.store.cancel_upload(self._upload_id), "dropping a pull's partial")
            error.retry_after_s = None  # the pull is over: to wait for it is of no use
            await self._end(replace(self._stored, status=to_status(error).SerializeToString()))
        else:
            await self._end(replace(self._stored, result=result))

    async def _unless_cancelled(self, slots: asyncio.Semaphore) -> ArtifactWriteResult:
        """What comes of it; also of one that was cancelled too late. Raises UPLOAD_CANCELLED."""
        try:
            async with asyncio.timeout(0.0 if self._unwanted else None) as until:
                self._until = until
                try:
                    return await self._result(slots)
                finally:
                    self._until = None  # there is nothing to stop any more
        except TimeoutError:
            made = await attempt(self._made(), "cancelling a pull")
            if made is not None:
                return made
            pull_id = self.request.pull_id
            raise ConflictError(
                "UPLOAD_CANCELLED",
                f"pull {pull_id} was cancelled; what was fetched is gone",
                resource=Resource("pull", pull_id),
            ) from None

    async def _result(self, slots: asyncio.Semaphore) -> ArtifactWriteResult:
        """What comes of it, after as many attempts as it takes."""
        while True:
            try:
                async with slots:
                    return await attempt(self._fetch(), "a pull")
            except PagletError as failure:
                if not _may_pass(failure):
                    raise
                self._problem = failure.message[:_PROBLEM_LETTERS]
                await self._backoff.pause(failure)

    async def _end(self, stored: StoredPull) -> None:
        point("pull.end.before")
        ended = replace(stored, ended_at=time.time())
        await self._parts.journal.save_pull(ended)
        point("pull.end.after")
        self._stored = ended
        self._ended.set()

    async def _fetch(self) -> ArtifactWriteResult:
        """One attempt. What an earlier one, or an earlier life of the host, has stored is not fetched again."""
        made = await self._made()
        if made is not None:
            return made
        here, writer_epoch = await self._so_far()
        async with self._source() as source:
            write = await self._plan(await source.ref(self.request.source_artifact_id))
            async with await self._parts.store.open_upload(write, writer_epoch=writer_epoch, prefix=here) as upload:
                if not upload.is_complete:
                    self._done = here.size_bytes
                    async with source.open_reader(self.request.source_artifact_id, offset=self._done) as reader:
                        require_same(reader.ref, write)
                        async for piece in reader.views():
                            await upload.write(self._done, piece)
                            self._done += len(piece)
                            self._got_on()
                return await upload.finish(write.expected_digest)

    async def _made(self) -> ArtifactWriteResult | None:
        """The artifact that the upload has become, if it has. Raises ARTIFACT_NOT_FOUND if that is gone since."""
        info, write = await self._info(), self._stored.write
        if info is None or info.ref is None or write is None:
            return None
        async with await self._parts.store.open_upload(write) as upload:
            return await upload.finish()

    async def _so_far(self) -> tuple[Digest, int]:
        """What is here, and the number of the next writer."""
        info = await self._info()
        if info is None or info.state is not UploadState.OPEN or info.prefix is None:
            return NOTHING, 0
        return info.prefix, info.writer_epoch + 1

    async def _info(self) -> UploadInfo | None:
        try:
            return await self._parts.store.upload(self._upload_id)
        except NotFoundError:
            return None

    async def _plan(self, ref: ArtifactRef) -> ArtifactWrite:
        """What is to be written, as it was decided, durably, when the source was first asked."""
        write = self._stored.write
        if write is None:
            write = planned(self.request, ref)
            self._stored = replace(self._stored, write=write)
            await self._parts.journal.save_pull(self._stored)
            point("pull.plan.after")
        require_same(ref, write)
        return write

    @asynccontextmanager
    async def _source(self) -> AsyncGenerator[RemoteArtifactStore]:
        """The store of the source. What keeps that from answering inside the block is HOST_UNREACHABLE."""
        name, address, ticket = self.request.source_host, self.request.source_address, self.request.read_ticket
        peers, reader = self._parts.peers, self._parts.name
        if name:
            await peers.online(name)
            try:
                yield await peers.store(name, read_ticket=ticket, reader=reader)
            except PagletError as error:
                raise peers.explain(name, error) from error
            return
        patience_s = min(_SOURCE_PATIENCE_S, self._parts.settings.pull_patience_s)
        async with open_channel(address) as channel:
            try:
                yield RemoteArtifactStore(
                    channel, timeout_s=patience_s, patience_s=patience_s, read_ticket=ticket, reader=reader
                )
            except UnavailableError as error:
                raise unreachable(address, error.message) from error

    def _got_on(self) -> None:
        self._problem = ""
        self._backoff.progressed()

    def _now(self) -> PullProgress:
        write, result = self._stored.write, self._stored.result
        done = self._done if result is None else result.ref.size_bytes
        return PullProgress(
            bytes_done=done,
            bytes_total=None if write is None else write.size_bytes,
            problem="" if result is not None else self._problem,
            result=result,
        )


def _may_pass(failure: PagletError) -> bool:
    """Whether another attempt may get further."""
    match failure:
        case UnavailableError() | DeadlineError():
            return True
        case ExhaustedError():
            return failure.reason in {"DISK_FULL", "TOO_MANY_READS", "TOO_MANY_UPLOADS"}
        case ConflictError():  # the last writer of the upload is just leaving it
            of_upload = failure.resource is not None and failure.resource.kind == "upload"
            return failure.reason == "UPLOAD_IN_PROGRESS" and of_upload
        case _:
            return False
