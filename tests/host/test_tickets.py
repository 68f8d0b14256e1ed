"""What a move's ticket asks for is kept, before the commit, or the move is refused and everything is as it was."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from paglet.v1 import transfer_pb2
from paglets.directory.contract import HostRegistration
from paglets.errors import PagletError, UnavailableError
from paglets.values import TransferTicket
from tests.host.conftest import Mesh
from tests.host.midway import Midway
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask
from tests.host.unharmed import ILLEGAL, Case, assert_unharmed, nothing, probe_with_file, row_of

_LATE = grpc.StatusCode.DEADLINE_EXCEEDED


async def _refused(mesh: Mesh, ticket: TransferTicket) -> PagletError:
    with pytest.raises(PagletError) as caught:
        await mesh.alpha.client.dispatch("probe", "beta", ticket=ticket)
    return caught.value


async def test_tick_1_ticket_that_is_kept(mesh: Mesh) -> None:
    """A target that offers what the ticket asks for takes the paglet in."""
    await mesh.probe()
    ticket = TransferTicket(deadline_s=60, retries=3, required_types=(PROBE_TYPE,), state_version=1)
    moved = await mesh.alpha.client.dispatch("probe", "beta", ticket=ticket)
    assert (moved.host, moved.state) == ("beta", "active")


async def test_tick_3_deadline_while_a_turn_runs(mesh: Mesh, tmp_path: Path) -> None:
    """A turn that outlives the journey's deadline gives the move up, and is itself untouched."""
    await probe_with_file(mesh)
    before = await row_of(mesh)
    STAGE.hold("long")
    turn = asyncio.create_task(ask(mesh.alpha.channel, "probe", "Hold", "long"))
    await STAGE.reached("long")
    error = await _refused(mesh, TransferTicket(deadline_s=0.2))
    assert (error.reason, error.metadata["target"]) == ("JOURNEY_TIMEOUT", "beta")
    STAGE.release("long")
    await turn
    await ask(mesh.alpha.channel, "probe", "WaitFor", "aborted DEADLINE_EXCEEDED JOURNEY_TIMEOUT")
    case = Case(nothing, _LATE, "JOURNEY_TIMEOUT", intended=False)
    await assert_unharmed(mesh, tmp_path, before, case, lines="a long< >long")


async def test_tick_3_deadline_in_the_last_turn(mesh: Mesh, tmp_path: Path) -> None:
    """So does an `on_dispatching` that takes too long; it is rolled back."""
    await probe_with_file(mesh)
    before = await row_of(mesh)
    STAGE.hold("on_dispatching")
    error = await _refused(mesh, TransferTicket(deadline_s=0.2))
    assert error.reason == "JOURNEY_TIMEOUT"
    await assert_unharmed(mesh, tmp_path, before, Case(nothing, _LATE, "JOURNEY_TIMEOUT", intended=False))


