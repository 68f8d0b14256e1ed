"""The pulls of a host: begun once, joined by whoever asks again, and taken up after a restart."""

from __future__ import annotations

import asyncio
import re
import time

from paglets.artifacts.store import PullRequest
from paglets.errors import ExhaustedError, InvalidArgumentError, PreconditionError, Resource
from paglets.faults import point
from paglets.host.gate import shutting_down
from paglets.host.parts import HostParts
from paglets.host.pull import Pull
from paglets.host.records import StoredPull
from paglets.host.tasks import Tasks
from paglets.values import check_id

__all__ = ["AT_ONCE", "Pulls"]

AT_ONCE = 4
"""How many pulls are at work at once."""

_KEPT_S = 24 * 3600.0
_TICKET_BYTES = 1024
_ADDRESS = re.compile(r"[A-Za-z0-9._-]{1,253}:[0-9]{1,5}|\[[0-9A-Fa-f:.]{2,45}\]:[0-9]{1,5}")


class Pulls:
    """All pulls of one host. Four are at work at once; how each ended is kept for a day."""

    def __init__(self, parts: HostParts) -> None:
        self._parts = parts
        self._running: dict[str, Pull] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._joining = asyncio.Lock()
        self._tasks = Tasks("a pull")
        self._closing = False

    async def resume(self) -> None:
        """Takes up the pulls that an earlier life of the host has left."""
        async with self._joining:
            for stored in await self._parts.journal.running_pulls():
                if stored.request.pull_id not in self._running:
                    self._begin(stored)

    async def join(self, request: PullRequest) -> Pull:
        """The pull of this id, which is begun, durably, if there is none. Safe to repeat.

        Raises INVALID_ID, MALFORMED_REQUEST, REQUEST_ID_REUSED, TOO_MANY_UPLOADS, SHUTTING_DOWN.
        """
        _check(request, self._parts.name)
        async with self._joining:
            pull = await self._find(request.pull_id)
            if pull is None:
                return await self._accept(request)
        if pull.request != request:
            raise PreconditionError(
                "REQUEST_ID_REUSED",
                f"pull {request.pull_id} was another one: a pull id belongs to one request",
                resource=Resource("pull", request.pull_id),
                metadata={"pull_id": request.pull_id},
            )
        return pull

    async def cancel(self, pull_id: str) -> bool:
        """Ends a pull with UPLOAD_CANCELLED, durably; False where none of this id is unfinished. Safe to repeat.

        Raises INVALID_ID, SHUTTING_DOWN.
        """
        check_id(pull_id, "upload_id")
        async with self._joining:
            pull = await self._find(pull_id)
        return pull is not None and await pull.cancel()

    async def close(self) -> None:
        """Stops the pulls where they are, to be taken up by the next start, and sends those away who wait for one."""
        async with self._joining:
            self._closing = True
        for pull in tuple(self._running.values()):
            pull.lose()
        await self._tasks.close()

    async def _find(self, pull_id: str) -> Pull | None:
        """A pull that runs, or that only the journal knows: it ended within a day, or was not taken up yet."""
        if self._closing:
            raise shutting_down()
        if pull_id in self._running:
            return self._running[pull_id]
        stored = await self._parts.journal.pull(pull_id)
        if stored is None or 0.0 < stored.ended_at <= time.time() - _KEPT_S:
            return None
        return Pull(self._parts, stored) if stored.ended_at else self._begin(stored)

    async def _accept(self, request: PullRequest) -> Pull:
        most = self._parts.settings.max_pulls
        if len(self._running) >= most:
            raise ExhaustedError(
                "TOO_MANY_UPLOADS",
                f"{most} pulls are unfinished, which is as many as there may be",
                metadata={"limit": str(most)},
                retry_after_s=1.0,
            )
        stored = StoredPull(request=request)
        await self._parts.journal.drop_pulls(time.time() - _KEPT_S)
        await self._parts.journal.save_pull(stored)
        point("pull.accept.after")
        return self._begin(stored)

    def _begin(self, stored: StoredPull) -> Pull:
        pull_id = stored.request.pull_id
        pull = self._running[pull_id] = Pull(self._parts, stored)
        task = self._tasks.start(pull.run(self._slots))
        task.add_done_callback(lambda _: self._running.pop(pull_id))
        return pull


def _check(request: PullRequest, own_name: str) -> None:
    """Raises INVALID_ID or MALFORMED_REQUEST; what is to be made of the artifact is checked by the store."""
    check_id(request.pull_id, "pull_id")
    check_id(request.source_artifact_id, "source_artifact_id")
    for text, field in ((request.artifact_id, "artifact_id"), (request.owner or "", "owner")):
        if text:
            check_id(text, field)
    if len(request.read_ticket) > _TICKET_BYTES:
        raise _malformed(f"a ticket has at most {_TICKET_BYTES} bytes", "read_ticket")
    if request.source_address:
        if not _is_address(request.source_address):
            raise _malformed(f"an address is host:port, got {request.source_address[:64]!r}", "source_address")
        return
    if not request.source_host:
        raise _malformed("a pull names its source: source_host or source_address", "source_host")
    if check_id(request.source_host, "source_host") == own_name:
        raise _malformed(f"{own_name} is this host itself", "source_host")


def _is_address(text: str) -> bool:
    return _ADDRESS.fullmatch(text) is not None and 0 < int(text.rpartition(":")[2]) < 2**16


def _malformed(message: str, field: str) -> InvalidArgumentError:
    return InvalidArgumentError("MALFORMED_REQUEST", message, field=field)
