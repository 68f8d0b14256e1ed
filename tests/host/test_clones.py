"""A clone is a paglet of its own with a copy of what its original had; there is one, or none, for each request."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglets.core.paglet import Paglet
from paglets.directory.contract import Guard, Intent, PagletRow, RowWrite
from paglets.errors import InvalidArgumentError, PagletError
from paglets.host.registry import TypeRegistry
from paglets.values import ArrivalMode, PagletState, TransferTicket, clone_id
from tests.host.conftest import Mesh
from tests.host.midway import Midway, do
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, new_request
from tests.host.unharmed import CONTENT, assert_nothing_left, probe_with_file, row_of


def _hooks() -> list[str]:
    return [note for note in STAGE.notes if note.startswith("on_")]


async def _refused(mesh: Mesh, target: str = "beta", request_id: str = "") -> PagletError:
    with pytest.raises(PagletError) as caught:
        await mesh.alpha.client.clone("probe", target, request_id=request_id)
    return caught.value


@pytest.mark.parametrize("target", ["beta", "alpha", ""])
async def test_life_5_clone_is_a_copy(mesh: Mesh, target: str) -> None:
    """State as `on_cloning` left it, files with bytes of its own; the original keeps all that it had, and works on."""
    path = await probe_with_file(mesh, "move")
    before = await row_of(mesh)
    made = await mesh.beta.client.clone("probe", target)
    assert (made.host, made.state, made.type) == (target or "alpha", PagletState.ACTIVE, PROBE_TYPE)
    assert made.paglet_id != "probe"
    await eventually(lambda: do(_hooks()[-1] == "on_cloned"), what="the word to the original")
    assert _hooks() == ["on_creation", "on_cloning", "on_clone", "on_cloned"]
    assert (await ask(mesh.alpha.channel, made.paglet_id, "Read")).text == "a cloning clone of probe"
    assert (await ask(mesh.alpha.channel, "probe", "Append", "b")).text == "a cloning b"
    assert await row_of(mesh) == before
    host = mesh.beta if target == "beta" else mesh.alpha
    (file,) = (await host.host.parts.journal.belongings(made.paglet_id)).files
    assert (file.mode, file.path != str(path)) == ("copy", True)
    for found in (path, Path(file.path)):
        assert await asyncio.to_thread(found.read_bytes) == CONTENT
    await eventually(lambda: _no_journeys(mesh), what="an end of the journey")
    await mesh.alpha.client.dispose(made.paglet_id)
    assert await asyncio.to_thread(path.read_bytes) == CONTENT


@pytest.mark.parametrize("moved", [False, True], ids=["cloned", "moved"])
async def test_end_right_after_the_arrival_is_no_failure(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, *, moved: bool
) -> None:
    """Whoever had a paglet moved or cloned is told that it was, also when it has ended before he could be told."""
    await mesh.probe()
    arrived = Midway(monkeypatch, mesh.alpha.host.requests, "_arrived", after=True).hold()
    client = mesh.alpha.client
    asked = asyncio.create_task((client.dispatch if moved else client.clone)("probe", "beta"))
    there = ""

    async def arrival() -> bool:
        nonlocal there
        active = [found.paglet_id async for found in client.list(host="beta") if found.state is PagletState.ACTIVE]
        there = "".join(active)
        return there != ""

    await eventually(arrival, what="an arrival")
    await eventually(lambda: _no_journeys(mesh), what="an end of the journey")
    await client.dispose(there)
    arrived.release()
    made = await asked
    assert (made.paglet_id, made.host, made.state) == (there, "beta", PagletState.DISPOSED)


async def test_outcomes_of_requests_are_not_copied(mesh: Mesh) -> None:
    """What ran once at the original runs once more at the clone, which is another paglet."""
    await mesh.probe()
    request_id = new_request()
    await ask(mesh.alpha.channel, "probe", "Append", "a", request_id=request_id)
    made = await mesh.alpha.client.clone("probe", "beta")
    assert await mesh.beta.host.parts.journal.replies(made.paglet_id) == []
    again = await ask(mesh.alpha.channel, made.paglet_id, "Append", "a", request_id=request_id)
    assert (again.text, again.replayed) == ("a cloning clone of probe a", False)


@pytest.mark.parametrize("leaves", [False, True])
async def test_life_5_original_goes_on_meanwhile(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, *, leaves: bool) -> None:
    """While the copy is on its way the original takes turns, and may even move; the clone is what was copied."""
    await mesh.probe()
    offers = Midway(monkeypatch, mesh.beta.host.arrivals, "prepare").hold()
    making = asyncio.create_task(mesh.alpha.client.clone("probe", "beta"))
    await offers.called()
    assert (await ask(mesh.alpha.channel, "probe", "Append", "b")).text == "cloning b"
    if leaves:
        moving = asyncio.create_task(mesh.alpha.client.dispatch("probe", "beta"))
        await offers.called(2)
        offers.release()
        assert (await moving).host == "beta"
    offers.release()
    made = await making
    assert (await ask(mesh.alpha.channel, made.paglet_id, "Read")).text == "cloning clone of probe"
    assert (await ask(mesh.alpha.channel, "probe", "Read")).text == "cloning b"


async def test_life_5_one_clone_for_a_request(mesh: Mesh) -> None:
    """The same request, at once or later and by any host, gives the same clone; another under its id is refused."""
    await mesh.probe()
    request_id = new_request()
    clients = (mesh.alpha.client, mesh.beta.client, mesh.alpha.client)
    made = await asyncio.gather(*(client.clone("probe", "beta", request_id=request_id) for client in clients))
    assert {found.paglet_id for found in made} == {clone_id("probe", request_id)}
    assert (await mesh.beta.client.clone("probe", "beta", request_id=request_id)).paglet_id == made[0].paglet_id
    assert STAGE.notes.count("on_clone") == 1
    assert (await _refused(mesh, "alpha", request_id)).reason == "REQUEST_ID_REUSED"
    await mesh.alpha.client.dispose(made[0].paglet_id)
    assert (await _refused(mesh, "beta", request_id)).reason == "ILLEGAL_TRANSITION"
    others = {(await mesh.alpha.client.clone("probe")).paglet_id for _ in range(2)}
    assert len(others) == 2


async def test_life_5_hook_that_refuses(mesh: Mesh, tmp_path: Path) -> None:
    """An `on_cloning` that raises is rolled back, and there is no clone."""
    await probe_with_file(mesh)
    before = await row_of(mesh)
    await ask(mesh.alpha.channel, "probe", "Ask", "refuse on_cloning refused")
    assert (await _refused(mesh)).reason == "TASK_RUNNING"
    await ask(mesh.alpha.channel, "probe", "Ask", "refuse on_cloning broken")
    assert (await _refused(mesh)).reason == "HOOK_FAILED"
    assert (await ask(mesh.alpha.channel, "probe", "Read")).text == "a"
    await assert_nothing_left(mesh, tmp_path, before, grown=0)


async def test_target_that_refuses(mesh: Mesh, tmp_path: Path) -> None:
    """Refused by its target, nothing is left of the clone anywhere; the same request gets the same error."""
    await probe_with_file(mesh)
    before, registry = await row_of(mesh), mesh.beta.host.parts.registry
    mesh.beta.host.parts.registry = TypeRegistry("beta", {})
    request_id = new_request()
    assert (await _refused(mesh, request_id=request_id)).reason == "TYPE_NOT_ALLOWED"
    mesh.beta.host.parts.registry = registry
    assert (await _refused(mesh, request_id=request_id)).reason == "TYPE_NOT_ALLOWED"
    row = await mesh.alpha.host.parts.directory.get(clone_id("probe", request_id))
    assert row is not None
    assert (row.state, row.intent) == (PagletState.DISPOSED, None)
    await assert_nothing_left(mesh, tmp_path, before, grown=0)
    assert "on_cloned" not in STAGE.notes


async def test_file_that_is_given_up_meanwhile(mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that the original no longer has unchanged gives the clone up, and what was pushed of it is freed."""
    path = await probe_with_file(mesh)
    before = await row_of(mesh)
    offers = Midway(monkeypatch, mesh.beta.host.arrivals, "prepare").hold()
    making = asyncio.create_task(_refused(mesh))
    await offers.called()
    await asyncio.to_thread(path.unlink)
    offers.release()
    assert (await making).reason == "FILE_CHANGED"
    await assert_nothing_left(mesh, tmp_path, before, grown=0)


