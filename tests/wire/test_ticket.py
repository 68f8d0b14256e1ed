"""Tickets survive the wire, and what is no ticket is refused at the door."""

from __future__ import annotations

import math

import pytest
from google.protobuf.duration_pb2 import Duration

from paglet.v1 import types_pb2
from paglets.errors import InvalidArgumentError
from paglets.values import ArrivalMode, DeactivationPolicy, TransferTicket
from paglets.wire.ticket import ticket_from_message, ticket_to_message

TICKETS = [
    TransferTicket(),
    TransferTicket(deadline_s=0.25, retries=100, required_types=("shop.Cart", "shop.Till"), state_version=3),
    TransferTicket(required_tags=("fast", "gpu")),
    TransferTicket(arrival=ArrivalMode.INACTIVE),
    TransferTicket(arrival=ArrivalMode.INACTIVE, policy=DeactivationPolicy(activate_at=1.5)),
]

WILD = {
    "deadline": types_pb2.TransferTicket(deadline=Duration(seconds=-1)),
    "retries": types_pb2.TransferTicket(retries=101),
    "required_types": types_pb2.TransferTicket(required_types=["shop.Cart"] * 101),
    "required_tags": types_pb2.TransferTicket(required_tags=["gpu"] * 101),
    "state_version": types_pb2.TransferTicket(state_version=-1),
    "policy": types_pb2.TransferTicket(policy=types_pb2.DeactivationPolicy()),
}


@pytest.mark.parametrize("ticket", TICKETS, ids=str)
def test_there_and_back(ticket: TransferTicket) -> None:
    """Whatever a ticket asks for is asked for on the other side."""
    assert ticket_from_message(ticket_to_message(ticket), "ticket") == ticket


def test_unset_ticket_asks_for_nothing() -> None:
    """A request without a ticket has one of defaults."""
    assert ticket_from_message(types_pb2.TransferTicket(), "ticket") == TransferTicket()


@pytest.mark.parametrize("field", WILD)
def test_out_of_bounds(field: str) -> None:
    """A field out of bounds is refused by its name."""
    with pytest.raises(InvalidArgumentError) as caught:
        ticket_from_message(WILD[field], "ticket")
    assert (caught.value.reason, caught.value.field) == ("MALFORMED_REQUEST", f"ticket.{field}")


@pytest.mark.parametrize("tag", ["", "No Tag", "x" * 129])
def test_what_can_be_no_tag(tag: str) -> None:
    """A tag that no host can have is a mistake, not a host that lacks it."""
    with pytest.raises(InvalidArgumentError) as caught:
        ticket_from_message(types_pb2.TransferTicket(required_tags=["gpu", tag]), "ticket")
    assert (caught.value.reason, caught.value.field) == ("INVALID_ID", "ticket.required_tags")


def test_unknown_arrival_mode() -> None:
    """A mode that is none is refused: it might mean that no hook may run."""
    message = types_pb2.TransferTicket.FromString(bytes([5 << 3, 9]))
    with pytest.raises(InvalidArgumentError) as caught:
        ticket_from_message(message, "ticket")
    assert caught.value.field == "ticket.arrival"


def test_endless_deadline() -> None:
    """No message holds an infinite deadline: none at all is what that is."""
    with pytest.raises(InvalidArgumentError):
        ticket_to_message(TransferTicket(deadline_s=math.inf))
