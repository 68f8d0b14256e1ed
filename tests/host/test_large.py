"""What a journey carries when it is large, and what it must not delete."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from paglet.v1 import transfer_pb2
from paglets import faults
from paglets.errors import PreconditionError
from tests.host.conftest import Mesh
from tests.host.midway import Midway, do
from tests.host.support import ask, call, eventually, refused
from tests.host.unharmed import CONTENT, dispatch, probe_with_file


async def _large_probe(mesh: Mesh) -> None:
    """A probe whose state and stored replies together are more than a message may carry."""
    await mesh.probe()
    await ask(mesh.alpha.channel, "probe", "Append", "x" * 900_000)
    for number in range(3):
        await ask(mesh.alpha.channel, "probe", "Repeat", "250000", request_id=f"r-{number}")


async def test_snapshot_too_large_for_a_message(mesh: Mesh) -> None:
    """A snapshot above 1.25 MiB goes through the target's store, and nothing of it is left there."""
    await _large_probe(mesh)
    await dispatch(mesh.alpha, "probe", "beta")
    again = await ask(mesh.beta.channel, "probe", "Repeat", "250000", request_id="r-0")
    assert (len(again.text), again.replayed) == (250_000, True)
    assert len((await ask(mesh.beta.channel, "probe", "Read")).text) > 900_000
    await eventually(lambda: _store_is_empty(mesh), what="an empty store")


async def test_large_snapshot_of_a_journey_given_up(mesh: Mesh) -> None:
    """When the paglet is refused after all, the snapshot that was pushed is dropped."""
    await _large_probe(mesh)
    await ask(mesh.alpha.channel, "probe", "Ask", "refuse check_arrival refused")
    assert (await refused(dispatch(mesh.alpha, "probe", "beta"))).reason == "TASK_RUNNING"
    await eventually(lambda: _store_is_empty(mesh), what="an empty store")
    assert len((await ask(mesh.alpha.channel, "probe", "Read")).text) > 900_000


async def test_moved_source_that_changed_since_is_kept(mesh: Mesh) -> None:
    """What was written to a moved file after it was sent is not deleted with it."""
    path = await probe_with_file(mesh, "move")

    def grow(point: str) -> None:
        if point == "journey.forget.before":
            with path.open("ab") as file:
                file.write(b"later")

    faults.arm(grow)
    await dispatch(mesh.alpha, "probe", "beta")
    await eventually(lambda: _forgotten(mesh), what="the end of the journey")
    assert path.read_bytes() == CONTENT + b"later"


async def test_nothing_is_sealed_that_is_not_all_there(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that asks for the seal before it has pushed every file is refused, and may go on."""
    await probe_with_file(mesh)
    upload = Midway(monkeypatch, mesh.beta.host.parts.store, "open_upload").hold()
    moving = asyncio.create_task(dispatch(mesh.alpha, "probe", "beta"))
    await upload.called()
    (kept,) = await mesh.beta.host.parts.journal.arrivals()
    with pytest.raises(PreconditionError) as early:
        await mesh.beta.host.arrivals.seal(kept.transfer_id)
    assert early.value.reason == "ARRIVAL_REFUSED"
    assert mesh.beta.host.arrivals.phase(kept.transfer_id) == transfer_pb2.TRANSFER_PHASE_PREPARED
    upload.release()
    await moving
    assert (await mesh.alpha.client.get("probe")).host == "beta"


async def test_unknown_transfer_is_not_sealed(mesh: Mesh) -> None:
    """Nothing is known of a transfer that was never offered."""
    request = transfer_pb2.SealTransferRequest(transfer_id="never-offered").SerializeToString()
    refusal = await refused(call(mesh.beta.channel, "/paglet.v1.TransferService/SealTransfer", request))
    assert refusal.what == (grpc.StatusCode.NOT_FOUND, "TRANSFER_NOT_FOUND")


async def _store_is_empty(mesh: Mesh) -> bool:
    return await do(not (await mesh.beta.host.parts.store.list()).refs)


async def _forgotten(mesh: Mesh) -> bool:
    return not await mesh.alpha.host.parts.journal.departures()