async def test_life_5_unknown_host(mesh: Mesh) -> None:
    """A target that is not there refuses the clone before a hook is run."""
    await mesh.probe()
    assert (await _refused(mesh, "nowhere")).reason == "HOST_NOT_FOUND"
    assert _hooks() == ["on_creation"]


async def test_life_5_first_turn_that_fails(mesh: Mesh) -> None:
    """A clone whose first turn fails is there, FAILED: the caller is told, again too, and the original is not."""
    await mesh.probe()
    await ask(mesh.alpha.channel, "probe", "Ask", "refuse on_clone refused")
    request_id = new_request()
    for _ in range(2):
        error = await _refused(mesh, request_id=request_id)
        assert (error.reason, error.metadata["host"]) == ("ARRIVAL_FAILED", "beta")
    found = await mesh.alpha.client.get(clone_id("probe", request_id))
    assert (found.host, found.state) == ("beta", PagletState.FAILED)
    assert "on_cloned" not in STAGE.notes
    moved = await mesh.alpha.client.dispatch(found.paglet_id, "alpha")
    assert moved.state is PagletState.ACTIVE


async def test_life_5_last_hook_that_fails(mesh: Mesh) -> None:
    """An `on_cloned` that raises takes nothing back."""
    await mesh.probe()
    await ask(mesh.alpha.channel, "probe", "Ask", "refuse on_cloned refused")
    made = await mesh.alpha.client.clone("probe", "beta")
    assert made.state is PagletState.ACTIVE
    await eventually(lambda: do("on_cloned" in STAGE.notes), what="the word to the original")
    assert (await ask(mesh.alpha.channel, "probe", "Append", "b")).text == "cloning b"


