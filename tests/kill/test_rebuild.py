"""The directory's disk is lost with every row; the hosts' journals are what the mesh is rebuilt from."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import psutil
import pytest

from paglet.examples.counter.v1 import counter_pb2_grpc
from paglet.examples.counter.v1.counter_pb2 import AddRequest, GetRequest
from paglet.v1 import rebuild_pb2 as pb
from paglets.client.client import Client
from paglets.client.rebuild import RebuildPeer
from paglets.errors import NotFoundError, PagletError
from paglets.host.rebuild import REBUILD_POINTS
from paglets.testing import HostProcess, eventually
from paglets.values import DeactivationPolicy, PagletState, clone_id, new_id
from tests.kill import audit
from tests.kill.ledger import Ledger, LedgerState, seal
from tests.kill.mesh import PATIENCE_S, Mesh, running_mesh

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

_HOMES = {"at-alpha": "alpha", "at-beta": "beta", "at-gamma": "gamma", "at-rest": "alpha", "traveller": "beta"}
_AMOUNTS = (3, 1, 4)


@asynccontextmanager
async def _clients(mesh: Mesh) -> AsyncGenerator[dict[str, Client]]:
    async with AsyncExitStack() as stack:
        yield {host.name: await stack.enter_async_context(Client(host.address)) for host in mesh}


async def _populate(mesh: Mesh) -> None:
    """A paglet on every host, one that rests, and one that has travelled with its files; all have acknowledged."""
    (mesh.files / "moved").write_bytes(b"moved" * 20_000)
    (mesh.files / "copied").write_bytes(b"copied" * 20_000)
    async with _clients(mesh) as clients:
        for paglet_id, home in _HOMES.items():
            travels = paglet_id == "traveller"
            state = LedgerState(moved="moved", copied="copied") if travels else LedgerState()
            await clients["alpha" if travels else home].create(Ledger, state=state, paglet_id=paglet_id)
            for amount in _AMOUNTS:
                await _stub(clients["alpha"], paglet_id).Add(AddRequest(amount=amount))
        await clients["alpha"].deactivate("at-rest", DeactivationPolicy(activate_on_message=True))
        await clients["alpha"].dispatch("traveller", "beta")

    async def is_forgotten() -> bool:
        return "traveller" not in audit.journal_ids(mesh.hosts["alpha"])

    await eventually(is_forgotten, PATIENCE_S, "the end of the journey")


def _stub(client: Client, paglet_id: str) -> counter_pb2_grpc.CounterServiceAsyncStub:
    stub: counter_pb2_grpc.CounterServiceAsyncStub = client.proxy(paglet_id).stub(counter_pb2_grpc.CounterServiceStub)
    return stub


async def _lose_directory(mesh: Mesh) -> None:
    await mesh.hosts["gamma"].kill()
    for path in (mesh.folder / "gamma").glob("directory.db*"):
        path.unlink()
    await mesh.start("gamma")


async def _rebuilt(client: Client, *, dry_run: bool = False) -> pb.RebuildDirectoryResponse:
    """A rebuild that has heard all three hosts: their leases were lost too, and come back by themselves."""

    async def look() -> pb.RebuildDirectoryResponse | None:
        told = await RebuildPeer(client.channel).rebuild(dry_run=dry_run, timeout_s=PATIENCE_S)
        return told if len(told.heard) == 3 and not told.unheard else None

    return await eventually(look, PATIENCE_S, "a rebuild with all hosts")


async def _heard(client: Client) -> None:
    async def look() -> bool:
        return sum(host.online for host in await client.hosts()) == 3

    await eventually(look, PATIENCE_S, "three hosts")


def _kept(mesh: Mesh) -> list[object]:
    return [(host.name, audit.registered_files(host.data), sorted(audit.blobs(host))) for host in mesh]


async def _check(mesh: Mesh) -> None:
    """Everything acknowledged is there, once, where it was, and as awake as it was."""
    found = {paglet_id: audit.row_of(mesh, paglet_id) for paglet_id in _HOMES}
    assert {key: row.owner for key, row in found.items() if row is not None} == _HOMES
    rested = found["at-rest"]
    assert rested is not None
    assert rested.state == "inactive"
    for paglet_id, home in _HOMES.items():
        assert [host.name for host in mesh if paglet_id in audit.journal_ids(host)] == [home]
    async with _clients(mesh) as clients:
        for client in clients.values():
            for paglet_id in _HOMES:
                reply = await _stub(client, paglet_id).Get(GetRequest())
                assert reply.value == seal(_AMOUNTS), paglet_id
        for paglet_id in _HOMES:
            await _stub(clients["beta"], paglet_id).Add(AddRequest(amount=5))
        await clients["beta"].dispatch("at-alpha", "beta")


@pytest.mark.parametrize("point", ["", *REBUILD_POINTS])
async def test_rows_are_registered_again(tmp_path: Path, point: str) -> None:
    """Killed at any step and repeated, a rebuild brings back every paglet with all that it acknowledged."""
    async with running_mesh(tmp_path / "mesh") as mesh:
        await _populate(mesh)
        epochs = {paglet_id: _epoch(mesh, paglet_id) for paglet_id in _HOMES}
        kept = _kept(mesh)
        await _lose_directory(mesh)
        async with _clients(mesh) as clients:
            with pytest.raises(NotFoundError, match="no paglet at-gamma in this mesh"):
                await clients["gamma"].get("at-gamma")
            await _heard(clients["gamma"])
        if point:
            mesh.arm("gamma", point)
            async with _clients(mesh) as clients:
                with pytest.raises(PagletError):
                    await RebuildPeer(clients["gamma"].channel).rebuild(dry_run=False, timeout_s=PATIENCE_S)
            await mesh.died("gamma")
            await mesh.start("gamma")
        async with _clients(mesh) as clients:
            foreseen = await _rebuilt(clients["gamma"], dry_run=True)
            told = await _rebuilt(clients["gamma"])
            assert list(told.paglets) == list(foreseen.paglets)
            assert all(one.outcome == pb.REBUILD_OUTCOME_REGISTERED for one in told.paglets)
            if not point:
                assert {one.paglet_id: list(one.hosts) for one in told.paglets} == {
                    paglet_id: [home] for paglet_id, home in _HOMES.items()
                }
        assert _kept(mesh) == kept
        assert all(_epoch(mesh, paglet_id) > epochs[paglet_id] for paglet_id in _HOMES)
        await _check(mesh)
        async with _clients(mesh) as clients:
            assert not (await _rebuilt(clients["alpha"])).paglets


_OTHERS_DIE = (
    ("beta", "rebuild.register.before:1"),
    ("beta", "rebuild.take-up.before:2"),
    ("beta", "rebuild.take-up.after:2"),
    ("gamma", "rebuild.register.before:1"),
)
"""Who is killed while alpha, which was asked, is about to tell the directory, the second host, or nobody any more."""


async def test_another_host_is_killed(tmp_path: Path) -> None:
    """A host that was heard and dies, or the directory's, costs nothing: the next rebuild does what is left."""
    async with running_mesh(tmp_path / "mesh") as mesh:
        await _populate(mesh)
        for victim, point in _OTHERS_DIE:
            await asyncio.gather(*(host.kill() for host in mesh))
            await _lose_directory(mesh)
            await asyncio.gather(mesh.start("beta"), mesh.start("alpha", f"{point}:stop"))
            async with _clients(mesh) as clients:
                await _heard(clients["gamma"])
                peer = RebuildPeer(clients["alpha"].channel)
                rebuilding = asyncio.create_task(peer.rebuild(dry_run=False, timeout_s=PATIENCE_S))
                await _stopped(mesh.hosts["alpha"])
                await mesh.hosts[victim].kill()
                os.kill(mesh.hosts["alpha"].pid, signal.SIGCONT)
                if victim == "beta":
                    await rebuilding
                await mesh.start(victim)
                await rebuilding
            async with _clients(mesh) as clients:
                await _rebuilt(clients["alpha"])
                await eventually(lambda: _is_rebuilt(clients["gamma"]), PATIENCE_S, "a rebuild")
                for paglet_id, home in _HOMES.items():
                    row = audit.row_of(mesh, paglet_id)
                    assert row is not None, (victim, point, paglet_id)
                    assert row.owner == home
                    reply = await _stub(clients["beta"], paglet_id).Get(GetRequest())
                    assert reply.value == seal(_AMOUNTS), (victim, point, paglet_id)
                await clients["alpha"].deactivate("at-rest", DeactivationPolicy(activate_on_message=True))
        await _check(mesh)


