"""The error of one item of many, as a message and back: what a status is to a call."""

from __future__ import annotations

from paglet.v1 import artifact_pb2
from paglets.errors import PagletError, Resource, error_for
from paglets.wire.times import duration_from_message, duration_to_message

__all__ = ["error_from_item", "error_to_item"]


def error_to_item(error: PagletError) -> artifact_pb2.ItemError:
    """An error as a message."""
    resource, delay = error.resource, error.retry_after_s
    return artifact_pb2.ItemError(
        code=error.code,
        reason=error.reason,
        message=error.message,
        metadata=error.metadata,
        field=error.field,
        resource_type="" if resource is None else resource.kind,
        resource_name="" if resource is None else resource.name,
        retry_delay=None if delay is None else duration_to_message(delay),
    )


def error_from_item(message: artifact_pb2.ItemError) -> PagletError:
    """A message as the error that was raised at the host: the same class with the same fields."""
    kind = message.resource_type
    return error_for(message.code)(
        message.reason,
        message.message,
        resource=Resource(kind, message.resource_name) if kind else None,
        metadata=dict(message.metadata),
        retry_after_s=duration_from_message(message.retry_delay) if message.HasField("retry_delay") else None,
        field=message.field,
    )
