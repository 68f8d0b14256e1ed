"""Every refusal of the artifact store, decoded as a client decodes it that has nothing but the generated stub.

What the comments of the proto promise and what the table shows are the same, rpc by rpc.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from paglet.v1 import artifact_pb2
from paglets.artifacts.local import LocalArtifactStore
from paglets.client.channel import open_channel
from tests.artifacts.error_rows import ROWS, Row
from tests.artifacts.scene import set_up
from tests.artifacts.serve import serving
from tests.artifacts.support import Clock
from tests.artifacts.test_wire import header, refusal
from tests.mounts import tmpfs

PROTO = Path(__file__).parents[2] / "protos" / "paglet" / "v1" / "artifact.proto"
_OF_A_MESH = {"PullArtifact"}  # its refusals are shown in test_pull
METHODS = [
    method.name
    for method in artifact_pb2.DESCRIPTOR.services_by_name["ArtifactService"].methods
    if method.name not in _OF_A_MESH
]
_SERVICE = re.compile(r"((?:^//[^\n]*\n)+)^service ArtifactService \{\n(.*?)^\}\n", re.MULTILINE | re.DOTALL)
_REASON = re.compile(r"\b[A-Z]+(?:_[A-Z]+)*\b")
_RPC = re.compile(r"((?:^  //[^\n]*\n)+)^  rpc (\w+)\(", re.MULTILINE)


def reasons_in(comment: str) -> set[tuple[str, str]]:
    """Code and reason of each error that a comment names after `Errors:`."""
    text = " ".join(line.strip().removeprefix("//").strip() for line in comment.splitlines())
    _, _, errors = text.partition("Errors: ")
    found: set[tuple[str, str]] = set()
    for code, listed in re.findall(r"([A-Z_]+) \(([^)]*)\)", errors):
        found |= {(code, reason) for reason in _REASON.findall(listed)}
    return found


def promised() -> dict[str, set[tuple[str, str]]]:
    """Code and reason of each error by the rpc whose comment names it; under an empty name, those of all rpcs."""
    found = _SERVICE.search(PROTO.read_text(encoding="utf-8"))
    assert found is not None
    service, body = found.groups()
    return {"": reasons_in(service)} | {name: reasons_in(comment) for comment, name in _RPC.findall(body)}


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Where the store of a row lies."""
    row: Row = request.getfixturevalue("row")
    if not row.small_disk:
        yield tmp_path
        return
    with tmpfs(tmp_path, "size=4m"):
        yield tmp_path


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{number}-{row.rpc}-{row.reason}") for number, row in enumerate(ROWS)]
)
async def test_refusal(row: Row, folder: Path, clock: Clock) -> None:
    """Code, reason and details are those of the table, and no others."""
    async with set_up(folder / "store", clock, row.bounds, patient=row.patient) as scene:
        found = await refusal(row.does(scene))
    assert (found.code, found.reason, tuple(found.fields)) == (row.code, row.reason, row.fields)
    assert tuple(sorted(found.metadata)) == row.metadata
    assert (found.resource.resource_type, found.resource.resource_name) == row.resource
    assert [violation.subject for violation in found.quota.violations] == ([row.quota_of] if row.quota_of else [])
    failed = [(violation.type, violation.subject) for violation in found.precondition.violations]
    assert failed == ([row.failed] if row.failed[0] else [])
    assert found.retry.retry_delay.ToTimedelta().total_seconds() == row.retry_s


@pytest.mark.parametrize("rpc", METHODS)
def test_comments_and_table_agree(rpc: str) -> None:
    """An rpc's comment names all errors that are shown of it, and none that is not."""
    told, of_all = promised()[rpc], promised()[""]
    assert {(row.code, row.reason) for row in ROWS if row.rpc == rpc} - (of_all - told) == told


async def raw(channel: grpc.aio.Channel, rpc: str, data: bytes) -> object:
    """Calls an rpc with bytes, whatever they are."""
    method = f"/paglet.v1.ArtifactService/{rpc}"
    match rpc:
        case "WriteArtifact":
            return await channel.stream_unary(method, bytes, bytes)(iter([data]))
        case "ReadArtifact" | "WatchArtifacts":
            return [reply async for reply in channel.unary_stream(method, bytes, bytes)(data)]
        case _:
            return await channel.unary_unary(method, bytes, bytes)(data)


@pytest.mark.parametrize("rpc", METHODS)
async def test_what_any_rpc_may_answer(rpc: str, local: LocalArtifactStore) -> None:
    """Bytes that are no message, and a store that closes, are told of by the comment of the service for all rpcs."""
    requests = {
        "WriteArtifact": header().SerializeToString(),
        "CancelUpload": artifact_pb2.CancelUploadRequest(upload_id="u").SerializeToString(),
        "GetUpload": artifact_pb2.GetUploadRequest(upload_id="u").SerializeToString(),
        "UpdateArtifact": artifact_pb2.UpdateArtifactRequest(
            artifact=artifact_pb2.Artifact(artifact_id="a", name="n")
        ).SerializeToString(),
        "BatchWriteArtifacts": artifact_pb2.BatchWriteArtifactsRequest(
            items=[artifact_pb2.SmallArtifact(data=b"x")]
        ).SerializeToString(),
        "ListArtifacts": b"",
        "ListUploads": b"",
        "GetUsage": b"",
        "WatchArtifacts": b"",
    }
    of_one = artifact_pb2.GetArtifactRequest(artifact_id="a").SerializeToString()
    async with serving(local) as port, open_channel(f"127.0.0.1:{port}") as channel:
        found = await refusal(raw(channel, rpc, b"\xff"))
        assert (found.code, found.reason, found.fields) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST", ["request"])
        assert (found.code, found.reason) in promised()[""]
        await local.close()
        found = await refusal(raw(channel, rpc, requests.get(rpc, of_one)))
        assert (found.code, found.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")
        assert (found.code, found.reason) in promised()[""]
