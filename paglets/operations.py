"""Operations and contracts as views of protobuf descriptors: never typed in twice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

__all__ = ["Idempotency", "OperationInfo", "ServiceContract", "ServiceOperation", "snake_case"]

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake_case(name: str) -> str:
    """`GetHTTPStatus` as `get_http_status`: the Python name of an rpc."""
    return _WORD_START.sub("_", name).lower()


class Idempotency(StrEnum):
    """What a proto says of a repetition, by its option `idempotency_level`."""

    UNSPECIFIED = "unspecified"
    NO_SIDE_EFFECTS = "no_side_effects"
    IDEMPOTENT = "idempotent"


_IDEMPOTENCY = {
    MethodOptions.NO_SIDE_EFFECTS: Idempotency.NO_SIDE_EFFECTS,
    MethodOptions.IDEMPOTENT: Idempotency.IDEMPOTENT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationInfo:
    """What is told of an operation to whoever has no descriptor of it: names of messages, arity and idempotency."""

    name: str
    request_type: str
    reply_type: str
    client_streaming: bool = False
    server_streaming: bool = False
    idempotency: Idempotency = Idempotency.UNSPECIFIED


@dataclass(frozen=True)
class ServiceOperation:
    """One rpc of a protobuf service."""

    descriptor: MethodDescriptor

    @cached_property
    def full_name(self) -> str:
        """`pkg.Service/Method`."""
        return f"{self.descriptor.containing_service.full_name}/{self.descriptor.name}"

    @cached_property
    def path(self) -> str:
        """The name on the wire: `/pkg.Service/Method`."""
        return "/" + self.full_name

    @cached_property
    def request_class(self) -> type[Message]:
        """The message class of the request."""
        return GetMessageClass(self.descriptor.input_type)

    @cached_property
    def reply_class(self) -> type[Message]:
        """The message class of the reply."""
        return GetMessageClass(self.descriptor.output_type)

    @cached_property
    def is_unary(self) -> bool:
        """Whether one request gets one reply."""
        return not (self.descriptor.client_streaming or self.descriptor.server_streaming)

    @cached_property
    def is_read_only(self) -> bool:
        """Whether the proto says that the operation has no side effects."""
        return self.idempotency is Idempotency.NO_SIDE_EFFECTS

    @cached_property
    def idempotency(self) -> Idempotency:
        """What the proto says of a repetition."""
        return _IDEMPOTENCY.get(self.descriptor.GetOptions().idempotency_level, Idempotency.UNSPECIFIED)

    @cached_property
    def info(self) -> OperationInfo:
        """What is told of it."""
        return OperationInfo(
            name=self.full_name,
            request_type=self.descriptor.input_type.full_name,
            reply_type=self.descriptor.output_type.full_name,
            client_streaming=self.descriptor.client_streaming,
            server_streaming=self.descriptor.server_streaming,
            idempotency=self.idempotency,
        )


@dataclass(frozen=True)
class ServiceContract:
    """One protobuf service; its version is the last part of its package, e.g. `v1`."""

    descriptor: ServiceDescriptor

    @property
    def name(self) -> str:
        """`pkg.Service`."""
        return self.descriptor.full_name

    @cached_property
    def version(self) -> str:
        """The package's version, empty for a package without one."""
        last = self.descriptor.file.package.rpartition(".")[2]
        return last if re.fullmatch(r"v\d+\w*", last) else ""

    @cached_property
    def operations(self) -> tuple[ServiceOperation, ...]:
        """The rpcs in the order of the proto."""
        return tuple(ServiceOperation(method) for method in self.descriptor.methods)
