"""What hostile callers send, and what every answer to them must be."""

from __future__ import annotations

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from paglet.v1 import directory_pb2, lifecycle_pb2, mesh_pb2, operation_pb2, transfer_pb2
from paglet.v1.errors_pb2 import ErrorReason
from tests.host.conftest import Mesh
from tests.host.support import Refusal, ask, call, refused

__all__ = [
    "ABORTED",
    "BAD_ID",
    "BAD_IDS",
    "GARBAGE",
    "ILLEGAL",
    "INVALID",
    "MALFORMED",
    "METHODS",
    "MISSING",
    "UNKNOWN_OPERATION",
    "assert_clear",
    "assert_lives",
    "path_of",
    "send",
]

INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
ILLEGAL, ABORTED = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ABORTED
UNKNOWN_OPERATION = (grpc.StatusCode.UNIMPLEMENTED, "OPERATION_NOT_FOUND")
MALFORMED, BAD_ID = (INVALID, "MALFORMED_REQUEST"), (INVALID, "INVALID_ID")
REASONS = ErrorReason.DESCRIPTOR.values_by_name
BAD_IDS = ["", "..", "/", "a/b", "UPPER", "a" * 200, "ä", "a\0b", "-a", "a b", "a\n"]
PROTOS = (lifecycle_pb2, operation_pb2, mesh_pb2, transfer_pb2, directory_pb2)
METHODS = [
    method for proto in PROTOS for service in proto.DESCRIPTOR.services_by_name.values() for method in service.methods
]
GARBAGE = (b"\xff", b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", b"\x08")


def path_of(method: MethodDescriptor) -> str:
    """The path of an rpc."""
    return f"/{method.containing_service.full_name}/{method.name}"


def assert_clear(refusal: Refusal) -> None:
    """A refusal has a reason of the closed list, and tells nothing of what is inside."""
    assert refusal.domain == "paglet", refusal
    assert f"ERROR_REASON_{refusal.reason}" in REASONS
    assert refusal.code not in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}, refusal
    assert "Traceback" not in refusal.message
    assert "Unexpected <class" not in refusal.message


async def send(mesh: Mesh, rpc: str, request: Message, **metadata: str) -> Refusal:
    """How alpha refuses a request; `lifecycle.GetPaglet` stands for the whole path."""
    service, _, method = rpc.partition(".")
    path = f"/paglet.v1.{service.capitalize()}Service/{method}"
    sent = [(key.replace("_", "-"), value) for key, value in metadata.items()]
    refusal = await refused(call(mesh.alpha.channel, path, request.SerializeToString(), metadata=sent))
    assert_clear(refusal)
    return refusal


async def assert_lives(mesh: Mesh) -> None:
    """Whether both hosts answer as before."""
    for channel in (mesh.alpha.channel, mesh.beta.channel):
        assert (await ask(channel, "probe", "Read")).text == ""
