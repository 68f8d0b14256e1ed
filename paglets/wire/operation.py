"""What is told of an operation, as its message and back."""

from __future__ import annotations

from paglet.v1 import operation_pb2 as pb
from paglets.operations import Idempotency, OperationInfo

__all__ = ["operation_from_message", "operation_to_message"]

_LEVELS = {level: pb.IdempotencyLevel.Value(f"IDEMPOTENCY_LEVEL_{level.name}") for level in Idempotency}
_LEVELS_BACK = {number: level for level, number in _LEVELS.items()}


def operation_to_message(info: OperationInfo) -> pb.Operation:
    """The message of what is told of an operation."""
    return pb.Operation(
        name=info.name,
        request_type=info.request_type,
        reply_type=info.reply_type,
        client_streaming=info.client_streaming,
        server_streaming=info.server_streaming,
        idempotency_level=_LEVELS[info.idempotency],
    )


def operation_from_message(message: pb.Operation) -> OperationInfo:
    """What a message tells of an operation; a level that is not known here promises nothing."""
    return OperationInfo(
        name=message.name,
        request_type=message.request_type,
        reply_type=message.reply_type,
        client_streaming=message.client_streaming,
        server_streaming=message.server_streaming,
        idempotency=_LEVELS_BACK.get(message.idempotency_level, Idempotency.UNSPECIFIED),
    )
