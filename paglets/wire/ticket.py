"""A transfer ticket as a message and back; an unset message is a ticket that asks for nothing."""

from __future__ import annotations

from paglet.v1 import types_pb2
from paglets.errors import InvalidArgumentError
from paglets.values import ArrivalMode, TransferTicket, check_id, tidy_tags
from paglets.wire.policy import policy_from_message, policy_to_message
from paglets.wire.times import duration_from_message, duration_to_message

__all__ = ["checked_ticket", "ticket_from_message", "ticket_to_message"]

_MAX_DEADLINE_S = 7 * 24 * 3600.0
_MAX_RETRIES = 100
_MAX_TYPES = 100
_MAX_TAGS = 100

_MODES = {mode: types_pb2.ArrivalMode.Value(f"ARRIVAL_MODE_{mode.name}") for mode in ArrivalMode}
_MODES_BACK = {types_pb2.ARRIVAL_MODE_UNSPECIFIED: ArrivalMode.ACTIVE, **{n: mode for mode, n in _MODES.items()}}


def checked_ticket(ticket: TransferTicket) -> TransferTicket:
    """A ticket as it is when it has come over the wire. Raises as `ticket_to_message` and `ticket_from_message`."""
    return ticket_from_message(ticket_to_message(ticket), "ticket")


def ticket_to_message(ticket: TransferTicket) -> types_pb2.TransferTicket:
    """A ticket as a message. Raises MALFORMED_REQUEST for what no message can hold."""
    try:
        return _to_message(ticket)
    except (TypeError, ValueError, LookupError) as error:
        raise _malformed("ticket", f"this is no ticket: {error!r}") from error


def _to_message(ticket: TransferTicket) -> types_pb2.TransferTicket:
    return types_pb2.TransferTicket(
        deadline=None if ticket.deadline_s is None else duration_to_message(ticket.deadline_s, "ticket.deadline"),
        retries=ticket.retries,
        required_types=ticket.required_types,
        required_tags=ticket.required_tags,
        state_version=ticket.state_version,
        arrival=_MODES[ticket.arrival],
        policy=None if ticket.policy is None else policy_to_message(ticket.policy),
    )


def ticket_from_message(message: types_pb2.TransferTicket, field: str) -> TransferTicket:
    """A message as a ticket.

    Raises MALFORMED_REQUEST, or INVALID_ID for what can be no tag, naming what is out of bounds below `field`.
    """
    deadline_s = duration_from_message(message.deadline) if message.HasField("deadline") else None
    if deadline_s is not None and not 0 < deadline_s <= _MAX_DEADLINE_S:
        raise _malformed(f"{field}.deadline", f"a deadline is above 0 and at most 7 days, got {deadline_s:g} s")
    if not 0 <= message.retries <= _MAX_RETRIES:
        raise _malformed(f"{field}.retries", f"there are 0 to {_MAX_RETRIES} retries, got {message.retries}")
    if len(message.required_types) > _MAX_TYPES:
        raise _malformed(f"{field}.required_types", f"a ticket names at most {_MAX_TYPES} types")
    if len(message.required_tags) > _MAX_TAGS:
        raise _malformed(f"{field}.required_tags", f"a ticket names at most {_MAX_TAGS} tags")
    required_tags = tidy_tags(message.required_tags)
    for tag in required_tags:
        check_id(tag, f"{field}.required_tags")
    if message.state_version < 0:
        raise _malformed(f"{field}.state_version", f"there is no state version {message.state_version}")
    arrival = _MODES_BACK.get(message.arrival)
    if arrival is None:
        raise _malformed(f"{field}.arrival", f"there is no arrival mode {message.arrival}")
    if message.HasField("policy") and arrival is not ArrivalMode.INACTIVE:
        raise _malformed(f"{field}.policy", "a policy is for those that arrive INACTIVE")
    return TransferTicket(
        deadline_s=deadline_s,
        retries=message.retries,
        required_types=tuple(message.required_types),
        required_tags=required_tags,
        state_version=message.state_version,
        arrival=arrival,
        policy=policy_from_message(message.policy, f"{field}.policy") if message.HasField("policy") else None,
    )


def _malformed(field: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError("MALFORMED_REQUEST", message, field=field)
