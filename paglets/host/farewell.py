"""After the commit, at the source: how the arrival ended, and what is left to let go of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from paglets.errors import (
    PagletError,
)
from paglets.faults import point
from paglets.host.files import RegisteredFile, delete_source
from paglets.host.journey import Outcome
from paglets.host.parts import HostParts
from paglets.host.records import Departure
from paglets.host.settle import backoff, until_reached
from paglets.offloop import off_loop
from paglets.values import FileMode, PagletState
from paglets.wire.states import state_from_message
from paglets.wire.status import from_status_bytes

__all__ = ["await_outcome", "forget_departed"]

_log = logging.getLogger(__name__)


async def await_outcome(parts: HostParts, departure: Departure, *, just_committed: bool = False) -> Outcome:
    """How the arrival ended, from the target or from the directory; it waits until one of them tells.

    Of a journey that was `just_committed` the directory has nothing to tell yet: the target is asked first.
    """
    attempt = 0
    while True:
        if attempt or not just_committed:
            outcome = await _recorded_outcome(parts, departure)
            if outcome is not None:
                return outcome
        if attempt:
            await asyncio.sleep(backoff(attempt))
        attempt += 1
        try:
            peer = await parts.peers.transfer(departure.target)
            reply = await peer.nudge(departure.transfer_id)
        except PagletError as error:
            _log.info("host %s does not tell of transfer %s yet: %s", departure.target, departure.transfer_id, error)
            continue
        failed = from_status_bytes(reply.status) if reply.status else None
        return Outcome(state_from_message(reply.state, "state"), failed)


async def _recorded_outcome(parts: HostParts, departure: Departure) -> Outcome | None:
    """What the directory says of the arrival; None while it is under way."""
    record = await until_reached(lambda: parts.directory.journey(departure.transfer_id))
    if record is None and await until_reached(lambda: parts.directory.get(departure.paglet_id)) is not None:
        return Outcome(PagletState.FAILED)  # nobody but this host deletes it, after it has dealt with the sources
    if record is None or record.state is PagletState.ARRIVING:
        return None
    return Outcome(record.state, from_status_bytes(record.status) if record.status else None)


async def forget_departed(parts: HostParts, departure: Departure, outcome: Outcome) -> None:
    """Step 8: deals with the sources, then lets go of all that is kept of the paglet. Safe to repeat."""
    point("journey.forget.before")
    if outcome.state is not PagletState.FAILED:
        await parts.store.delete_all([file.artifact_id for file in departure.files if file.artifact_id])
        await off_loop(_delete_moved, departure.files)
    point("journey.forget.sources")
    await until_reached(lambda: parts.directory.apply((), forget=(departure.transfer_id,)))
    point("journey.forget.directory")
    await parts.journal.end_departure(departure, left=True)
    point("journey.forget.after")


def _delete_moved(files: Sequence[RegisteredFile]) -> None:
    """Deletes the sources that were moved; those of this host's store are none."""
    for file in files:
        if not file.artifact_id and file.mode is FileMode.MOVE and not delete_source(file):
            _log.warning("the source of %s changed meanwhile and is kept: %s", file.name, file.path)
