"""Anything can be disposed of in any state, soon, and once and for all."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from paglet.v1 import transfer_pb2
from paglets import faults
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.client import Client
from paglets.config import HostSettings
from paglets.core.lifecycle import LifecycleEvent
from paglets.directory.contract import HostRegistration
from paglets.errors import DeadlineError, NotFoundError, PagletError
from paglets.values import PagletState, TransferTicket, clone_id
from tests.host.conftest import Mesh, Site, site
from tests.host.probe import Probe
from tests.host.stage import STAGE
from tests.host.support import ask, eventually
from tests.host.unharmed import probe_with_file

_ENOUGH_S = 12.0  # five hooks of a second each, and a machine that is busy
_REFUSES_ARRIVAL = '{"refuse": {"on_arrival": "refused"}}'
_QUIESCE_S = 1.0


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    """Two hosts that lose their patience soon, and a third, `hole`, that takes connections and says nothing."""
    async with AsyncExitStack() as stack:
        hole = await stack.enter_async_context(await asyncio.start_server(_say_nothing, "127.0.0.1", 0))

        def impatient(name: str) -> HostSettings:
            return HostSettings(name=name, data=tmp_path, drain_s=1.0, quiesce_s=_QUIESCE_S)

        alpha = await site(stack, tmp_path, "alpha", settings=impatient("alpha"))
        beta = await site(stack, tmp_path, "beta", join=alpha.running.address, settings=impatient("beta"))
        port: int = hole.sockets[0].getsockname()[1]
        silent = HostRegistration(name="hole", uid="hole", address=f"127.0.0.1:{port}")
        await alpha.host.parts.directory.lease_register(silent, 60.0)
        yield Mesh(alpha, beta)
        STAGE.clear()


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        pass
    writer.close()


@dataclass
class Doomed:
    """A paglet brought to where it is to be disposed of, and what is still under way with it."""

    paglet_id: str = "probe"
    under_way: list[asyncio.Task[object]] = field(default_factory=list[asyncio.Task[object]])


Prepare = Callable[[Mesh, pytest.MonkeyPatch], Awaitable[Doomed]]


def _start(work: Awaitable[object]) -> asyncio.Task[object]:
    async def run() -> object:
        return await work

    return asyncio.create_task(run())


def _in_thread(*_: object) -> None:
    STAGE.at_in_thread("thread")


def _check_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(_cls: type[Probe], *_: object) -> None:
        STAGE.at_in_thread("thread")

    STAGE.hold("thread")
    monkeypatch.setattr(Probe, "check_arrival", classmethod(check))


def _active(*operations: str, request_id: str = "") -> Prepare:
    async def prepare(mesh: Mesh, _patch: pytest.MonkeyPatch) -> Doomed:
        await mesh.probe()
        STAGE.hold("long")
        asked = partial(ask, mesh.alpha.channel, "probe", text="long", timeout_s=None, request_id=request_id)
        under_way = [_start(asked(operation=operation)) for operation in operations]
        await STAGE.reached("long", len(operations))
        return Doomed(under_way=under_way)

    return prepare


async def _inactive(mesh: Mesh, _patch: pytest.MonkeyPatch) -> Doomed:
    await mesh.probe()
    await mesh.alpha.client.deactivate("probe")
    return Doomed()


async def _failed(mesh: Mesh, _patch: pytest.MonkeyPatch) -> Doomed:
    await mesh.probe(state=_REFUSES_ARRIVAL)
    with pytest.raises(PagletError, match="its arrival failed"):
        await mesh.alpha.client.dispatch("probe", "beta")
    return Doomed()


async def _quarantined(mesh: Mesh, patch: pytest.MonkeyPatch) -> Doomed:
    await probe_with_file(mesh)
    beta = mesh.beta.host
    seal = beta.arrivals.seal

    async def robbed(transfer_id: str) -> transfer_pb2.TransferPhase.ValueType:
        phase = await seal(transfer_id)
        for found in (await beta.parts.store.list()).refs:
            await beta.parts.store.delete(found.artifact_id)
        return phase

    patch.setattr(beta.arrivals, "seal", robbed)
    with pytest.raises(PagletError, match="its arrival failed"):
        await mesh.alpha.client.dispatch("probe", "beta")
    return Doomed()


def _departing(target: str = "beta", *, retries: int = 0) -> Prepare:
    async def prepare(mesh: Mesh, patch: pytest.MonkeyPatch) -> Doomed:
        _check_without_end(patch)
        await mesh.probe()
        return await _on_its_way(mesh, target, retries)

    return prepare


async def _on_its_way(mesh: Mesh, target: str, retries: int = 0) -> Doomed:
    ticket = TransferTicket(retries=retries)
    moving = _start(mesh.beta.client.dispatch("probe", target, ticket=ticket, request_id="move-1"))
    await _shown(mesh, "probe", PagletState.DEPARTING)
    return Doomed(under_way=[moving])


async def _departing_failed(mesh: Mesh, patch: pytest.MonkeyPatch) -> Doomed:
    await _failed(mesh, patch)
    _check_without_end(patch)
    return await _on_its_way(mesh, "alpha")


def _arriving(hook: str, *, thread: bool) -> Prepare:
    async def prepare(mesh: Mesh, patch: pytest.MonkeyPatch) -> Doomed:
        spot = "thread" if thread else hook
        STAGE.hold(spot)
        if thread:
            patch.setattr(Probe, hook, _in_thread)
        await mesh.probe()
        client, doomed = mesh.alpha.client, Doomed()
        if hook == "on_clone":
            doomed.paglet_id = clone_id("probe", "clone-1")
            doomed.under_way.append(_start(client.clone("probe", "beta", request_id="clone-1")))
        else:
            doomed.under_way.append(_start(client.dispatch("probe", "beta")))
        await STAGE.reached(spot)
        return doomed

    return prepare


def _cloning(target: str) -> Prepare:
    async def prepare(mesh: Mesh, patch: pytest.MonkeyPatch) -> Doomed:
        _check_without_end(patch)
        await mesh.probe()
        return await _copied(mesh, target)

    return prepare


async def _copied(mesh: Mesh, target: str) -> Doomed:
    coming = _start(mesh.beta.client.clone("probe", target, request_id="clone-1"))
    await _shown(mesh, clone := clone_id("probe", "clone-1"), PagletState.CLONING)
    return Doomed(clone, [coming])


def _pushing(way: str) -> Prepare:
    async def prepare(mesh: Mesh, patch: pytest.MonkeyPatch) -> Doomed:
        peers = mesh.alpha.host.parts.peers
        real = peers.store

        async def lost(_name: str) -> RemoteArtifactStore:
            return await real("hole")

        await probe_with_file(mesh)
        patch.setattr(peers, "store", lost)
        if way == "clone":
            doomed = await _copied(mesh, "beta")
        else:
            doomed = await _on_its_way(mesh, "beta")
        await eventually(lambda: _offered(mesh.beta), what="an offer")
        return doomed

    return prepare


async def _offered(at: Site) -> bool:
    return bool(await at.host.parts.journal.arrivals())


async def _disposed(mesh: Mesh, _patch: pytest.MonkeyPatch) -> Doomed:
    await mesh.probe()
    await mesh.alpha.client.dispose("probe", request_id="end-1")
    return Doomed()


async def _shown(mesh: Mesh, paglet_id: str, state: PagletState) -> None:
    async def look() -> bool:
        row = await mesh.alpha.host.parts.directory.get(paglet_id)
        return row is not None and row.state is state

    await eventually(look, what=f"{paglet_id} is {state}")


ANYTHING: list[tuple[PagletState, str, Prepare]] = [
    (PagletState.CLONING, "its check does not end", _cloning("beta")),
    (PagletState.CLONING, "its check does not end, at home", _cloning("alpha")),
    (PagletState.CLONING, "its target says nothing", _cloning("hole")),
    (PagletState.CLONING, "its files do not get through", _pushing("clone")),
    (PagletState.ACTIVE, "idle", _active()),
    (PagletState.ACTIVE, "a turn without end", _active("Hold")),
    (PagletState.ACTIVE, "a turn without end, by its id", _active("Hold", request_id="turn-1")),
    (PagletState.ACTIVE, "a thread without end", _active("HoldInThread")),
    (PagletState.ACTIVE, "a thread without end, by its id", _active("HoldInThread", request_id="turn-1")),
    (PagletState.ACTIVE, "a turn and a read without end", _active("Hold", "HoldRead")),
    (PagletState.INACTIVE, "", _inactive),
    (PagletState.DEPARTING, "its check does not end", _departing()),
    (PagletState.DEPARTING, "its target says nothing", _departing("hole")),
    (PagletState.DEPARTING, "its target says nothing, many times", _departing("hole", retries=9)),
    (PagletState.DEPARTING, "its files do not get through", _pushing("move")),
    (PagletState.DEPARTING, "had failed, its check does not end", _departing_failed),
    (PagletState.ARRIVING, "async on_arrival", _arriving("on_arrival", thread=False)),
    (PagletState.ARRIVING, "def on_arrival", _arriving("on_arrival", thread=True)),
    (PagletState.ARRIVING, "async on_clone", _arriving("on_clone", thread=False)),
    (PagletState.ARRIVING, "def on_clone", _arriving("on_clone", thread=True)),
    (PagletState.FAILED, "", _failed),
    (PagletState.QUARANTINED, "", _quarantined),
    (PagletState.DISPOSED, "by this very request", _disposed),
]


def test_life_11_every_state_is_disposed_of() -> None:
    """No state of a paglet is left out below."""
    assert {state for state, _, _ in ANYTHING} == set(PagletState)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "prepare"),
    [pytest.param(state, prepare, id=f"{state} {what}".strip()) for state, what, prepare in ANYTHING],
)
async def test_life_11_anything_can_be_disposed_of(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, state: PagletState, prepare: Prepare
) -> None:
    """Whatever hangs: the end comes soon, who waited is told, nothing is left anywhere, and a repeat is a success."""
    doomed = await prepare(mesh, monkeypatch)
    await _shown(mesh, doomed.paglet_id, state)
    async with asyncio.timeout(_ENOUGH_S):
        await mesh.beta.client.dispose(doomed.paglet_id, request_id="end-1")
        for failed in await asyncio.gather(*doomed.under_way, return_exceptions=True):
            assert isinstance(failed, Exception)
    await _shown(mesh, doomed.paglet_id, PagletState.DISPOSED)
    await mesh.alpha.client.dispose(doomed.paglet_id, request_id="end-1")
    for at in (mesh.alpha, mesh.beta):
        assert await _gone(at, doomed.paglet_id)
        await eventually(lambda at=at: _nothing_left(at, doomed.paglet_id), what="that nothing is left")


async def _gone(at: Site, paglet_id: str) -> bool:
    with pytest.raises(PagletError) as gone:
        await at.client.get(paglet_id)
    return _is_not_found(gone.value) and at.host.residents.get(paglet_id) is None


def _is_not_found(error: BaseException) -> bool:
    return isinstance(error, PagletError) and error.reason == "PAGLET_NOT_FOUND"


async def _nothing_left(at: Site, paglet_id: str) -> bool:
    journal, store = at.host.parts.journal, at.host.parts.store
    under_way = [await journal.departures(), await journal.arrivals(), await journal.paglet(paglet_id)]
    owned = [found for found in (await store.list()).refs if found.owner == paglet_id]
    return not any(under_way) and not owned


async def test_move_that_a_disposal_cut_is_not_made_again(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks again while it ends has the same answer; the paglet is told, has its last turn, and is gone."""
    doomed = await _departing()(mesh, monkeypatch)
    ending = asyncio.create_task(mesh.beta.client.dispose("probe"))
    answers: list[str] = []
    while not ending.done():
        with pytest.raises(PagletError) as refused:
            await mesh.alpha.client.dispatch("probe", "beta", request_id="move-1", ticket=TransferTicket())
        answers.append(refused.value.reason)
    await ending
    assert set(answers) <= {"JOURNEY_ABORTED", "PAGLET_NOT_FOUND"}
    (failed,) = await asyncio.gather(*doomed.under_way, return_exceptions=True)
    assert isinstance(failed, PagletError)
    assert failed.reason == "JOURNEY_ABORTED"
    assert [note for note in STAGE.notes if note.startswith(("aborted", "disposing"))] == [
        "aborted JOURNEY_ABORTED",
        "disposing",
    ]


