"""The service of the porter: made of well-known messages, it needs no compiler to be called."""

from __future__ import annotations

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, wrappers_pb2
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.wrappers_pb2 import StringValue

__all__ = ["PORTER", "PorterStub"]

_PACKAGE = "paglets.tests.porter.v1"
_TEXT = wrappers_pb2.StringValue.DESCRIPTOR
_REQUESTS = {"Upload": _TEXT}


def _describe() -> ServiceDescriptor:
    file = descriptor_pb2.FileDescriptorProto(
        name="paglets/tests/porter/v1/porter.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[_TEXT.file.name],
    )
    service = file.service.add(name="PorterService")
    for name, request in _REQUESTS.items():
        service.method.add(name=name, input_type=f".{request.full_name}", output_type=f".{_TEXT.full_name}")
    pool = descriptor_pool.Default()
    pool.Add(file)
    return pool.FindServiceByName(f"{_PACKAGE}.PorterService")


PORTER = _describe()
"""Every rpc answers a text."""


class PorterStub:
    """What a compiler would make of it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        def unary(name: str) -> str:
            return f"/{PORTER.full_name}/{name}"

        text = StringValue.SerializeToString
        self.Upload = channel.unary_unary(unary("Upload"), text, StringValue.FromString)
