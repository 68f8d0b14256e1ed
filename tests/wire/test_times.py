"""Spans as messages: what no message can hold is refused by the field that it is for."""

from __future__ import annotations

import math

import pytest

from paglets.errors import InvalidArgumentError
from paglets.wire.times import duration_from_message, duration_to_message


@pytest.mark.parametrize("seconds", [math.inf, -math.inf, math.nan, 1e30, 315_576_000_001.0])
def test_span_that_no_message_can_hold_is_refused(seconds: float) -> None:
    """It is a mistake of the caller, and nothing has been sent."""
    with pytest.raises(InvalidArgumentError, match="wait is a number of seconds") as caught:
        duration_to_message(seconds, "wait")
    assert (caught.value.reason, caught.value.field) == ("MALFORMED_REQUEST", "wait")


@pytest.mark.parametrize("seconds", [0.0, 0.25, 1e-9, 86400.5, 315_576_000_000.0])
def test_any_other_comes_back(seconds: float) -> None:
    """As it was."""
    assert duration_from_message(duration_to_message(seconds)) == seconds