async def test_clone_that_a_disposal_cut_is_not_made_again(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its history tells why; also when the original has forgotten the request, it makes no second clone."""
    doomed = await _cloning("beta")(mesh, monkeypatch)
    await mesh.beta.client.dispose(doomed.paglet_id)
    (failed,) = await asyncio.gather(*doomed.under_way, return_exceptions=True)
    assert isinstance(failed, PagletError)
    assert failed.reason == "JOURNEY_ABORTED"
    resident = mesh.alpha.host.residents.get("probe")
    assert resident is not None

    def forgotten(*_: object) -> None:
        pass

    for reason in ("JOURNEY_ABORTED", "ILLEGAL_TRANSITION"):
        with pytest.raises(PagletError) as refused:
            await mesh.alpha.client.clone("probe", "beta", request_id="clone-1")
        assert refused.value.reason == reason
        monkeypatch.setattr(resident.book, "find", forgotten)
    events = await mesh.alpha.host.parts.directory.history(doomed.paglet_id, after=0, limit=10)
    assert [event.cause for event in events] == [LifecycleEvent.CLONE, LifecycleEvent.DISPOSE]


@pytest.mark.parametrize("way", ["a move", "a clone"])
async def test_life_11_two_disposals_end_it_once(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """One of them has ended it, the other one finds no such paglet."""
    prepare = _departing() if way == "a move" else _cloning("beta")
    doomed = await prepare(mesh, monkeypatch)
    clients = (mesh.alpha.client, mesh.beta.client)
    ends = await asyncio.gather(*(client.dispose(doomed.paglet_id) for client in clients), return_exceptions=True)
    failures = [end for end in ends if isinstance(end, PagletError)]
    assert [failure.reason for failure in failures] == ["PAGLET_NOT_FOUND"]
    await asyncio.gather(*doomed.under_way, return_exceptions=True)
    await _shown(mesh, doomed.paglet_id, PagletState.DISPOSED)


@pytest.mark.parametrize("way", ["journey", "clone"])
@pytest.mark.parametrize("at", ["before", "after"])
async def test_commit_comes_before_a_disposal(mesh: Mesh, way: str, at: str) -> None:
    """A journey that is being committed arrives; the disposal follows it there."""
    await mesh.probe()
    paglet_id = clone_id("probe", "go-1") if way == "clone" else "probe"
    ends: list[asyncio.Task[None]] = []

    def passed(name: str) -> None:
        if name == f"{way}.commit.{at}":
            ends.append(asyncio.create_task(mesh.alpha.client.dispose(paglet_id)))

    faults.arm(passed)
    go = mesh.alpha.client.clone if way == "clone" else mesh.alpha.client.dispatch
    coming = _start(go("probe", "beta", request_id="go-1"))
    await asyncio.wait([coming])
    (ending,) = ends
    await ending
    refused = coming.exception()
    assert refused is None or isinstance(refused, NotFoundError), refused  # by the time of the answer it has ended
    causes = [event.cause for event in await mesh.alpha.host.parts.directory.history(paglet_id, after=0, limit=10)]
    assert causes[-4:] == ["clone" if way == "clone" else "depart", "commit", "arrive", "dispose"]
    assert await _gone(mesh.alpha, paglet_id)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "at"),
    [
        ("a move", "journey.abort.before"),
        ("a move", "journey.abort.directory"),
        ("a move", "journey.abort.after"),
        ("a move", "dispose.directory.before"),
        ("a move", "dispose.directory.after"),
        ("a clone", "clone.abort.before"),
        ("a clone", "clone.abort.directory"),
        ("a clone", "clone.abort.after"),
        ("a clone", "dispose.directory.after"),
    ],
)
async def test_disposal_that_a_death_cut(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str, at: str
) -> None:
    """A source that dies on the way is as it was, or without the paglet; the same request ends it after the restart."""
    prepare = _departing("hole") if way == "a move" else _cloning("hole")
    doomed = await prepare(mesh, monkeypatch)
    left = tmp_path / "left"

    def passed(name: str) -> None:
        if name == at and not left.exists():
            shutil.copytree(tmp_path / "alpha", left / "alpha")

    faults.arm(passed)
    await mesh.alpha.client.dispose(doomed.paglet_id, request_id="end-1")
    await asyncio.gather(*doomed.under_way, return_exceptions=True)
    faults.arm(None)
    async with AsyncExitStack() as stack:
        again = await site(stack, left, "alpha")
        await again.host.wait_ready(_ENOUGH_S)
        ends = asyncio.gather(again.client.dispose(doomed.paglet_id, request_id="end-1"), return_exceptions=True)
        for failed in await ends:  # the restart itself may have given the clone up
            assert failed is None or (way == "a clone" and _is_not_found(failed))
        assert await _gone(again, doomed.paglet_id)
        await eventually(lambda: _nothing_left(again, doomed.paglet_id), what="that nothing is left")


async def test_whoever_has_little_time_is_told_that_it_goes_on(mesh: Mesh) -> None:
    """A deadline that is over before the quiesce time ends the wait, by the host that has the paglet; it ends."""
    doomed = await _active("Hold")(mesh, pytest.MonkeyPatch())
    for at in (mesh.beta, mesh.alpha):
        with pytest.raises(DeadlineError, match="its disposal goes on") as over:
            await at.client.dispose("probe", request_id="end-1", timeout_s=_QUIESCE_S / 2)
        assert over.value.reason == "DEADLINE_EXCEEDED"
    await asyncio.gather(*doomed.under_way, return_exceptions=True)
    await _shown(mesh, "probe", PagletState.DISPOSED)
    await mesh.alpha.client.dispose("probe", request_id="end-1")


async def test_client_of_little_patience_sees_the_end(mesh: Mesh) -> None:
    """A disposal is no call that the client's own deadline cuts: its host bounds what it waits for."""
    doomed = await _active("Hold")(mesh, pytest.MonkeyPatch())
    async with Client(mesh.beta.running.address, timeout_s=_QUIESCE_S / 2) as client:
        await client.dispose("probe")
    await asyncio.gather(*doomed.under_way, return_exceptions=True)
    assert await _gone(mesh.alpha, "probe")
