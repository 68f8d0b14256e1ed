"""The service of the porter: its requests are artifacts, or texts. It needs no compiler to be called."""

from __future__ import annotations

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, wrappers_pb2
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.wrappers_pb2 import StringValue

from paglet.v1 import artifact_pb2

__all__ = ["PORTER", "PorterStub"]

_PACKAGE = "paglets.tests.porter.v1"
_TEXT = wrappers_pb2.StringValue.DESCRIPTOR
_ARTIFACT = artifact_pb2.Artifact.DESCRIPTOR
_REQUESTS = {"Note": _ARTIFACT, "Take": _ARTIFACT, "Refuse": _ARTIFACT, "Upload": _TEXT, "PassOn": _TEXT}


def _describe() -> ServiceDescriptor:
    file = descriptor_pb2.FileDescriptorProto(
        name="paglets/tests/porter/v1/porter.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[_TEXT.file.name, _ARTIFACT.file.name],
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

        artifact, text = artifact_pb2.Artifact.SerializeToString, StringValue.SerializeToString
        self.Note = channel.unary_unary(unary("Note"), artifact, StringValue.FromString)
        self.Take = channel.unary_unary(unary("Take"), artifact, StringValue.FromString)
        self.Refuse = channel.unary_unary(unary("Refuse"), artifact, StringValue.FromString)
        self.Upload = channel.unary_unary(unary("Upload"), text, StringValue.FromString)
        self.PassOn = channel.unary_unary(unary("PassOn"), text, StringValue.FromString)
