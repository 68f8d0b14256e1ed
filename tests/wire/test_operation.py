"""What is told of an operation is the same on both sides of the wire."""

from __future__ import annotations

import itertools

import pytest

from paglet.v1 import artifact_pb2, operation_pb2
from paglets.operations import Idempotency, OperationInfo, ServiceContract
from paglets.wire.operation import operation_from_message, operation_to_message

ARITIES = list(itertools.product([False, True], repeat=2))


@pytest.mark.parametrize("level", Idempotency)
@pytest.mark.parametrize(("client", "server"), ARITIES)
def test_there_and_back(level: Idempotency, client: bool, server: bool) -> None:  # noqa: FBT001 - parameters
    """Every level and arity."""
    info = OperationInfo(
        name="a.B/C",
        request_type="a.D",
        reply_type="a.E",
        client_streaming=client,
        server_streaming=server,
        idempotency=level,
    )
    assert operation_from_message(operation_to_message(info)) == info


def test_level_of_later_promises_nothing() -> None:
    """A level that a newer host tells of is taken as none."""
    message = operation_pb2.Operation.FromString(b"\x30\x63")
    assert message.idempotency_level == 99
    assert operation_from_message(message).idempotency is Idempotency.UNSPECIFIED


def test_view_of_a_descriptor() -> None:
    """What is told of an rpc is what its proto says."""
    contract = ServiceContract(artifact_pb2.DESCRIPTOR.services_by_name["ArtifactService"])
    told = {operation.info.name.rpartition("/")[2]: operation.info for operation in contract.operations}
    write, read, get = told["WriteArtifact"], told["ReadArtifact"], told["GetArtifact"]
    assert (write.client_streaming, write.server_streaming) == (True, False)
    assert (read.client_streaming, read.server_streaming) == (False, True)
    assert get == OperationInfo(
        name="paglet.v1.ArtifactService/GetArtifact",
        request_type="paglet.v1.GetArtifactRequest",
        reply_type="paglet.v1.GetArtifactResponse",
        idempotency=Idempotency.NO_SIDE_EFFECTS,
    )
    assert told["DeleteArtifact"].idempotency is Idempotency.IDEMPOTENT
