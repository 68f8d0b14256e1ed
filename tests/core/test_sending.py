"""An artifact that goes along with a call: what becomes of it, and of its file, when the call has ended."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import ArtifactStore
from paglets.config import StoreSettings
from paglets.core.sending import sent_artifact, sent_write
from paglets.errors import (
    CallerError,
    CancelledCallError,
    DeadlineError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PagletError,
    PreconditionError,
    UnavailableError,
)
from tests.mounts import seal, tmpfs

WRITE = sent_write("p-1", "", 60.0)


@dataclass
class Desk:
    """A file to send, and the store it is sent to, which can be out of reach when it is opened again."""

    store: LocalArtifactStore
    source: Path
    away_for_deletion: bool = False
    opened: int = 0

    @asynccontextmanager
    async def open_store(self) -> AsyncGenerator[ArtifactStore]:
        """The store."""
        self.opened += 1
        if self.away_for_deletion and self.opened > 1:
            raise UnavailableError("HOST_UNREACHABLE", "away")
        yield self.store

    async def count(self) -> int:
        """How many artifacts there are."""
        return len((await self.store.list()).refs)

    async def send(self, error: BaseException | None, *, move: bool = True) -> None:
        """Sends the file along with a call that ends like this."""
        async with sent_artifact(self.open_store, WRITE, self.source, move=move):
            if error is not None:
                raise error


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A store of its own."""
    (tmp_path / "a.bin").write_bytes(b"abc")
    store = await LocalArtifactStore.open(tmp_path / "store", "alpha", StoreSettings())
    yield Desk(store, tmp_path / "a.bin")
    await store.close()


@pytest.mark.parametrize(
    "error",
    [
        InvalidArgumentError("MALFORMED_REQUEST", "what?"),
        NotFoundError("PAGLET_NOT_FOUND", "gone"),
        PreconditionError("TASK_RUNNING", "not now"),
        InternalError("INTERNAL", "an author's mistake, rolled back"),
        CallerError("HANDLER_FAILED", "an answer of its own kind"),
    ],
)
async def test_definite_failure_takes_it_back(desk: Desk, error: PagletError) -> None:
    """After an error of the operation nothing refers to the artifact: it is deleted, and the file stays."""
    with pytest.raises(type(error)):
        await desk.send(error)
    assert (await desk.count(), desk.source.exists()) == (0, True)


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError("TRANSPORT", "no answer"),
        UnavailableError("SHUTTING_DOWN", "ending"),
        DeadlineError("DEADLINE_EXCEEDED", "too slow"),
        CancelledCallError("CANCELLED", "given up"),
        InternalError("TRANSPORT", "a proxy's answer"),
        PreconditionError("REPLY_NOT_KEPT", "it has run"),
        ValueError("the caller's own mistake, perhaps after the call"),
        asyncio.CancelledError(),
    ],
)
async def test_unknown_outcome_keeps_it(desk: Desk, error: BaseException) -> None:
    """When the call may have been run, its receiver may have the artifact: it stays until it expires."""
    with pytest.raises(type(error)):
        await desk.send(error)
    (found,) = (await desk.store.list()).refs
    assert desk.source.exists()
    assert found.owner == "p-1"
    assert found.expires_at is not None


async def test_failed_deletion_is_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Who cannot take it back tells the call's error all the same."""
    caplog.set_level(logging.WARNING)
    desk.away_for_deletion = True
    with pytest.raises(NotFoundError, match="gone"):
        await desk.send(NotFoundError("PAGLET_NOT_FOUND", "gone"))
    assert "away" in caplog.text
    assert await desk.count() == 1


async def test_success_keeps_it(desk: Desk) -> None:
    """What was sent is the receiver's to keep; the file stays, or goes when it was to be moved."""
    await desk.send(None, move=False)
    assert desk.source.exists()
    await desk.send(None)
    assert not desk.source.exists()
    assert await desk.count() == 2


@pytest.mark.parametrize("how", ["written", "replaced", "gone"])
async def test_moved_file_that_changed_is_kept(desk: Desk, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is no longer what was sent is not deleted; one that is gone is not missed."""
    async with sent_artifact(desk.open_store, WRITE, desk.source, move=True):
        if how == "gone":
            desk.source.unlink()
        elif how == "replaced":
            desk.source.with_name("b.bin").write_bytes(b"abc")
            desk.source.with_name("b.bin").replace(desk.source)
        else:
            desk.source.write_bytes(b"xyz")
            os.utime(desk.source, ns=(0, 0))
    assert desk.source.exists() is (how != "gone")
    assert ("is kept" in caplog.text) is (how != "gone")


async def test_what_is_no_file_is_not_sent(desk: Desk) -> None:
    """Without a file there is no call."""
    with pytest.raises(InvalidArgumentError) as refused:
        async with sent_artifact(desk.open_store, WRITE, desk.source.parent, move=False):
            pytest.fail("nothing was sent")
    assert (refused.value.reason, await desk.count()) == ("SOURCE_NOT_A_FILE", 0)


async def test_moved_file_that_cannot_be_deleted_is_kept(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The call has been made by then, and is no failure: the file stays, which is logged."""
    folder = tmp_path / "sealed"
    folder.mkdir()
    with tmpfs(folder, "rw"):
        desk.source = folder / "a.bin"
        desk.source.write_bytes(b"abc")
        seal(folder)
        await desk.send(None)
        assert desk.source.exists()
    assert "Read-only file system" in caplog.text
    assert await desk.count() == 1
