"""An artifact that goes along with a call: uploaded first, and taken back when the call has failed for certain."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from paglet.v1 import artifact_pb2
from paglets.artifacts.store import ArtifactStore, ArtifactWrite
from paglets.core.sources import SourceMark
from paglets.core.storing import store_file_for_call, stored_before
from paglets.core.turn import repeatable_id
from paglets.errors import CancelledCallError, DeadlineError, InvalidArgumentError, PagletError, UnavailableError
from paglets.offloop import off_loop
from paglets.values import ArtifactRef, OwnerPolicy
from paglets.wire.artifact import artifact_to_message

__all__ = ["SENT_TTL_S", "changed_nothing", "sent_artifact", "sent_write"]

_log = logging.getLogger(__name__)

SENT_TTL_S = 3600.0
"""How long a sent artifact stays if nobody takes it."""

_UNKNOWN_OUTCOMES = frozenset({"TRANSPORT", "DEADLINE_EXCEEDED", "CANCELLED"})


def changed_nothing(error: Exception) -> bool:
    """Whether a call that failed has changed nothing, for certain.

    UNAVAILABLE, a deadline and a broken connection leave that open; REPLY_NOT_KEPT says that it has run.
    """
    if not isinstance(error, PagletError) or isinstance(error, UnavailableError | DeadlineError | CancelledCallError):
        return False
    return error.reason not in _UNKNOWN_OUTCOMES and error.reason != "REPLY_NOT_KEPT"


def sent_write(paglet_id: str, name: str, ttl_s: float) -> ArtifactWrite:
    """What an artifact is that is sent to a paglet: the paglet's own, and gone with it, or soon if it is not taken.

    In a turn that is run again it is the same one.
    """
    return ArtifactWrite(
        upload_id=repeatable_id(),
        name=name,
        owner=paglet_id,
        owner_policy=OwnerPolicy.DELETE_WITH_OWNER,
        ttl_s=ttl_s,
    )


@asynccontextmanager
async def sent_artifact(
    open_store: Callable[[], AbstractAsyncContextManager[ArtifactStore]],
    write: ArtifactWrite,
    source: Path,
    *,
    move: bool,
) -> AsyncGenerator[artifact_pb2.Artifact]:
    """Uploads a file for the call inside the block; what becomes of it then follows from how the block ends.

    Well: it stays for who takes it, and with `move` the file is deleted if it is unchanged and can be. By an error
    after which nothing has run: it is deleted. By any other: it stays until it expires. A run before this one, which
    had the same upload id, may have come to the end of its block: with `move` the file need not be there any more.
    """
    async with open_store() as store:
        mark, ref = await _stored(store, write, source, move=move)
    try:
        yield artifact_to_message(ref)
    except PagletError as error:
        if changed_nothing(error):
            await _take_back(open_store, ref)
        raise
    if move and mark is not None:
        await off_loop(_delete_sent, mark, source)


def _delete_sent(mark: SourceMark, source: Path) -> None:
    """Deletes a file that was sent; the call has been made, so one that cannot be deleted is no failure of it."""
    try:
        if not mark.delete(source):
            _log.warning("%s was sent, has changed meanwhile and is kept", source)
    except OSError as error:
        _log.warning("%s was sent, cannot be deleted and is kept: %s", source, error)


async def _stored(
    store: ArtifactStore, write: ArtifactWrite, source: Path, *, move: bool
) -> tuple[SourceMark | None, ArtifactRef]:
    """The artifact of a file, and which file that is; None for one that an earlier run has sent and deleted."""
    try:
        mark = await off_loop(SourceMark.of, source)
        return mark, await store_file_for_call(store, write, source)
    except InvalidArgumentError as error:
        is_gone = move and error.reason == "SOURCE_NOT_A_FILE" and bool(write.upload_id)
        if not is_gone or (ref := await stored_before(store, write.upload_id)) is None:
            raise
        return None, ref


async def _take_back(open_store: Callable[[], AbstractAsyncContextManager[ArtifactStore]], ref: ArtifactRef) -> None:
    try:
        async with open_store() as store:
            await store.delete(ref.artifact_id)
    except PagletError as error:
        _log.warning(
            "artifact %s, whose call failed, stays on %s until it expires: %s", ref.artifact_id, ref.host, error
        )