async def test_tick_3_deadline_on_the_way(mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that takes its time until the deadline has passed does not get the paglet any more."""
    await probe_with_file(mesh)
    before = await row_of(mesh)
    offers = Midway(monkeypatch, mesh.beta.host.arrivals, "prepare", after=True).hold()
    error = await _refused(mesh, TransferTicket(deadline_s=1.0))
    assert error.reason == "JOURNEY_TIMEOUT"
    assert offers.callers
    offers.release()
    await assert_unharmed(mesh, tmp_path, before, Case(nothing, _LATE, "JOURNEY_TIMEOUT"))


@pytest.mark.parametrize("step", ["prepare", "seal"])
@pytest.mark.parametrize("retries", [1, 2])
async def test_tick_3_retries_on_the_way(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, step: str, retries: int) -> None:
    """A failure that may pass is tried anew as often as the ticket says, by the same journey of the frozen paglet."""
    await probe_with_file(mesh)
    real, left = getattr(mesh.beta.host.arrivals, step), [2]

    async def hindered(request: object) -> object:
        if left[0]:
            left[0] -= 1
            raise UnavailableError("SHUTTING_DOWN", "not now")
        return await real(request)

    monkeypatch.setattr(mesh.beta.host.arrivals, step, hindered)
    if retries < 2:
        assert (await _refused(mesh, TransferTicket(retries=retries))).reason == "HOST_UNREACHABLE"
        return
    moved = await mesh.alpha.client.dispatch("probe", "beta", ticket=TransferTicket(retries=retries))
    assert (moved.host, moved.state) == ("beta", "active")
    assert [note for note in STAGE.notes if note.startswith("on_")] == ["on_creation", "on_dispatching", "on_arrival"]


async def test_tick_3_refusals_are_not_tried_anew(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the target refuses once it refuses for good, whatever the ticket says."""
    await mesh.probe()
    await ask(mesh.alpha.channel, "probe", "Ask", "refuse check_arrival refused")
    offers = Midway(monkeypatch, mesh.beta.host.arrivals, "prepare")
    assert (await _refused(mesh, TransferTicket(retries=9))).reason == "TASK_RUNNING"
    assert len(offers.callers) == 1


async def test_tick_3_target_that_comes_back(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target whose lease is over is looked for again; meanwhile the paglet works."""
    await mesh.probe()
    directory = mesh.alpha.host.parts.directory
    (beta,) = [host for host in await directory.hosts() if host.name == "beta"]
    await directory.lease_revoke("beta", beta.uid)
    assert (await _refused(mesh, TransferTicket())).reason == "HOST_UNREACHABLE"
    looks = Midway(monkeypatch, mesh.alpha.host.parts.peers, "online")
    moving = asyncio.create_task(mesh.alpha.client.dispatch("probe", "beta", ticket=TransferTicket(retries=50)))
    await looks.called(2)
    assert (await ask(mesh.alpha.channel, "probe", "Append", "meanwhile")).text == "meanwhile"
    back = HostRegistration(name="beta", uid=beta.uid, address=beta.address, types=beta.types)
    await directory.lease_register(back, 60)
    assert (await moving).host == "beta"


async def test_tick_3_deadline_of_a_target_that_stays_away(mesh: Mesh) -> None:
    """Retries end at the deadline."""
    await mesh.probe()
    directory = mesh.alpha.host.parts.directory
    (beta,) = [host for host in await directory.hosts() if host.name == "beta"]
    await directory.lease_revoke("beta", beta.uid)
    assert (await _refused(mesh, TransferTicket(retries=50, deadline_s=0.3))).reason == "JOURNEY_TIMEOUT"


async def test_tick_2_type_that_the_target_lacks(mesh: Mesh, tmp_path: Path) -> None:
    """A required type that the target does not offer refuses the move before a hook is run."""
    await probe_with_file(mesh)
    before = await row_of(mesh)
    error = await _refused(mesh, TransferTicket(required_types=(PROBE_TYPE, "shop.Cart")))
    assert (error.reason, error.metadata) == ("TYPE_NOT_ALLOWED", {"type": "shop.Cart", "host": "beta"})
    assert "on_dispatching" not in STAGE.notes
    case = Case(nothing, ILLEGAL, error.reason, intended=False, told=False)
    await assert_unharmed(mesh, tmp_path, before, case)


async def test_tick_2_state_version_that_the_target_lacks(mesh: Mesh, tmp_path: Path) -> None:
    """A target with another version of the state than was asked for is refused before a byte moves."""
    await probe_with_file(mesh)
    before = await row_of(mesh)
    error = await _refused(mesh, TransferTicket(state_version=2))
    assert error.reason == "STATE_VERSION_UNSUPPORTED"
    assert error.metadata == {"type": PROBE_TYPE, "found": "2", "supported": "1"}
    await assert_unharmed(mesh, tmp_path, before, Case(nothing, ILLEGAL, error.reason))


async def test_tick_1_own_move_has_its_ticket(mesh: Mesh) -> None:
    """A paglet's own move asks for what its ticket says, also from `on_arrival` at the next host."""
    await mesh.probe()
    await ask(mesh.alpha.channel, "probe", "Ask", "choosy beta")
    told = "aborted FAILED_PRECONDITION TYPE_NOT_ALLOWED"
    await ask(mesh.alpha.channel, "probe", "WaitFor", told)
    assert (await row_of(mesh)).owner == "alpha"


async def test_tick_1_offer_with_a_wild_ticket(mesh: Mesh) -> None:
    """A ticket out of bounds is refused at the door of the client's host, and at the target's."""
    await mesh.probe()
    error = await _refused(mesh, replace(TransferTicket(), retries=101))
    assert (error.reason, error.field) == ("MALFORMED_REQUEST", "ticket.retries")
    manifest = transfer_pb2.Manifest(transfer_id="t", paglet_id="probe", type=PROBE_TYPE, target="beta")
    manifest.ticket.retries = -1
    with pytest.raises(PagletError, match="0 to 100 retries"):
        await mesh.beta.host.arrivals.prepare(transfer_pb2.PrepareTransferRequest(manifest=manifest))
