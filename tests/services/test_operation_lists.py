"""A paglet, or a type, tells what it answers, page by page."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglet.v1 import operation_pb2 as pb
from paglets.values import DeactivationPolicy
from tests.host.conftest import Mesh
from tests.host.probe_service import SERVICE
from tests.host.support import PROBE_TYPE, refused
from tests.services.generic import door

INVALID, MISFIT = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("size", [7, 20, 21])
async def test_pages_of_operations(mesh: Mesh, size: int) -> None:
    """A paglet's operations come in the order of their names, page by page, from any host, and wake nobody."""
    probe = await mesh.probe()
    await mesh.alpha.client.deactivate(probe, DeactivationPolicy(activate_on_message=True))
    whole = await door(mesh.alpha.channel).ListOperations(pb.ListOperationsRequest(paglet_id=probe))
    names = [operation.name for operation in whole.operations]
    assert names == sorted(names)
    assert len(names) == 21
    assert not whole.next_page_token
    for subject in (pb.ListOperationsRequest(paglet_id=probe), pb.ListOperationsRequest(type=PROBE_TYPE)):
        found: list[pb.Operation] = []
        subject.page_size = size
        while True:
            page = await door(mesh.beta.channel).ListOperations(subject)
            assert len(page.operations) <= size
            found.extend(page.operations)
            if not page.next_page_token:
                break
            subject.page_token = page.next_page_token
        assert found == list(whole.operations)
    infos = await mesh.beta.client.operations(probe)
    assert [info.name for info in infos] == names
    assert infos == await mesh.beta.client.operations(type=PROBE_TYPE)
    assert (await mesh.alpha.client.get(probe)).state == "inactive"
    by_name = {operation.name.rpartition("/")[2]: operation for operation in whole.operations}
    text = StringValue.DESCRIPTOR.full_name
    assert by_name["Append"] == pb.Operation(name=f"{SERVICE}/Append", request_type=text, reply_type=text)
    assert by_name["Read"].idempotency_level == pb.IDEMPOTENCY_LEVEL_NO_SIDE_EFFECTS


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        pytest.param(pb.ListOperationsRequest(), INVALID, "MALFORMED_REQUEST", id="nobody's"),
        pytest.param(pb.ListOperationsRequest(paglet_id=""), INVALID, "INVALID_ID", id="no id"),
        pytest.param(pb.ListOperationsRequest(paglet_id="x"), grpc.StatusCode.NOT_FOUND, "PAGLET_NOT_FOUND", id="x"),
        pytest.param(pb.ListOperationsRequest(type="no.Type"), MISFIT, "TYPE_NOT_ALLOWED", id="no type"),
        pytest.param(pb.ListOperationsRequest(type=""), MISFIT, "TYPE_NOT_ALLOWED", id="empty type"),
        pytest.param(
            pb.ListOperationsRequest(type=PROBE_TYPE, page_size=-1), INVALID, "MALFORMED_REQUEST", id="page size"
        ),
        pytest.param(
            pb.ListOperationsRequest(type=PROBE_TYPE, page_token="?"),  # noqa: S106 - no secret
            INVALID,
            "MALFORMED_REQUEST",
            id="page token",
        ),
    ],
)
async def test_odd_lists_are_refused(
    standing: Mesh, request_: pb.ListOperationsRequest, code: grpc.StatusCode, reason: str
) -> None:
    """Whose operations are wanted must be said, and be there."""
    assert (await refused(door(standing.beta.channel).ListOperations(request_))).what == (code, reason)
