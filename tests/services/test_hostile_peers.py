"""Whatever is sent to the rpcs that hosts keep for each other: the directory and the transfers keep their rules."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from paglet.v1 import directory_pb2, transfer_pb2, types_pb2
from tests.host.conftest import Mesh
from tests.host.support import PROBE_TYPE, call, refused
from tests.services.hostile import ABORTED, ILLEGAL, MALFORMED, MISSING, assert_lives, send


@pytest.mark.parametrize("rpc", ["SealTransfer", "NudgeTransfer", "GetTransfer"])
async def test_unknown_transfers_are_refused(standing: Mesh, rpc: str) -> None:
    """A host that knows of no such transfer says so; giving one up that is not there is a success."""
    for transfer_id in ("", "..", "nope", "x" * 100_000):
        request = transfer_pb2.GetTransferRequest(transfer_id=transfer_id)
        refusal = await send(standing, f"transfer.{rpc}", request)
        assert refusal.what == (MISSING, "TRANSFER_NOT_FOUND")
        assert await call(standing.alpha.channel, "/paglet.v1.TransferService/AbortTransfer", b"") == b""


def _offer(**manifest: object) -> transfer_pb2.PrepareTransferRequest:
    wanted = {
        "transfer_id": "t-1",
        "paglet_id": "probe",
        "type": PROBE_TYPE,
        "state_version": 1,
        "source": "beta",
        "target": "alpha",
        **manifest,
    }
    return transfer_pb2.PrepareTransferRequest(manifest=transfer_pb2.Manifest(**wanted), inline=b"\xff")  # pyright: ignore[reportArgumentType] - what tests put in


FILE = transfer_pb2.TransferFile(
    name="f",
    mode=transfer_pb2.FILE_MODE_COPY,
    digest=types_pb2.Digest(function=types_pb2.DIGEST_FUNCTION_BLAKE3_256, value=bytes(32), size_bytes=1),
)


async def test_forged_offers_are_refused(standing: Mesh) -> None:
    """An offer that is not for this host, not in the directory or not well made leaves nothing here."""
    oddly_moded, undigested, short = (
        transfer_pb2.TransferFile(),
        transfer_pb2.TransferFile(),
        transfer_pb2.TransferFile(),
    )
    for made in (oddly_moded, undigested, short):
        made.CopyFrom(FILE)
    oddly_moded.mode = 99  # pyright: ignore[reportAttributeAccessIssue] - a number that nobody knows
    undigested.ClearField("digest")
    short.digest.value = b"short"
    for offer, expected in (
        (_offer(target="beta"), MALFORMED),
        (_offer(files=[oddly_moded]), MALFORMED),
        (_offer(files=[undigested]), MALFORMED),
        (_offer(files=[short]), MALFORMED),
        (_offer(type="os.system"), (ILLEGAL, "TYPE_NOT_ALLOWED")),
        (_offer(state_version=99), (ILLEGAL, "STATE_VERSION_UNSUPPORTED")),
        (_offer(), (ABORTED, "EPOCH_FENCED")),
        (_offer(paglet_id="nobody"), (ABORTED, "EPOCH_FENCED")),
    ):
        assert (await send(standing, "transfer.PrepareTransfer", offer)).what == expected, offer
    assert await standing.alpha.host.parts.journal.arrivals() == []
    await assert_lives(standing)


def _write(guard: directory_pb2.Guard, row: directory_pb2.PagletRow) -> directory_pb2.ApplyRowsRequest:
    return directory_pb2.ApplyRowsRequest(writes=[directory_pb2.RowWrite(guard=guard, row=row, cause="change")])


async def test_forged_rows_are_refused(standing: Mesh) -> None:
    """The directory keeps its rules whoever writes."""
    row = directory_pb2.PagletRow(
        paglet_id="probe", type=PROBE_TYPE, owner="beta", epoch=1, state=types_pb2.PAGLET_STATE_ACTIVE
    )
    stale = directory_pb2.Guard(paglet_id="probe", owner="beta", epoch=0)
    absent = directory_pb2.Guard(paglet_id="probe", absent=True)
    stateless = directory_pb2.PagletRow(paglet_id="probe", type=PROBE_TYPE, owner="beta", epoch=1)
    other = directory_pb2.Guard(paglet_id="other", absent=True)
    thief = directory_pb2.RegisterHostRequest(
        host=directory_pb2.HostRow(name="alpha", uid="thief", address="x"), ttl=Duration(seconds=1)
    )
    forever = directory_pb2.RegisterHostRequest(
        host=directory_pb2.HostRow(name="new", uid="new", address="x"), ttl=Duration(seconds=2**40)
    )
    for rpc, request, expected in (
        ("ApplyRows", _write(stale, row), (ABORTED, "EPOCH_FENCED")),
        ("ApplyRows", _write(absent, row), (ABORTED, "EPOCH_FENCED")),
        ("ApplyRows", _write(absent, stateless), MALFORMED),
        ("ApplyRows", _write(other, row), MALFORMED),
        ("ApplyRows", directory_pb2.ApplyRowsRequest(forget=["x"] * 1001), MALFORMED),
        ("GetRow", directory_pb2.GetRowRequest(paglet_id="nobody"), (MISSING, "PAGLET_NOT_FOUND")),
        ("GetJourney", directory_pb2.GetJourneyRequest(transfer_id="x"), (MISSING, "TRANSFER_NOT_FOUND")),
        ("ListRows", directory_pb2.ListRowsRequest(page_size=1001), MALFORMED),
        ("WatchRows", directory_pb2.WatchRowsRequest(after_revision=-1), MALFORMED),
        ("RegisterHost", thief, (grpc.StatusCode.ALREADY_EXISTS, "HOST_NAME_TAKEN")),
        ("RegisterHost", forever, MALFORMED),
        ("KeepHost", directory_pb2.KeepHostRequest(name="alpha", uid="thief"), MALFORMED),
        (
            "KeepHost",
            directory_pb2.KeepHostRequest(name="alpha", uid="thief", ttl=Duration(seconds=5)),
            (MISSING, "HOST_NOT_FOUND"),
        ),
    ):
        assert (await send(standing, f"directory.{rpc}", request)).what == expected, (rpc, request)
    for channel in (standing.alpha.channel, standing.beta.channel):
        for seconds in (2**63 - 1, -(2**63)):
            endless = directory_pb2.KeepHostRequest(name="alpha", uid="thief", ttl=Duration(seconds=seconds))
            path = "/paglet.v1.DirectoryService/KeepHost"
            refusal = await refused(call(channel, path, endless.SerializeToString()))
            assert (refusal.what, refusal.fields) == (MALFORMED, ["ttl"])
    await call(
        standing.alpha.channel,
        "/paglet.v1.DirectoryService/RevokeHost",
        directory_pb2.RevokeHostRequest(name="alpha", uid="thief").SerializeToString(),
    )
    assert (await standing.beta.client.host("alpha")).online, "only its own uid ends a lease"
    await assert_lives(standing)
