"""Paglets and their journeys as messages and back."""

from __future__ import annotations

from paglet.v1 import lifecycle_pb2
from paglets.values import JourneyInfo, JourneyPhase, PagletInfo
from paglets.wire.states import state_from_message, state_to_message
from paglets.wire.times import time_from_message, time_to_message

__all__ = [
    "journey_info_from_message",
    "journey_info_to_message",
    "paglet_info_from_message",
    "paglet_info_to_message",
]

_PHASES = {phase: lifecycle_pb2.JourneyPhase.Value(f"JOURNEY_PHASE_{phase.name}") for phase in JourneyPhase}
_PHASES_BACK = {number: phase for phase, number in _PHASES.items()}


def paglet_info_to_message(paglet: PagletInfo) -> lifecycle_pb2.Paglet:
    """A paglet as a message."""
    return lifecycle_pb2.Paglet(
        paglet_id=paglet.paglet_id,
        type=paglet.type,
        host=paglet.host,
        address=paglet.address,
        state=state_to_message(paglet.state),
        epoch=paglet.epoch,
        create_time=time_to_message(paglet.created_at),
        journey=journey_info_to_message(paglet.journey) if paglet.journey else None,
        error=paglet.error,
        services=paglet.services,
        stuck=paglet.stuck,
        run_error=paglet.run_error,
    )


def paglet_info_from_message(message: lifecycle_pb2.Paglet) -> PagletInfo:
    """A message as a paglet."""
    return PagletInfo(
        paglet_id=message.paglet_id,
        type=message.type,
        host=message.host,
        address=message.address,
        state=state_from_message(message.state, "state"),
        epoch=message.epoch,
        created_at=time_from_message(message.create_time),
        journey=journey_info_from_message(message.journey) if message.HasField("journey") else None,
        error=message.error,
        services=tuple(message.services),
        stuck=message.stuck,
        run_error=message.run_error,
    )


def journey_info_to_message(journey: JourneyInfo) -> lifecycle_pb2.Journey:
    """A journey as a message."""
    return lifecycle_pb2.Journey(
        transfer_id=journey.transfer_id,
        source=journey.source,
        target=journey.target,
        phase=_PHASES[journey.phase],
        bytes_done=journey.bytes_done,
        bytes_total=journey.bytes_total,
        start_time=time_to_message(journey.started_at),
    )


def journey_info_from_message(message: lifecycle_pb2.Journey) -> JourneyInfo:
    """A message as a journey."""
    return JourneyInfo(
        transfer_id=message.transfer_id,
        source=message.source,
        target=message.target,
        phase=_PHASES_BACK.get(message.phase, JourneyPhase.QUIESCE),
        bytes_done=message.bytes_done,
        bytes_total=message.bytes_total,
        started_at=time_from_message(message.start_time),
    )