async def _stopped(host: HostProcess) -> None:
    """Waits until a host is stopped at its point."""

    async def look() -> bool:
        return psutil.Process(host.pid).status() == psutil.STATUS_STOPPED

    await eventually(look, PATIENCE_S, f"a stop of host {host.name}")


def _epoch(mesh: Mesh, paglet_id: str) -> int:
    row = audit.row_of(mesh, paglet_id)
    return row.epoch if row is not None else 0


async def test_hosts_that_claim_the_same_are_shown(tmp_path: Path) -> None:
    """Of two copies the higher epoch is registered; equal ones are a conflict, and neither is touched."""
    async with running_mesh(tmp_path / "mesh") as mesh:
        await _populate(mesh)
        for name in ("alpha", "beta"):
            await mesh.hosts[name].kill()
        _copy(mesh, "at-alpha", to="beta", raised=1)
        _copy(mesh, "at-rest", to="beta", raised=0)
        await _lose_directory(mesh)
        for name in ("alpha", "beta"):
            await mesh.start(name)
        async with _clients(mesh) as clients:
            told = {one.paglet_id: one for one in (await _rebuilt(clients["gamma"])).paglets}
            assert told["at-alpha"].outcome == pb.REBUILD_OUTCOME_REGISTERED
            assert list(told["at-alpha"].hosts) == ["beta"]
            assert told["at-rest"].outcome == pb.REBUILD_OUTCOME_CONFLICT
            assert list(told["at-rest"].hosts) == ["alpha", "beta"]
            found = await clients["gamma"].get("at-alpha")
            assert (found.host, found.state) == ("beta", PagletState.ACTIVE)
        assert audit.row_of(mesh, "at-rest") is None
        assert all({"at-alpha", "at-rest"} <= audit.journal_ids(mesh.hosts[name]) for name in ("alpha", "beta"))


