"""The envelope of the generic door: what a call's says beside the metadata, and the one that its reply comes in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage

from paglet.v1 import operation_pb2 as pb
from paglets.core.paglet import Paglet
from paglets.errors import InvalidArgumentError, PreconditionError
from paglets.services.call_meta import CallMeta, check_request_id
from paglets.wire.channel_options import MAX_MESSAGE_BYTES

__all__ = ["enveloped", "opened"]

_TYPE_PREFIX = "type.googleapis.com/"


def opened(meta: CallMeta, request: pb.InvokeOperationRequest) -> CallMeta:
    """The metadata of a call, with what its envelope says beside them. Raises MALFORMED_REQUEST."""
    request_id = check_request_id(request.request_id, "request_id")
    if request_id and meta.request_id and request_id != meta.request_id:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST",
            f"the request says request id {request_id!r}, the metadata say {meta.request_id!r}: give one of them",
            field="request_id",
        )
    return replace(meta, request_id=request_id or meta.request_id, awake_only=meta.awake_only or request.require_active)


def enveloped(path: str, paglet_type: type[Paglet[Any]], data: bytes) -> bytes:
    """The reply with its type, as far as that is known. Raises REPLY_TOO_LARGE."""
    handler = paglet_type.handlers.get(path)
    type_url = "" if handler is None else _TYPE_PREFIX + handler.operation.reply_class.DESCRIPTOR.full_name
    reply = AnyMessage(type_url=type_url, value=data)
    envelope = pb.InvokeOperationResponse(reply=reply).SerializeToString()
    if len(envelope) > MAX_MESSAGE_BYTES:
        operation = path.removeprefix("/")
        raise PreconditionError(
            "REPLY_TOO_LARGE",
            f"{operation} has run, but its reply of {len(data)} bytes does not fit into a message with its type:"
            " call it by its own rpc, with the same request id",
            metadata={"operation": operation, "reply_bytes": str(len(data))},
        )
    return envelope