async def test_states_of_originals(mesh: Mesh) -> None:
    """An inactive original is brought back for it; one whose arrival failed is not cloned."""
    await mesh.probe()
    await mesh.alpha.client.deactivate("probe")
    assert (await mesh.alpha.client.clone("probe", "beta")).state is PagletState.ACTIVE
    await ask(mesh.alpha.channel, "probe", "Ask", "refuse on_arrival refused")
    with pytest.raises(PagletError):
        await mesh.alpha.client.dispatch("probe", "beta")
    error = await _refused(mesh)
    assert (error.reason, error.metadata) == ("ILLEGAL_TRANSITION", {"state": "failed", "event": "clone"})


async def test_clone_at_rest(mesh: Mesh) -> None:
    """With such a ticket the clone begins at rest, and `on_activation` is its first turn."""
    await mesh.probe()
    made = await mesh.alpha.client.clone("probe", "beta", ticket=TransferTicket(arrival=ArrivalMode.INACTIVE))
    assert (made.host, made.state) == ("beta", PagletState.INACTIVE)
    assert (await ask(mesh.alpha.channel, made.paglet_id, "Read")).text == "cloning woken"
    assert "on_clone" not in STAGE.notes


async def test_clones_itself(mesh: Mesh) -> None:
    """Asked for in a turn it is made after it, under the id that the turn was told."""
    await mesh.probe()
    clone = (await ask(mesh.alpha.channel, "probe", "Ask", "clone beta")).text
    await eventually(lambda: _is_there(mesh, clone), what="the clone")
    await eventually(lambda: _has_asked_for_nothing(mesh), what="an end of the request")
    assert STAGE.notes.count("on_clone") == 1


@pytest.mark.parametrize("how", ["turns", "body"])
async def test_every_clone_that_it_asks_for_is_made(mesh: Mesh, how: str) -> None:
    """Those of many turns that became durable together, and of one body: no later one takes an earlier one's place."""
    await mesh.probe()
    if how == "turns":
        asked = await asyncio.gather(*(ask(mesh.alpha.channel, "probe", "Ask", "clone beta") for _ in range(5)))
        clones = {answer.text for answer in asked}
    else:
        resident = mesh.alpha.host.residents.get("probe")
        assert resident is not None
        clones = await _of_a_body(resident.paglet)
    assert len(clones) == 5
    for clone in clones:
        await eventually(lambda clone=clone: _is_there(mesh, clone), what="the clone")
    await eventually(lambda: _has_asked_for_nothing(mesh), what="an end of the request")
    assert STAGE.notes.count("on_clone") == 5


