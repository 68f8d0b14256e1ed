"""A file task between two real hosts: what becomes of the source, and of what a file has beside its bytes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from paglet.v1.file_transfer_pb2 import FileTransferRequest
from paglet.v1.transfer_pb2 import FILE_MODE_COPY, FILE_MODE_MOVE
from paglets import faults
from paglets.client.client import Client
from paglets.client.tasks import TaskClient
from paglets.patterns.file_mobility import SingleFileTransferPaglet
from paglets.testing import eventually, local_host
from paglets.values import TaskPhase
from paglets.wire.times import time_from_message

CONTENT = b"some bytes" * 300
MODIFIED_S = 1_600_000_000.0


@dataclass(frozen=True)
class Two:
    """Two hosts with a folder each; the file is in the first."""

    client: Client
    source: Path
    beta: Path


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    """Alpha with a file, and beta."""
    roots = tmp_path / "alpha-files", tmp_path / "beta-files"
    for root in roots:
        root.mkdir()
    source = roots[0] / "data.bin"
    source.write_bytes(CONTENT)
    os.utime(source, (MODIFIED_S, MODIFIED_S))
    source.chmod(0o640)
    async with AsyncExitStack() as stack:
        alpha = await stack.enter_async_context(local_host("alpha", file_roots=[roots[0]], data=tmp_path / "a"))
        await stack.enter_async_context(
            local_host("beta", file_roots=[roots[1]], data=tmp_path / "b", join=alpha.address)
        )
        yield Two(await stack.enter_async_context(Client(alpha.address)), source, roots[1])


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """No test leaves a point armed."""
    yield
    faults.arm(None)


async def test_fm_12_source_goes_after_the_file_was_saved(two: Two) -> None:
    """At every step until then it is there; when the source goes the destination has all bytes."""
    saved = two.beta / "data.bin"
    seen: list[tuple[str, bool, bool]] = []
    faults.arm(lambda name: seen.append((name, two.source.exists(), saved.exists())))
    task = TaskClient.for_paglet(await two.client.create(SingleFileTransferPaglet), SingleFileTransferPaglet)
    done = await task.start_and_wait(
        FileTransferRequest(source_path="data.bin", target_host="beta", mode=FILE_MODE_MOVE), timeout_s=20.0
    )
    assert done.phase is TaskPhase.COMPLETED

    async def is_gone() -> bool:
        return not two.source.exists()

    await eventually(is_gone)
    assert saved.read_bytes() == CONTENT
    assert "arrival.turn.after" in [name for name, *_ in seen]
    assert all(source or there for _, source, there in seen)
    until = [name for name, *_ in seen].index("arrival.settle.after")
    assert all(source for _, source, _ in seen[: until + 1])


async def test_fm_13_times_are_the_results_and_the_file_is_a_new_one(two: Two) -> None:
    """Mode bits and times stay behind; the result tells those of the source."""
    task = TaskClient.for_paglet(await two.client.create(SingleFileTransferPaglet), SingleFileTransferPaglet)
    done = await task.start_and_wait(
        FileTransferRequest(source_path="data.bin", target_host="beta", mode=FILE_MODE_COPY), timeout_s=20.0
    )
    assert done.result is not None
    assert time_from_message(done.result.source.modify_time) == MODIFIED_S
    assert not done.result.destination.HasField("modify_time")
    copy = (two.beta / "data.bin").stat()
    assert copy.st_mtime > MODIFIED_S
    assert copy.st_mode & 0o777 == 0o644 & ~_umask()


@pytest.mark.parametrize(
    ("destination", "target", "reason"),
    [
        ("new/data.bin", "beta", ""),
        ("there.bin", "beta", "DESTINATION_EXISTS"),
        ("../out.bin", "beta", "PATH_OUTSIDE_ROOTS"),
        ("new.bin", "gamma", "HOST_NOT_FOUND"),
    ],
)
async def test_fm_9_dry_run_may_ask_the_target(two: Two, destination: str, target: str, reason: str) -> None:
    """What would keep the file from being saved fails a dry run that asks; nothing is written, and nobody is left."""
    (two.beta / "there.bin").write_bytes(b"old")
    proxy = await two.client.create(SingleFileTransferPaglet)
    task = TaskClient.for_paglet(proxy, SingleFileTransferPaglet)
    request = FileTransferRequest(
        source_path="data.bin", destination_path=destination, target_host=target, mode=FILE_MODE_MOVE, dry_run=True
    )
    assert (await task.start_and_wait(request, timeout_s=20.0)).phase is TaskPhase.COMPLETED, "nobody is asked"
    request.check_target = True
    done = await task.start_and_wait(request, timeout_s=20.0)
    assert (done.error_reason, done.phase) == (reason, TaskPhase.FAILED if reason else TaskPhase.COMPLETED)
    assert done.result is None or done.result.destination.path == destination

    async def is_alone() -> bool:
        return [info.paglet_id async for info in two.client.list()] == [proxy.paglet_id]

    await eventually(is_alone)
    assert two.source.read_bytes() == CONTENT
    assert [path.name for path in two.beta.rglob("*")] == ["there.bin"]


async def test_fm_9_file_of_a_failed_transfer_does_not_go_along_to_look(two: Two) -> None:
    """A dry run brings no bytes, also where a transfer before it has left its file registered."""
    (two.beta / "data.bin").write_bytes(b"old")
    task = TaskClient.for_paglet(await two.client.create(SingleFileTransferPaglet), SingleFileTransferPaglet)
    request = FileTransferRequest(source_path="data.bin", target_host="beta")
    assert (await task.start_and_wait(request, timeout_s=20.0)).error_reason == "DESTINATION_EXISTS"
    pushed: list[str] = []
    faults.arm(pushed.append)
    request.dry_run = request.check_target = request.overwrite = True
    assert (await task.start_and_wait(request, timeout_s=20.0)).phase is TaskPhase.COMPLETED
    assert "transfer.prepare.after" in pushed
    assert "artifact.part.after" not in pushed


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