def _copy(mesh: Mesh, paglet_id: str, *, to: str, raised: int) -> None:
    """What a crash between the end of a journey and its forgetting leaves: the paglet in two journals."""
    key, kind, epoch, state, version = _taken(mesh.hosts["alpha"], paglet_id)
    _put(mesh.hosts[to], (key, kind, int(str(epoch)) + raised, state, version))


def _taken(host: HostProcess, paglet_id: str) -> tuple[object, ...]:
    """A paglet as a host's journal keeps it."""
    query = "SELECT paglet_id, type, epoch, state, state_version FROM paglets WHERE paglet_id = ?"
    (row,) = audit.rows(host.data / "journal.db", query, paglet_id)
    return row


def _put(host: HostProcess, row: tuple[object, ...]) -> None:
    with closing(sqlite3.connect(host.data / "journal.db")) as journal, journal:
        journal.execute("INSERT INTO paglets VALUES (?, ?, ?, ?, ?)", row)


async def test_hosts_that_are_away_are_told_of_and_come_later(tmp_path: Path) -> None:
    """What a dead host has is missing until it is started again and the rebuild repeated; the others are served."""
    async with running_mesh(tmp_path / "mesh") as mesh:
        await _populate(mesh)
        await _lose_directory(mesh)
        async with _clients(mesh) as clients:
            await _heard(clients["gamma"])
            await mesh.hosts["alpha"].kill()
            told = await RebuildPeer(clients["gamma"].channel).rebuild(dry_run=False, timeout_s=PATIENCE_S)
            assert (list(told.heard), list(told.unheard)) == (["beta", "gamma"], ["alpha"])
            assert {one.paglet_id for one in told.paglets} == {"at-beta", "at-gamma", "traveller"}
        await mesh.start("alpha")
        async with _clients(mesh) as clients:
            told = await _rebuilt(clients["beta"])
            assert {one.paglet_id for one in told.paglets} == {"at-alpha", "at-rest"}
        await _check(mesh)


