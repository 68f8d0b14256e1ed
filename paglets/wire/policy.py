"""A deactivation policy as a message and back; an unset message is a policy of defaults."""

from __future__ import annotations

from paglet.v1 import types_pb2
from paglets.errors import InvalidArgumentError
from paglets.values import DeactivationPolicy
from paglets.wire.times import time_from_message, time_to_message

__all__ = ["policy_from_message", "policy_to_message"]


def policy_to_message(policy: DeactivationPolicy) -> types_pb2.DeactivationPolicy:
    """A policy as a message."""
    return types_pb2.DeactivationPolicy(
        keep_on_message=not policy.activate_on_message,
        refuse_posts=not policy.queue_posts,
        activate_on_startup=policy.activate_on_startup,
        activate_time=None if policy.activate_at is None else time_to_message(policy.activate_at),
    )


def policy_from_message(message: types_pb2.DeactivationPolicy, field: str) -> DeactivationPolicy:
    """A message as a policy. Raises MALFORMED_REQUEST naming `field` for a time that is none."""
    try:
        return DeactivationPolicy(
            activate_on_message=not message.keep_on_message,
            queue_posts=not message.refuse_posts,
            activate_on_startup=message.activate_on_startup,
            activate_at=time_from_message(message.activate_time) if message.HasField("activate_time") else None,
        )
    except InvalidArgumentError as error:
        raise InvalidArgumentError(error.reason, error.message, field=f"{field}.activate_time") from error
