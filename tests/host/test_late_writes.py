"""A write to the directory without an answer may land at any time later: its host has gone on, or was killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from paglets import faults
from paglets.directory.contract import Guard, JourneyRecord, PagletRow, RowWrite
from paglets.directory.sqlite import SqliteDirectory
from paglets.errors import ConflictError, InternalError, UnavailableError
from paglets.host.disposal import Disposal
from paglets.values import ArrivalMode, DeactivationPolicy, PagletState, TransferTicket
from tests.host.conftest import Mesh, Site, site
from tests.host.cut_rest import cut_rest
from tests.host.late import land_after_the_list
from tests.host.midway import do
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, new_request, refused
from tests.host.unharmed import dispatch

_REQUEST, _ACTIVE = new_request(), PagletState.ACTIVE


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Whatever a test starts ends with it."""
    async with AsyncExitStack() as opened:
        yield opened


async def _row(at: Site) -> PagletRow:
    row = await at.host.parts.directory.get("probe")
    assert row is not None
    return row


async def _with_probe(folder: Path, *, resting: bool = False) -> PagletRow:
    """A host has a probe that has a line, and ends; gives the probe's row as the host leaves it."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, folder, "alpha")
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        await ask(alpha.channel, "probe", "Append", "a")
        if resting:
            await alpha.client.deactivate("probe")
        return await _row(alpha)


async def test_arrival_that_is_told_again_wakes_nobody(mesh: Mesh) -> None:
    """What says that it has arrived may come when it has long been laid down: it rests on."""
    await mesh.probe()
    await dispatch(mesh.alpha, "probe", "beta")
    arrived = await _row(mesh.alpha)
    await mesh.beta.client.deactivate("probe")
    with pytest.raises(ConflictError):
        await mesh.alpha.host.parts.directory.apply([RowWrite(Guard.on(arrived), arrived, "arrive")])
    assert (await _row(mesh.alpha)).state is PagletState.INACTIVE
    assert (await ask(mesh.alpha.channel, "probe", "Append", "a")).text.endswith("a")


async def test_waking_that_comes_after_a_restart(stack: AsyncExitStack, tmp_path: Path) -> None:
    """A host that has been started again believes that it rests; a call brings it back all the same."""
    resting = await _with_probe(tmp_path, resting=True)
    alpha = await site(stack, tmp_path, "alpha")
    awake = replace(resting, state=PagletState.ACTIVE, epoch=resting.epoch + 1)
    await alpha.host.parts.directory.apply([RowWrite(Guard.on(resting), awake, "activate")])
    assert (await ask(alpha.channel, "probe", "Append", "b")).text == "a rests woken b"
    assert (await _row(alpha)).epoch > awake.epoch, "another late write may hold"


@pytest.mark.parametrize("state", [PagletState.ACTIVE, PagletState.INACTIVE])
async def test_write_that_comes_during_a_restart(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: PagletState
) -> None:
    """The row is read anew, until nothing comes any more; the others are served too."""
    await _with_probe(tmp_path)
    async with AsyncExitStack() as first:
        alpha = await site(first, tmp_path, "alpha")
        await alpha.client.create(PROBE_TYPE, paglet_id="other")
        row = await _row(alpha)
    late = replace(row, epoch=row.epoch + 1, state=state)
    land_after_the_list(monkeypatch, RowWrite(Guard.on(row), late, "late"))
    alpha = await site(stack, tmp_path, "alpha")
    assert (await ask(alpha.channel, "other", "Append", "b")).text == "b"
    assert (await alpha.client.activate("probe")).state is PagletState.ACTIVE
    assert (await ask(alpha.channel, "probe", "Append", "b")).text in {"a b", "a woken b"}


async def test_rest_that_comes_true_during_a_restart(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It rests by the policy that was asked for, though the restart has read that it is awake."""
    row, policy = await _with_cut_rest(tmp_path, DeactivationPolicy(activate_on_message=False, queue_posts=False))
    late = replace(row, state=PagletState.INACTIVE, epoch=row.epoch + 1)
    land_after_the_list(monkeypatch, RowWrite(Guard.on(row), late, "deactivate"))
    alpha = await site(stack, tmp_path, "alpha")
    await eventually(lambda: _rests(alpha), what="the rest")
    found = await refused(ask(alpha.channel, "probe", "Append", "b"))
    assert found.what == (grpc.StatusCode.FAILED_PRECONDITION, "PAGLET_INACTIVE")
    assert await alpha.host.parts.journal.dormant.policy("probe") == policy