async def test_copies_that_come_late_are_dropped(tmp_path: Path) -> None:
    """What ended stays so, and what moved on is where it moved to, though a host comes back that has both still."""
    async with running_mesh(tmp_path / "mesh") as mesh:
        alpha = mesh.hosts["alpha"]
        async with _clients(mesh) as clients:
            for paglet_id in ("ended", "moved"):
                await clients["alpha"].create(Ledger, paglet_id=paglet_id)
                await _stub(clients["alpha"], paglet_id).Add(AddRequest(amount=3))
            copies = {paglet_id: _taken(alpha, paglet_id) for paglet_id in ("ended", "moved")}
            for paglet_id in ("ended", "moved"):
                await clients["gamma"].dispatch(paglet_id, "beta")
            await clients["gamma"].dispatch("moved", "gamma")
            await clients["gamma"].dispose("ended")
            await eventually(lambda: _is_empty(alpha), PATIENCE_S, "the end of the journeys")
        await alpha.kill()
        for copy in copies.values():
            _put(alpha, copy)
        await _lose_directory(mesh)
        async with _clients(mesh) as clients:

            async def beta_is_heard() -> bool:
                told = await RebuildPeer(clients["gamma"].channel).rebuild(dry_run=True, timeout_s=PATIENCE_S)
                return "beta" in told.heard

            await eventually(beta_is_heard, PATIENCE_S, "a rebuild with beta")
            told = await RebuildPeer(clients["gamma"].channel).rebuild(dry_run=False, timeout_s=PATIENCE_S)
            assert [(one.paglet_id, list(one.hosts)) for one in told.paglets] == [("moved", ["gamma"])]
        await mesh.start("alpha")
        assert await _is_empty(alpha)
        async with _clients(mesh) as clients:
            for client in clients.values():
                assert (await _stub(client, "moved").Get(GetRequest())).value == seal([3])
                with pytest.raises(NotFoundError, match="no paglet ended"):
                    await client.get("ended")
            assert not (await _rebuilt(clients["beta"])).paglets


async def _is_empty(host: HostProcess) -> bool:
    return not audit.journal_ids(host)


@pytest.mark.parametrize(
    ("victim", "point"),
    [
        ("alpha", "journey.push.after"),
        ("alpha", "journey.commit.after"),
        ("beta", "arrival.turn.before"),
        ("beta", "arrival.settle.after"),
    ],
)
async def test_journey_that_was_cut_costs_nothing(tmp_path: Path, victim: str, point: str) -> None:
    """Whatever both ends have of a journey whose record is lost too: one live copy with all it acknowledged."""
    async with running_mesh(tmp_path / "mesh") as mesh:
        await _populate(mesh)
        mesh.arm(victim, point)
        async with _clients(mesh) as clients:
            moving = asyncio.create_task(clients["gamma"].dispatch("at-alpha", "beta"))
            await mesh.died(victim)
            await _lose_directory(mesh)
            moving.cancel()
            await asyncio.gather(moving, return_exceptions=True)
        await mesh.start(victim)
        if victim != "alpha":  # it follows its journey in memory, to which nobody will tell an outcome
            await mesh.restart("alpha", "")
        async with _clients(mesh) as clients:
            await _heard(clients["gamma"])
            await eventually(lambda: _is_rebuilt(clients["gamma"]), PATIENCE_S, "a rebuild with nothing left undecided")
            found = await clients["gamma"].get("at-alpha")
            assert found.host in {"alpha", "beta"}
            for client in clients.values():
                reply = await _stub(client, "at-alpha").Get(GetRequest())
                assert reply.value == seal(_AMOUNTS)
            await _stub(clients["gamma"], "at-alpha").Add(AddRequest(amount=5))
            await clients["gamma"].dispatch("at-alpha", "gamma")
            assert (await clients["gamma"].get("at-alpha")).host == "gamma"


