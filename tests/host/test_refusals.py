"""A journey that is refused leaves everything as it was, and says why in words that a program understands."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import grpc
import pytest

from paglets import faults
from paglets.directory.contract import HostRegistration
from paglets.errors import PreconditionError
from paglets.host.records import StoredPaglet
from paglets.host.registry import TypeRegistry
from paglets.state import Upcaster
from tests.host.conftest import Mesh
from tests.host.probe import SECRET, Probe
from tests.host.support import PROBE_TYPE, ask, refused
from tests.host.unharmed import (
    CONTENT,
    ILLEGAL,
    Case,
    assert_nothing_left,
    assert_unharmed,
    dispatch,
    nothing,
    probe_with_file,
    row_of,
)

FILE_TRANSFER = "paglets.patterns.file_mobility.SingleFileTransferPaglet"


class NewerProbe(Probe):
    """A probe whose states an older host cannot read."""

    state_version = 2
    upcasters: ClassVar[Mapping[int, Upcaster]] = {1: lambda fields: fields}


async def _no_type(mesh: Mesh, _path: Path) -> None:
    mesh.beta.host.parts.registry = TypeRegistry("beta", {})


async def _newer_here(mesh: Mesh, _path: Path) -> None:
    resident = mesh.alpha.host.residents.get("probe")
    assert resident is not None
    resident.runner.cell.codec = NewerProbe.codec


async def _dead_ghost(mesh: Mesh, _path: Path) -> None:
    """A host that is believed to be there, at an address where nobody listens."""
    ghost = HostRegistration(name="ghost", uid="ghost", address="127.0.0.1:9", types=(PROBE_TYPE,))
    await mesh.alpha.host.parts.directory.lease_register(ghost, 60)


async def _gone_ghost(mesh: Mesh, _path: Path) -> None:
    """A host that left."""
    await _dead_ghost(mesh, _path)
    await mesh.alpha.host.parts.directory.lease_revoke("ghost", "ghost")


async def _too_many_files(mesh: Mesh, _path: Path) -> None:
    """So many registrations that no message could name them all."""
    resident = mesh.alpha.host.residents.get("probe")
    assert resident is not None
    one = replace(resident.files["source.bin"], origin_path="/" + "x" * 4000)
    resident.files.update({name: replace(one, name=name) for name in (f"{number}.bin" for number in range(1100))})


def _refusing(hook: str, how: str) -> Callable[[Mesh, Path], Awaitable[object]]:
    return lambda mesh, _: ask(mesh.alpha.channel, "probe", "Ask", f"refuse {hook} {how}")


def _changing(change: Callable[[Path], object]) -> Callable[[Mesh, Path], Awaitable[object]]:
    """Changes the registered file."""
    return lambda _mesh, path: asyncio.to_thread(change, path)


def _forge(path: Path) -> None:
    """Other bytes, with the times and the size of those that were registered."""
    was = path.stat()
    path.write_bytes(bytes(reversed(CONTENT)))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def _grow(path: Path) -> None:
    path.write_bytes(CONTENT + b"more")


CASES = {
    "type": Case(_no_type, ILLEGAL, "TYPE_NOT_ALLOWED", {"type": PROBE_TYPE, "host": "beta"}),
    "version": Case(
        _newer_here, ILLEGAL, "STATE_VERSION_UNSUPPORTED", {"type": PROBE_TYPE, "found": "2", "supported": "1"}
    ),
    "dead": Case(_dead_ghost, grpc.StatusCode.UNAVAILABLE, "HOST_UNREACHABLE", {"host": "ghost"}, target="ghost"),
    "left": Case(
        _gone_ghost,
        grpc.StatusCode.UNAVAILABLE,
        "HOST_UNREACHABLE",
        {"host": "ghost"},
        target="ghost",
        intended=False,
        told=False,
    ),
    "unknown": Case(
        nothing,
        grpc.StatusCode.NOT_FOUND,
        "HOST_NOT_FOUND",
        {"host": "nowhere"},
        target="nowhere",
        intended=False,
        told=False,
    ),
    "check refuses": Case(_refusing("check_arrival", "refused"), ILLEGAL, "TASK_RUNNING", {"hook": "check_arrival"}),
    "check fails": Case(_refusing("check_arrival", "broken"), ILLEGAL, "ARRIVAL_REFUSED"),
    "hook refuses": Case(
        _refusing("on_dispatching", "refused"), ILLEGAL, "TASK_RUNNING", {"hook": "on_dispatching"}, intended=False
    ),
    "hook fails": Case(
        _refusing("on_dispatching", "broken"), ILLEGAL, "HOOK_FAILED", {"hook": "on_dispatching"}, intended=False
    ),
    "file grew": Case(_changing(_grow), ILLEGAL, "FILE_CHANGED", {"file": "source.bin"}, intended=False),
    "file is gone": Case(_changing(Path.unlink), ILLEGAL, "FILE_CHANGED", {"file": "source.bin"}, intended=False),
    "too many files": Case(_too_many_files, grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"),
    "file was forged": Case(_changing(_forge), ILLEGAL, "FILE_CHANGED", {"file": "source.bin"}, intended=False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_life_3_refused_move_leaves_everything_as_it_was(mesh: Mesh, tmp_path: Path, case: Case) -> None:
    """State, file, directory, journals and both stores are as before; the paglet was told, and answers on."""
    path = await probe_with_file(mesh)
    await case.prepare(mesh, path)
    before = await row_of(mesh)
    was = (path.read_bytes(), path.stat().st_mtime_ns) if path.exists() else None

    refusal = await refused(dispatch(mesh.alpha, "probe", case.target))

    assert refusal.what == (case.code, case.reason)
    assert refusal.domain == "paglet"
    assert SECRET not in repr(refusal)
    assert case.metadata.items() <= refusal.metadata.items()
    assert was == ((path.read_bytes(), path.stat().st_mtime_ns) if path.exists() else None)
    await assert_unharmed(mesh, tmp_path, before, case)


async def test_existing_destination_is_refused(mesh: Mesh, tmp_path: Path) -> None:
    """A file that would be overwritten at the target keeps the paglet, and the task, at the source."""
    existing = mesh.beta.files / "there.bin"
    existing.write_bytes(b"mine")
    state = {
        "phase": "waiting-for-arrival",
        "destination_host": "beta",
        "destination_path": "there.bin",
        "file_name": "source.bin",
    }
    await mesh.alpha.client.create(FILE_TRANSFER, paglet_id="probe", state=json.dumps(state))
    before = await row_of(mesh)
    refusal = await refused(dispatch(mesh.alpha, "probe", "beta"))
    assert refusal.what == (grpc.StatusCode.ALREADY_EXISTS, "DESTINATION_EXISTS")
    assert refusal.resource == ("file", str(existing))
    assert existing.read_bytes() == b"mine"
    await assert_nothing_left(mesh, tmp_path, before, grown=1)


async def test_full_target_is_refused(strict: Mesh, tmp_path: Path) -> None:
    """A target without room for the file refuses it before a byte is kept, with the numbers."""
    path = await probe_with_file(strict, mode="move")
    before = await row_of(strict)
    refusal = await refused(dispatch(strict.alpha, "probe", "beta"))
    assert refusal.what == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
    assert refusal.metadata["limit_bytes"] == "1000"
    assert refusal.metadata["requested_bytes"] == str(len(CONTENT))
    assert path.read_bytes() == CONTENT
    await assert_unharmed(strict, tmp_path, before, Case(nothing, refusal.code, refusal.reason))


async def test_files_that_came_are_dropped_with_the_rest(mesh: Mesh, tmp_path: Path) -> None:
    """A file that reached the target before the next one was found to be forged does not stay there."""
    path = await probe_with_file(mesh)
    first = mesh.alpha.files / "a first.bin"
    first.write_bytes(CONTENT)
    await ask(mesh.alpha.channel, "probe", "Ask", f"copy {first}")
    faults.arm(lambda name: _forge(path) if name == "journey.prepare.after" else None)
    before = await row_of(mesh)
    refusal = await refused(dispatch(mesh.alpha, "probe", "beta"))
    faults.arm(None)
    assert refusal.what == (ILLEGAL, "FILE_CHANGED")
    await assert_unharmed(mesh, tmp_path, before, Case(nothing, refusal.code, refusal.reason))


async def test_later_paglet_is_not_replaced(mesh: Mesh) -> None:
    """What a host keeps of a paglet that a lost directory knew outlives one of the same id that was made since."""
    kept = StoredPaglet(paglet_id="probe", type=PROBE_TYPE, epoch=1_000_000, state=b"kept", state_version=1)
    await mesh.beta.host.parts.journal.save_newborn(kept, (), 0)
    await mesh.probe()
    with pytest.raises(PreconditionError, match="rebuild them") as refusal:
        await mesh.alpha.client.dispatch("probe", "beta")
    assert refusal.value.reason == "ARRIVAL_REFUSED"
    assert await mesh.beta.host.parts.journal.paglet("probe") == kept
    assert (await ask(mesh.alpha.channel, "probe", "Append", "a")).text.endswith("a")
