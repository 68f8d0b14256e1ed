"""A file task on two fake homes, and the journey between them as hosts make it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from paglet.v1 import task_pb2, transfer_pb2
from paglet.v1.file_transfer_pb2 import FileTransferRequest, FileTransferResult
from paglets.core.events import MobilityEvent
from paglets.errors import PagletError, as_paglet_error
from paglets.patterns.file_mobility import SingleFileTransferPaglet
from paglets.values import PagletFileRef
from tests.fake_files import destination_below
from tests.fake_home import FakeHome
from tests.patterns.task_support import get, start

CONTENT = b"some bytes" * 300
MODIFIED_NS = 1_600_000_000_123_456_789


@dataclass(frozen=True)
class Grounds:
    """The folders of a test: the roots of the two hosts, and what was delivered to the second."""

    alpha: Path
    beta: Path
    store: Path

    @classmethod
    def below(cls, folder: Path) -> Grounds:
        """Makes them."""
        grounds = cls(folder / "alpha", folder / "beta", folder / "store")
        for each in (grounds.alpha, grounds.beta, grounds.store):
            each.mkdir()
        (grounds.alpha / "data.bin").write_bytes(CONTENT)
        os.utime(grounds.alpha / "data.bin", ns=(0, MODIFIED_NS))
        return grounds

    def write(self, path: str, content: bytes) -> Path:
        """Writes a file below the second root."""
        found = self.beta / path
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_bytes(content)
        return found

    def saved(self) -> dict[str, bytes]:
        """What lies below the second root."""
        return {str(path.relative_to(self.beta)): path.read_bytes() for path in self.beta.rglob("*") if path.is_file()}


@dataclass(frozen=True)
class Target:
    """What `check_arrival` may see of a host."""

    root: Path
    host: str = "beta"
    files: Sequence[PagletFileRef] = ()

    def resolve_destination(self, destination: str, source_name: str) -> Path:
        """Where a file would go."""
        return destination_below(self.root, destination, source_name)


def asked(
    *,
    source_path: str = "data.bin",
    destination_path: str = "in/copy.bin",
    target_host: str = "beta",
    mode: transfer_pb2.FileMode.ValueType = transfer_pb2.FILE_MODE_COPY,
    dry_run: bool = False,
    overwrite: bool = False,
) -> FileTransferRequest:
    """A request that would do."""
    return FileTransferRequest(
        source_path=source_path,
        destination_path=destination_path,
        target_host=target_host,
        mode=mode,
        dry_run=dry_run,
        overwrite=overwrite,
        transfer_id="ft-1",
    )


async def ran(
    grounds: Grounds,
    request: FileTransferRequest,
    paglet_class: type[SingleFileTransferPaglet] = SingleFileTransferPaglet,
) -> FakeHome:
    """The home at the source after the task's body has ended."""
    home = FakeHome(paglet_class, root=grounds.alpha)
    await start(home, request)
    await home.bodies_ended()
    return home


def paglet(home: FakeHome) -> SingleFileTransferPaglet:
    """The paglet of a home."""
    assert isinstance(home.paglet, SingleFileTransferPaglet)
    return home.paglet


async def left(home: FakeHome, grounds: Grounds) -> FakeHome:
    """The paglet at the target, before its arrival turn; at the source, after the turn that says why it stayed."""
    await home.quiesce()
    await home.hook(home.paglet.on_dispatching, MobilityEvent("alpha", "beta", "t-1"))
    state = home.cell.latest
    try:
        type(home.paglet).check_arrival(
            home.cell.codec.check(state), Target(grounds.beta, files=home.registered_files())
        )
    except PagletError as error:
        await home.hook(home.paglet.on_dispatch_aborted, error)
        return home
    files = {name: _delivered(file, grounds.store) for name, file in home.files.items()}
    return FakeHome(type(home.paglet), host="beta", root=grounds.beta, state=state, files=files)


async def arrive(home: FakeHome, attempt: int = 1) -> None:
    """The arrival turn; if it fails, the turn after that, and then the error."""
    try:
        await home.hook(home.paglet.on_arrival, MobilityEvent("alpha", home.host, "t-1", attempt))
    except Exception as error:
        await home.hook(home.paglet.on_arrival_failed, as_paglet_error(error, "the arrival"))
        raise


async def travelled(home: FakeHome, grounds: Grounds) -> FakeHome:
    """The home where the paglet is after its journey."""
    there = await left(home, grounds)
    if there is not home:
        await arrive(there)
    return there


async def failure(home: FakeHome) -> str:
    """Why the task has FAILED."""
    status = await get(home)
    assert status.phase == task_pb2.TASK_PHASE_FAILED
    return status.error


async def result(home: FakeHome) -> FileTransferResult:
    """What came of the task."""
    found = FileTransferResult()
    status = await get(home)
    assert status.phase == task_pb2.TASK_PHASE_COMPLETED
    assert status.result.Unpack(found)
    return found


def notes(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The titles of the notes so far, in order."""
    records = [record for record in caplog.records if record.name == "paglets.patterns.notifications"]
    return [record.getMessage().partition(":")[0] for record in records]


def _delivered(file: PagletFileRef, store: Path) -> PagletFileRef:
    path = store / file.digest.hex
    path.write_bytes(file.path.read_bytes())
    return replace(file, path=path)
