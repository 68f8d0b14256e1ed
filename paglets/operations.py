"""Operations and contracts as views of protobuf descriptors: never typed in twice."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from paglets.discovery import ServiceQuery, ServiceScope, package_version
from paglets.errors import InvalidArgumentError

__all__ = [
    "Idempotency",
    "OperationInfo",
    "ServiceContract",
    "ServiceOperation",
    "contract_of",
    "near_name",
    "query_of",
    "resident_id",
    "snake_case",
    "streams",
]

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake_case(name: str) -> str:
    """`GetHTTPStatus` as `get_http_status`: the Python name of an rpc."""
    return _WORD_START.sub("_", name).lower()


def near_name(name: str, known: Iterable[str]) -> str:
    """What to add to a sentence about a name that nobody knows: `; did you mean ...?`, or nothing."""
    by_letters = {other.lower(): other for other in known}
    last = name.lower().rpartition(".")[2]
    same = [other for other in by_letters if other.rpartition(".")[2] == last]
    found = difflib.get_close_matches(name.lower(), by_letters, n=1) or same
    return f"; did you mean {by_letters[found[0]]}?" if found else ""


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

    def require_unary(self) -> None:
        """Raises OPERATION_STREAMS for an operation that one request and one reply are not enough for."""
        if not self.is_unary:
            raise streams(self.full_name, ", with the metadata paglet-id")

    def require_messages(self, request: type[Message], reply: type[Message] | None = None) -> None:
        """Raises CONTRACT_VIOLATED unless it takes such requests and gives such replies, told by their full names."""
        for verb, wanted, found in (
            ("takes", self.descriptor.input_type, request),
            ("gives", self.descriptor.output_type, reply),
        ):
            if found is not None and found.DESCRIPTOR.full_name != wanted.full_name:
                raise _violated(
                    self.descriptor.containing_service.full_name,
                    self.full_name,
                    f"{self.full_name} {verb} a {wanted.full_name}, not a {found.DESCRIPTOR.full_name}",
                )

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
        return package_version(self.descriptor.file.package)

    @cached_property
    def operations(self) -> tuple[ServiceOperation, ...]:
        """The rpcs in the order of the proto."""
        return tuple(ServiceOperation(method) for method in self.descriptor.methods)

    def require_operation(self, name: str) -> ServiceOperation:
        """The operation `Method`, or `pkg.Service/Method`. Raises CONTRACT_VIOLATED, naming those that there are."""
        method = name.removeprefix("/").removeprefix(f"{self.name}/")
        found = self.descriptor.methods_by_name.get(method)
        if found is None:
            known = [operation.name for operation in self.descriptor.methods]
            raise _violated(
                self.name,
                name,
                f"{self.name} has no operation {name!r}, it has {', '.join(known)}{near_name(method, known)}",
            )
        return ServiceOperation(found)


def streams(name: str, how: str = "") -> InvalidArgumentError:
    """What is said of an rpc that one request and one reply are not enough for; `how` else it is called."""
    return InvalidArgumentError(
        "OPERATION_STREAMS",
        f"{name} takes or gives a stream, and this has one request and one reply: call it by its own rpc{how}",
        metadata={"operation": name},
        field="operation",
    )


def _violated(contract: str, operation: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        "CONTRACT_VIOLATED", message, metadata={"contract": contract, "operation": operation}, field="operation"
    )


def contract_of(service: ServiceContract | ServiceDescriptor) -> ServiceContract:
    """The contract of a service that is given by its descriptor, or is one already."""
    return service if isinstance(service, ServiceContract) else ServiceContract(service)


def query_of(
    service: ServiceContract | ServiceDescriptor,
    *,
    operation: str = "",
    tags: tuple[str, ...] = (),
    scope: ServiceScope = ServiceScope.MESH,
) -> ServiceQuery:
    """Asks for what a client needs: the one `operation`, by the name of its rpc, or all that its contract has.

    Raises CONTRACT_VIOLATED for an operation that the contract does not have.
    """
    contract = contract_of(service)
    needed = (contract.require_operation(operation),) if operation else contract.operations
    names = tuple(found.descriptor.name for found in needed)
    return ServiceQuery(service=contract.name, operations=names, tags=tags, scope=scope)


def resident_id(service: str) -> str:
    """The id of a resident service that is given none: `service.` and the service's name in small letters."""
    package, dot, name = service.rpartition(".")
    return f"service.{package.lower()}{dot}{snake_case(name).replace('_', '-')}"