async def _of_a_body(paglet: Paglet[Any]) -> set[str]:
    """The ids of the clones that a body has asked for."""
    told: asyncio.Future[set[str]] = asyncio.get_running_loop().create_future()

    async def body() -> None:
        told.set_result({paglet.clone("beta").paglet_id for _ in range(5)})

    paglet.start_background(body)
    return await told


async def test_own_clone_that_fails_is_told(mesh: Mesh) -> None:
    """A clone that cannot be made is told to who asked for it, once."""
    await mesh.probe()
    await ask(mesh.alpha.channel, "probe", "Ask", "clone nowhere")
    await ask(mesh.alpha.channel, "probe", "WaitFor", "aborted NOT_FOUND HOST_NOT_FOUND")
    assert await _has_asked_for_nothing(mesh)


async def test_row_that_nobody_makes(mesh: Mesh) -> None:
    """A clone's row that an earlier life of the host wrote too late becomes a tombstone."""
    directory = mesh.alpha.host.parts.directory
    stray = PagletRow(
        paglet_id="stray",
        type=PROBE_TYPE,
        owner="alpha",
        state=PagletState.CLONING,
        intent=Intent("gone", "beta"),
        request_id="r",
    )
    await directory.apply([RowWrite(Guard.after("stray", None), stray, "clone")])
    await eventually(lambda: _is_gone(mesh, "stray"), what="the end of the stray row")


async def test_wrong_target(mesh: Mesh) -> None:
    """A malformed name is refused at the door, also in a turn."""
    await mesh.probe()
    assert (await _refused(mesh, "No Host")).reason == "INVALID_ID"
    with pytest.raises(grpc.aio.AioRpcError, match="target must match"):
        await ask(mesh.alpha.channel, "probe", "Ask", "clone No Host")


async def _no_journeys(mesh: Mesh) -> bool:
    found = [await site.host.parts.journal.departures() for site in (mesh.alpha, mesh.beta)]
    found_here = [await site.host.parts.journal.arrivals() for site in (mesh.alpha, mesh.beta)]
    return not any((*found, *found_here))


async def _is_there(mesh: Mesh, paglet_id: str) -> bool:
    row = await mesh.alpha.host.parts.directory.get(paglet_id)
    return row is not None and (row.owner, row.state) == ("beta", PagletState.ACTIVE)


async def _is_gone(mesh: Mesh, paglet_id: str) -> bool:
    row = await mesh.alpha.host.parts.directory.get(paglet_id)
    return row is not None and row.state is PagletState.DISPOSED


async def _has_asked_for_nothing(mesh: Mesh) -> bool:
    return (await mesh.alpha.host.parts.journal.belongings("probe")).own_request is None


async def test_parameters_have_a_bound_and_a_hook(mesh: Mesh) -> None:
    """What is too large, or would be told to nobody, is refused before anything is copied."""
    await mesh.probe()
    for parameters, ticket in (
        (StringValue(value="x" * 70_000), None),
        (StringValue(value="x"), TransferTicket(arrival=ArrivalMode.INACTIVE)),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            await mesh.alpha.client.clone("probe", "beta", parameters=parameters, ticket=ticket)
        assert (caught.value.reason, caught.value.field) == ("MALFORMED_REQUEST", "parameters")
    assert "on_cloning" not in _hooks()


async def test_parameters_are_part_of_the_request(mesh: Mesh) -> None:
    """Another purpose under the same request id is another request."""
    await mesh.probe()
    await mesh.alpha.client.clone("probe", parameters=StringValue(value="a"), request_id="r")
    with pytest.raises(PagletError) as caught:
        await mesh.alpha.client.clone("probe", parameters=StringValue(value="b"), request_id="r")
    assert caught.value.reason == "REQUEST_ID_REUSED"