async def test_clone_that_was_cut_is_there_once_or_never(tmp_path: Path) -> None:
    """One of which its target had everything comes to be, whatever is killed then; of another nothing is left."""
    async with running_mesh(tmp_path / "mesh") as mesh:
        for name in ("moved", "copied"):
            (mesh.files / name).write_bytes(name.encode() * 20_000)
        async with _clients(mesh) as clients:
            await clients["alpha"].create(
                Ledger, state=LedgerState(moved="moved", copied="copied"), paglet_id="original"
            )
            await _stub(clients["alpha"], "original").Add(AddRequest(amount=3))
        for victim, point, again, comes in (
            ("beta", "arrival.turn.before", "arrival.settle.after", True),
            ("alpha", "clone.commit.before", "", True),
            ("alpha", "journey.prepare.after", "", False),
        ):
            request_id = new_id()
            clone = clone_id("original", request_id)
            mesh.arm(victim, point)
            async with _clients(mesh) as clients:
                cloning = asyncio.create_task(clients["gamma"].clone("original", "beta", request_id=request_id))
                await mesh.died(victim)
                cloning.cancel()
                await asyncio.gather(cloning, return_exceptions=True)
            await mesh.hosts["alpha"].kill()
            await _lose_directory(mesh)
            await mesh.start("alpha")
            if victim == "beta":
                await mesh.start(victim, again)
                async with _clients(mesh) as clients:
                    await _rebuilt(clients["gamma"])
                await mesh.died(victim)
                await mesh.start(victim)
            async with _clients(mesh) as clients:
                await eventually(lambda: _is_rebuilt(clients["gamma"]), PATIENCE_S, "a rebuild")
                await eventually(lambda: _is_quiet(mesh), PATIENCE_S, "the end of all journeys")
                owners = [host.name for host in mesh if clone in audit.journal_ids(host)]
                assert owners == (["beta"] if comes else []), (point, owners)
                if comes:
                    found = await clients["gamma"].get(clone)
                    assert (found.host, found.state) == ("beta", PagletState.ACTIVE)
                    assert (await _stub(clients["alpha"], clone).Get(GetRequest())).value == seal([3])
                    await clients["gamma"].dispose(clone)
                else:
                    with pytest.raises(NotFoundError):
                        await clients["gamma"].get(clone)
            assert len(audit.blobs(mesh.hosts["beta"])) == 0, point


async def _is_quiet(mesh: Mesh) -> bool:
    """Whether nobody keeps anything of a journey."""
    tables = [(host.data / "journal.db", table) for host in mesh for table in ("departures", "arrivals")]
    tables.append((mesh.folder / mesh.directory / "directory.db", "journeys"))
    return not any(audit.rows(path, f"SELECT 1 FROM {table}") for path, table in tables)  # noqa: S608 - the names above


async def _is_rebuilt(client: Client) -> bool:
    told = await RebuildPeer(client.channel).rebuild(dry_run=False, timeout_s=PATIENCE_S)
    return len(told.heard) == 3 and not told.paglets
