"""What keeps a paglet from coming back keeps nobody else: its host starts, and says what is wrong with the one."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from paglets.client.client import Client
from paglets.core.events import ActivationEvent
from paglets.errors import PreconditionError
from paglets.host import farewell, files
from paglets.host.files import RegisteredFile
from paglets.host.journal.journal import Journal
from paglets.host.records import Departure
from paglets.testing import send_signal
from paglets.values import PagletState
from tests.host.conftest import Mesh, Site, site
from tests.host.crash import fallen
from tests.host.midway import Midway, do
from tests.host.probe import Probe
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused
from tests.host.unharmed import dispatch, probe_with_file


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Whatever a test starts ends with it."""
    async with AsyncExitStack() as opened:
        yield opened
        STAGE.clear()


async def _restarted(stack: AsyncExitStack, folder: Path, *paglets: str) -> Site:
    """A host that has these probes and was started again."""
    async with AsyncExitStack() as first:
        alpha = await site(first, folder, "alpha")
        for paglet_id in paglets:
            await alpha.client.create(PROBE_TYPE, paglet_id=paglet_id)
            await ask(alpha.channel, paglet_id, "Append", "a")
    return await site(stack, folder, "alpha")


async def test_life_13_activation_that_does_not_end_keeps_nobody_waiting(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host serves though an `on_activation` goes on; its own paglet's callers wait for it."""

    async def on_activation(found: Probe, _event: ActivationEvent) -> None:
        await STAGE.at(f"{found.paglet_id} activated")

    monkeypatch.setattr(Probe, "on_activation", on_activation)
    STAGE.hold("slow activated")
    alpha = await _restarted(stack, tmp_path, "quick", "slow")
    assert (await ask(alpha.channel, "quick", "Append", "b")).text == "a b"
    STAGE.release("slow activated")
    assert (await ask(alpha.channel, "slow", "Append", "b")).text == "a b"


async def test_state_class_that_raises_is_quarantined(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paglet whose state class fails with any error is QUARANTINED, its bytes kept; the others are served."""
    load = Probe.codec.load

    def failing(data: bytes, version: int) -> object:
        if b"bad" in data:
            raise RuntimeError("of the author's own")
        return load(data, version)

    async with AsyncExitStack() as first:
        alpha = await site(first, tmp_path, "alpha")
        for paglet_id in ("bad", "good"):
            await alpha.client.create(PROBE_TYPE, paglet_id=paglet_id)
            await ask(alpha.channel, paglet_id, "Append", paglet_id)
    with monkeypatch.context() as patch:
        patch.setattr(Probe.codec, "load", failing)
        async with AsyncExitStack() as second:
            alpha = await site(second, tmp_path, "alpha")
            with pytest.raises(grpc.aio.AioRpcError, match="cannot be read"):
                await ask(alpha.channel, "bad", "Append", "b")
            assert (await alpha.client.get("bad")).state is PagletState.QUARANTINED
            assert (await ask(alpha.channel, "good", "Append", "b")).text == "good b"
    alpha = await site(stack, tmp_path, "alpha")
    assert (await ask(alpha.channel, "bad", "Append", "b")).text == "bad b"


async def test_reason_that_no_message_holds(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host of the mesh starts, whatever a state class says of the state that it cannot read; what fits is told."""
    alpha = await site(stack, tmp_path, "alpha")
    async with AsyncExitStack() as first:
        beta = await site(first, tmp_path, "beta", join=alpha.running.address)
        for paglet_id in ("bad", "good"):
            await beta.client.create(PROBE_TYPE, paglet_id=paglet_id)
            await ask(beta.channel, paglet_id, "Append", paglet_id)
    load = Probe.codec.load

    def failing(data: bytes, version: int) -> object:
        if b"bad" in data:
            raise PreconditionError("STATE_INVALID", "x" * 5_000_000)
        return load(data, version)

    monkeypatch.setattr(Probe.codec, "load", failing)
    await site(stack, tmp_path, "beta", join=alpha.running.address)
    assert (await ask(alpha.channel, "good", "Append", "b")).text == "good b"

    async def is_told() -> bool:
        found = await alpha.client.get("bad")
        return found.state is PagletState.QUARANTINED and found.error.startswith("xxx")

    await eventually(is_told, what="the quarantine")


@pytest.mark.parametrize("on_the_way", [False, True])
async def test_lost_directory_costs_no_paglet(stack: AsyncExitStack, tmp_path: Path, *, on_the_way: bool) -> None:
    """A directory that knows nothing does not say who owns what: the journal keeps its paglets, also travellers."""
    async with AsyncExitStack() as first:
        alpha = await site(first, tmp_path, "alpha")
        for paglet_id in ("probe", "resting"):
            await alpha.client.create(PROBE_TYPE, paglet_id=paglet_id)
        info = await alpha.client.get("probe")
        await alpha.client.deactivate("resting")
        if on_the_way:
            departure = Departure(
                transfer_id="t-1", paglet_id="probe", target="beta", epoch=info.epoch, started_at=time.time()
            )
            await alpha.host.parts.journal.put_departure(departure)
    for path in (tmp_path / "alpha").glob("directory.db*"):
        path.unlink()
    alpha = await site(stack, tmp_path, "alpha")
    assert (await refused(ask(alpha.channel, "probe", "Read"))).reason == "PAGLET_NOT_FOUND"
    assert sorted(await alpha.host.parts.journal.paglet_ids()) == ["probe", "resting"]
    assert len(await alpha.host.parts.journal.departures()) == on_the_way


async def test_source_that_cannot_be_deleted_ends_its_journey(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A moved file that the system does not let go stays, with a word in the log; the journey is over all the same."""
    path = await probe_with_file(mesh, mode="move")

    def unlink(_file: Path, *, missing_ok: bool = False) -> None:
        raise PermissionError(13, f"of the system, {missing_ok}")

    real = files.delete_source

    def delete_source(file: RegisteredFile) -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", unlink)
            return real(file)

    monkeypatch.setattr(farewell, "delete_source", delete_source)
    await dispatch(mesh.alpha, "probe", "beta")
    await eventually(lambda: _no_departure(mesh), what="the end of the journey")
    assert path.exists()


async def test_move_that_was_made_is_not_told_as_cut(
    stack: AsyncExitStack, tmp_path: Path, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paglet that is back before its host has forgotten how it left is told nothing of that by a restart."""
    ending = Midway(monkeypatch, mesh.alpha.host.parts.journal, "end_departure").hold()
    await mesh.probe()
    await dispatch(mesh.alpha, "probe", "beta")
    await ending.called()
    await dispatch(mesh.beta, "probe", "alpha")
    assert await mesh.alpha.host.parts.journal.departures()
    alpha = await fallen(stack, tmp_path)
    assert (await ask(alpha.channel, "probe", "Append", "a")).text == "a"
    assert not await alpha.host.parts.journal.departures()
    ending.release()


async def test_watch_goes_on_after_an_error_of_the_disk(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """One failure of the store does not end what deletes the artifacts of paglets that are gone."""
    store, failures = mesh.beta.host.parts.store, [True]
    real = store.delete_owner

    async def delete_owner(owner: str, *, created_until: float | None = None) -> int:
        if failures.pop():
            failures.append(False)
            raise sqlite3.OperationalError("disk I/O error")
        failures.append(False)
        STAGE.note(f"deleted with {owner}")
        return await real(owner, created_until=created_until)

    monkeypatch.setattr(store, "delete_owner", delete_owner)
    await mesh.probe()
    await mesh.alpha.client.dispose("probe")
    await eventually(lambda: do("deleted with probe" in STAGE.notes), what="another try")


async def _no_departure(mesh: Mesh) -> bool:
    return not await mesh.alpha.host.parts.journal.departures()


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["HoldInThread", "HoldInWorker"])
async def test_life_12_thread_without_end_is_cut_off(tmp_path: Path, operation: str) -> None:
    """A handler that stays in a thread, the host's or asyncio's, keeps its host only for drain time and budget."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.host.impatient", tmp_path / "alpha"),
        cwd=Path(__file__).parents[2],
        stdout=PIPE,
        stderr=PIPE,
    )
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().strip()
    async with Client(address) as client:
        await client.create(PROBE_TYPE, paglet_id="probe")
        stuck = asyncio.create_task(refused(ask(client.channel, "probe", operation, "for ever")))
        await eventually(lambda: _waits(client), what="a turn that does not end")
        send_signal(process, signal.SIGTERM)
        _, err = await asyncio.wait_for(process.communicate(), 20)
        assert (await stuck).code is grpc.StatusCode.UNAVAILABLE
    assert process.returncode == 1
    assert b"something on this host does not end" in err


async def _waits(client: Client) -> bool:
    """Whether somebody else's turn keeps a call waiting."""
    try:
        await ask(client.channel, "probe", "Look", timeout_s=0.2)
    except grpc.aio.AioRpcError as late:
        return late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    return False


_FAILING_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from paglets.host.journal.journal import Journal

async def main():
    journal = Journal.open(Path(sys.argv[1]))
    await journal.set_meta("kept", "yes")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (131072, 131072))  # what a disk that is full does to every write
    for number in range(1000):
        await journal.set_meta(f"key-{number}", "x" * 1000)
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_journal_that_cannot_be_written_ends_the_process(tmp_path: Path) -> None:
    """A host that cannot keep what it acknowledges ends with 70; all that it acknowledged before is there."""
    path = tmp_path / "journal.db"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _FAILING_DISK, path), cwd=Path(__file__).parents[2], stdout=PIPE, stderr=PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 70, err.decode()
    assert b"the journal cannot be written, the host ends" in err
    acknowledged = [int(line) for line in out.split()]
    assert acknowledged
    journal = Journal.open(path)
    assert await journal.meta("kept") == "yes"
    for number in acknowledged:
        assert await journal.meta(f"key-{number}") == "x" * 1000
    await journal.close()
