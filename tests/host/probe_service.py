"""The service of the probe: made of well-known messages, so that no compiler is needed to call it."""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, wrappers_pb2
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

__all__ = ["PACKAGE", "PROBE", "SERVICE"]

PACKAGE = "paglets.tests.probe.v1"
SERVICE = f"{PACKAGE}.ProbeService"
_TEXT = wrappers_pb2.StringValue.DESCRIPTOR.full_name
_TURNS = (
    "Append",
    "AppendInThread",
    "Hold",
    "HoldInThread",
    "HoldInWorker",
    "Look",
    "Fail",
    "Spoil",
    "Repeat",
    "Ask",
    "Wrong",
    "Strict",
    "Post",
    "PostInThread",
    "Relay",
)
_READS = ("Read", "ReadInThread", "HoldRead", "Scribble", "WaitFor", "RelayRead")


def _describe() -> ServiceDescriptor:
    file = descriptor_pb2.FileDescriptorProto(
        name="paglets/tests/probe/v1/probe.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    service = file.service.add(name="ProbeService")
    for name in (*_TURNS, *_READS):
        method = service.method.add(name=name, input_type=f".{_TEXT}", output_type=f".{_TEXT}")
        if name in _READS:
            method.options.idempotency_level = MethodOptions.NO_SIDE_EFFECTS
    pool = descriptor_pool.Default()
    pool.Add(file)
    return pool.FindServiceByName(SERVICE)


PROBE = _describe()
"""Every rpc takes and gives one text."""
