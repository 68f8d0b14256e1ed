"""Points in time and spans as protobuf has them, and as the house has them: seconds in a float.

A point in time from 1971 on survives the way there and back exactly; 0.0, which is unknown, is an unset message.
"""

from __future__ import annotations

import math

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from paglets.errors import InvalidArgumentError

__all__ = ["duration_from_message", "duration_to_message", "time_from_message", "time_to_message"]

_NANOS = 1_000_000_000
_MAX_SECONDS = 315_576_000_000
"""What a Duration may have: 10 000 years."""


def time_to_message(seconds: float) -> Timestamp | None:
    """Seconds since the epoch as a Timestamp; None, which protobuf takes for unset, for 0.0."""
    return Timestamp(**_parts(seconds)) if seconds else None


def time_from_message(message: Timestamp) -> float:
    """A Timestamp as seconds since the epoch; 0.0 for an unset one."""
    return message.seconds + message.nanos / _NANOS


def duration_to_message(seconds: float, field: str = "") -> Duration:
    """Seconds as a Duration. Raises MALFORMED_REQUEST naming `field` for a span that none can hold."""
    if not abs(seconds) <= _MAX_SECONDS:
        wanted = f"a number of seconds, at most {_MAX_SECONDS}"
        raise InvalidArgumentError("MALFORMED_REQUEST", f"{field or 'a span'} is {wanted}, got {seconds}", field=field)
    return Duration(**_parts(seconds))


def duration_from_message(message: Duration) -> float:
    """A Duration as seconds."""
    return message.seconds + message.nanos / _NANOS


def _parts(seconds: float) -> dict[str, int]:
    whole = math.floor(seconds)
    carry, nanos = divmod(round((seconds - whole) * _NANOS), _NANOS)
    return {"seconds": whole + carry, "nanos": nanos}
