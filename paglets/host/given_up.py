"""A move that was refused or given up: the paglet is told and goes on where it is, and whoever asked has the error."""

from __future__ import annotations

import logging

from paglets.core.turn import OwnRequest
from paglets.errors import ConflictError, PagletError, Resource, UnavailableError
from paglets.host.activities import hook_limits
from paglets.host.journey import Journey
from paglets.host.parts import HostParts
from paglets.host.records import Departure
from paglets.host.resident import Resident
from paglets.wire.status import to_status

__all__ = ["cut_journey", "drop_request", "forgo", "give_up", "keep_error", "refuse", "resume"]

_log = logging.getLogger(__name__)


async def refuse(parts: HostParts, resident: Resident, own: OwnRequest | None, error: PagletError) -> None:
    """A move was refused before it began: the paglet is told, and is not moved by the same request again.

    Of a host that ends it is not told: the request is taken up when the host is started again.
    """
    if error.reason == "SHUTTING_DOWN":
        return
    await drop_request(parts, resident, own)
    await resident.activities.queued_hook(resident.paglet.on_dispatch_aborted, error)
    resident.take_up()


def forgo(resident: Resident, own: OwnRequest | None, error: BaseException) -> None:
    """What the paglet asked for is refused, unless it is done later: that it goes on must not begin it again.

    At once, in the turn of the loop in which the error came: a paglet that could not be quieted goes on by then.
    """
    final = isinstance(error, PagletError) and not isinstance(error, UnavailableError)
    if final and own is not None and resident.own_request == own:
        resident.own_request = None


async def give_up(parts: HostParts, resident: Resident, journey: Journey, error: PagletError) -> None:
    """A frozen paglet, whose row bears no intent, goes on; the error is kept for whoever asked for its journey."""
    await keep_error(resident, journey.departure, error)
    await drop_request(parts, resident, journey.own_request)
    await resume(parts, resident, error)


async def resume(parts: HostParts, resident: Resident, error: PagletError) -> None:
    """Lets a paglet whose journey was given up go on; it is told first, and has the quiesce time for that."""
    try:
        async with hook_limits("on_dispatch_aborted", parts.settings.quiesce_s):
            await resident.activities.hook(resident.paglet.on_dispatch_aborted, error)
    except PagletError as failed:
        _log.error("on_dispatch_aborted of paglet %s failed: %s", resident.paglet_id, failed)
    resident.open()


async def keep_error(resident: Resident, departure: Departure, error: PagletError) -> None:
    """The move's request has run; who asks again gets the same error, while there is a paglet to ask.

    Unless that is UNAVAILABLE, which tells him to ask again: the paglet is where it was, and is moved anew then.
    """
    if not departure.request_id or isinstance(error, UnavailableError):
        return
    key = (departure.principal, departure.request_id)
    made = resident.book.make(key, departure.fingerprint, status=to_status(error).SerializeToString())
    try:
        await resident.runner.store(made, resident.book.add(made))
    except ConflictError:
        _log.info("paglet %s is gone, and with it what its requests did", resident.paglet_id)


async def drop_request(parts: HostParts, resident: Resident, own: OwnRequest | None) -> None:
    """What the paglet asked for, if it did, is done, or will not be done."""
    if own is None:
        return
    if resident.own_request == own:
        resident.own_request = None
    await parts.journal.drop_own_request(resident.paglet_id, own)


def cut_journey(departure: Departure) -> ConflictError:
    """Why a journey ended at a restart."""
    return ConflictError(
        "JOURNEY_ABORTED",
        f"the journey of paglet {departure.paglet_id} to {departure.target} was cut by a restart of its host",
        resource=Resource("paglet", departure.paglet_id),
        metadata={"transfer_id": departure.transfer_id},
    )
