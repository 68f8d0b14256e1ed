"""A deactivation policy survives the wire, and an unset message is a policy of defaults."""

from __future__ import annotations

import math

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from paglet.v1 import types_pb2
from paglets.errors import InvalidArgumentError
from paglets.values import DeactivationPolicy
from paglets.wire.policy import policy_from_message, policy_to_message

_CHOSEN = DeactivationPolicy(
    activate_on_message=False, queue_posts=False, activate_on_startup=True, activate_at=1_900_000_000.25
)


@pytest.mark.parametrize("policy", [DeactivationPolicy(), _CHOSEN])
def test_there_and_back(policy: DeactivationPolicy) -> None:
    """Every field comes back as it went."""
    assert policy_from_message(policy_to_message(policy), "policy") == policy


def test_unset_is_default() -> None:
    """Whoever says nothing gets the defaults."""
    assert policy_from_message(types_pb2.DeactivationPolicy(), "policy") == DeactivationPolicy()


@pytest.mark.parametrize("seconds", [-1, 0, 253_402_300_800])
def test_time_that_is_none_is_refused(seconds: int) -> None:
    """The field is named as it is on the wire."""
    message = types_pb2.DeactivationPolicy(activate_time=Timestamp(seconds=seconds))
    with pytest.raises(InvalidArgumentError) as caught:
        policy_from_message(message, "policy")
    assert (caught.value.reason, caught.value.field) == ("MALFORMED_REQUEST", "policy.activate_time")


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0, 0.0])
def test_policy_of_no_time_is_refused(seconds: float) -> None:
    """Where it is made, before anything is asked of anybody."""
    with pytest.raises(InvalidArgumentError, match="no time"):
        DeactivationPolicy(activate_at=seconds)


@pytest.mark.parametrize("name", ["activate_on_message", "queue_posts", "activate_on_startup"])
def test_switch_that_is_none_is_refused(name: str) -> None:
    """A policy is kept as it is given: one that cannot be read again would keep its paglet at rest for ever."""
    with pytest.raises(InvalidArgumentError) as caught:
        DeactivationPolicy(**{name: "no"})  # pyright: ignore[reportArgumentType] - the mistake that is tested
    assert (caught.value.reason, caught.value.field) == ("MALFORMED_REQUEST", name)