async def test_rest_that_comes_true_during_a_restart_ends_in_time(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to bring it back does, though the restart has read that it is awake."""
    row, _ = await _with_cut_rest(tmp_path, DeactivationPolicy(activate_at=time.time() - 1, activate_on_message=False))
    late = replace(row, state=PagletState.INACTIVE, epoch=row.epoch + 1)
    land_after_the_list(monkeypatch, RowWrite(Guard.on(row), late, "deactivate"))
    await site(stack, tmp_path, "alpha")
    await eventually(lambda: do("activated time" in STAGE.notes), what="its time")


@pytest.mark.slow
async def test_arrival_at_rest_that_is_told_during_a_restart(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It rests by the policy of its ticket, though the restart has read that it is arriving."""
    told: list[tuple[Sequence[RowWrite], Sequence[JourneyRecord]]] = []

    async def no_answer(writes: Sequence[RowWrite], *, journeys: Sequence[JourneyRecord]) -> Sequence[PagletRow]:
        told.append((writes, journeys))
        raise UnavailableError("DIRECTORY_UNAVAILABLE", "no answer comes")

    policy = DeactivationPolicy(activate_on_message=False, queue_posts=False)
    ticket = TransferTicket(arrival=ArrivalMode.INACTIVE, policy=policy)
    alpha = await site(stack, tmp_path, "alpha")
    await alpha.client.create(PROBE_TYPE, paglet_id="probe")
    async with AsyncExitStack() as first:
        beta = await site(first, tmp_path, "beta", join=alpha.running.address)
        monkeypatch.setattr(beta.host.parts.directory, "apply", no_answer)
        moving = asyncio.create_task(alpha.client.dispatch("probe", "beta", ticket=ticket))
        await eventually(lambda: do(bool(told)), what="the arrival")
    writes, journeys = told[0]
    land_after_the_list(monkeypatch, *writes, journeys=journeys)
    beta = await site(stack, tmp_path, "beta", join=alpha.running.address)
    assert (await moving).state is PagletState.INACTIVE
    assert await beta.host.parts.journal.dormant.policy("probe") == policy
    await eventually(lambda: _rests(beta), what="the rest")


async def _with_cut_rest(folder: Path, policy: DeactivationPolicy) -> tuple[PagletRow, DeactivationPolicy]:
    """A host ends when a rest is in its journal and the directory is not told; gives the row as that has it."""
    await _with_probe(folder)
    async with AsyncExitStack() as stack:
        alpha = await site(stack, folder, "alpha")
        assert (await ask(alpha.channel, "probe", "Read")).text
        await cut_rest(alpha, lambda: alpha.client.deactivate("probe", policy))
        row = await _row(alpha)
    return row, policy


async def _rests(at: Site) -> bool:
    return (await _row(at)).state is PagletState.INACTIVE and "probe" in at.host.dormant


async def _with_cut_creation(folder: Path) -> PagletRow:
    """A host ends when a newborn is in its journal and the directory is not told; gives the row it was to write."""

    def cut(name: str) -> None:
        if name == "create.journal.after":
            raise RuntimeError("the host ends here")

    async with AsyncExitStack() as stack:
        alpha = await site(stack, folder, "alpha")
        faults.arm(cut)
        creating = alpha.client.create(PROBE_TYPE, paglet_id="probe", request_id=_REQUEST)
        with pytest.raises(InternalError):
            await creating
        faults.arm(None)
    return PagletRow(paglet_id="probe", type=PROBE_TYPE, owner="alpha", state=PagletState.ACTIVE, request_id=_REQUEST)


async def test_creation_that_was_cut_does_not_come_true_later(stack: AsyncExitStack, tmp_path: Path) -> None:
    """Its host has dropped what it kept: the insert must not land any more. Whoever asks again has his paglet."""
    newborn = await _with_cut_creation(tmp_path)
    alpha = await site(stack, tmp_path, "alpha")
    with pytest.raises(ConflictError):
        await alpha.host.parts.directory.apply([RowWrite(Guard.after("probe", None), newborn, "create")])
    found = await refused(ask(alpha.channel, "probe", "Read"))
    assert found.what == (grpc.StatusCode.NOT_FOUND, "PAGLET_NOT_FOUND")
    await alpha.client.create(PROBE_TYPE, paglet_id="probe", request_id=_REQUEST)
    assert (await ask(alpha.channel, "probe", "Append", "b")).text == "b"


async def test_creation_that_comes_true_during_a_restart(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The insert lands when the host has just read its rows: the paglet is there, and is served."""
    newborn = await _with_cut_creation(tmp_path)
    land_after_the_list(monkeypatch, RowWrite(Guard.after("probe", None), newborn, "create"))
    alpha = await site(stack, tmp_path, "alpha")
    assert (await ask(alpha.channel, "probe", "Append", "b")).text == "b"


async def test_end_without_an_answer_after_which_the_id_was_used_again(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who ends a paglet and finds another life of its id lets go of his own."""
    await mesh.probe()
    real = SqliteDirectory.apply

    async def apply(
        directory: SqliteDirectory,
        writes: Sequence[RowWrite],
        *,
        journeys: Sequence[JourneyRecord] = (),
        forget: Sequence[str] = (),
        above: int = 0,
    ) -> Sequence[PagletRow]:
        (row,) = await real(directory, writes, journeys=journeys, forget=forget, above=above)
        if row.state is PagletState.DISPOSED:
            another = replace(row, owner="beta", state=_ACTIVE)
            await real(directory, [RowWrite(Guard.after("probe", row), another, "create")])
            raise UnavailableError("DIRECTORY_UNAVAILABLE", "no answer comes")
        return [row]

    with monkeypatch.context() as patch:
        patch.setattr(SqliteDirectory, "apply", apply)
        with pytest.raises(ConflictError):
            await mesh.alpha.host.endings.end(await _row(mesh.alpha), Disposal())
    assert mesh.alpha.host.residents.get("probe") is None
