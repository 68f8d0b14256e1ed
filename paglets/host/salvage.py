"""What this host's journal has, told to who rebuilds a lost directory, and taken up once it is registered anew."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from paglet.v1 import rebuild_pb2 as pb
from paglets.directory.contract import PagletRow
from paglets.host.arrival import Arrivals
from paglets.host.clones import Clones
from paglets.host.comeback import Comeback
from paglets.host.departure import Departures
from paglets.host.dormant import Dormant
from paglets.host.journal.claims import Claim
from paglets.host.offer import Incoming
from paglets.host.parts import HostParts
from paglets.host.records import ArrivalPhase
from paglets.host.resident import Resident
from paglets.host.residents import Residents
from paglets.host.settle import until_reached
from paglets.host.tasks import Tasks
from paglets.values import PagletState
from paglets.wire.states import state_to_message

__all__ = ["Salvage"]


class Salvage:
    """One host's part in a rebuild. `tasks` owns the first turns, for which nobody waits."""

    def __init__(
        self,
        parts: HostParts,
        residents: Residents,
        *,
        departures: Departures,
        clones: Clones,
        arrivals: Arrivals,
        comeback: Comeback,
        dormant: Dormant,
        tasks: Tasks,
    ) -> None:
        self._parts = parts
        self._residents = residents
        self._departures = departures
        self._clones = clones
        self._arrivals = arrivals
        self._comeback = comeback
        self._dormant = dormant
        self._tasks = tasks

    async def journal(self, after: str) -> Sequence[pb.JournalEntry]:
        """One page of the paglets that the journal has, or remembers, in the order of ids; an empty one is the last.

        Those whose creation was never confirmed are left out; the first page begins with those that are arriving now
        and clones that are being made.
        """
        targets = {found.paglet_id: found.target for found in await self._parts.journal.departures()}
        page = await self._parts.journal.claims.page(after)
        entries = [
            _remembered(found) if found.parted else self._entry(found, targets.get(found.paglet_id, ""))
            for found in page
        ]
        return entries if after else [*await self._arriving(), *await self._clones_on_their_way(), *entries]

    async def _arriving(self) -> list[pb.JournalEntry]:
        """Those of whose arrival nothing is durable yet, but may be at any moment."""
        return [
            pb.JournalEntry(
                paglet_id=found.manifest.paglet_id,
                type=found.manifest.type,
                epoch=found.manifest.epoch + 1,
                state=state_to_message(PagletState.ACTIVE),
                target=self._parts.name,
                under_way=True,
            )
            for found in self._arrivals.under_way()
            if await self._parts.journal.paglet(found.manifest.paglet_id) is None
        ]

    async def _clones_on_their_way(self) -> list[pb.JournalEntry]:
        """Both ends of the making of clones: nobody but the target has one that was sealed."""
        made = [
            pb.JournalEntry(
                paglet_id=found.paglet_id,
                state=state_to_message(PagletState.CLONING),
                source=self._parts.name,
                target=found.target,
                transfer_id=found.transfer_id,
                under_way=self._clones.journey(found.paglet_id) is not None,
            )
            for found in await self._parts.journal.departures()
            if found.clone_of
        ]
        return [*made, *(_offered(found) for found in self._arrivals.clones())]

    def _entry(self, kept: Claim, target: str) -> pb.JournalEntry:
        paglet_id, epoch = kept.paglet_id, kept.epoch
        resident = self._residents.get(paglet_id)
        state, error = PagletState.ACTIVE, ""
        if kept.rests or paglet_id in self._dormant:  # a rest that the directory has not heard of is one too
            state = PagletState.INACTIVE
        elif resident is not None and resident.row.state is PagletState.FAILED:
            state, error = PagletState.FAILED, resident.row.error
        return pb.JournalEntry(
            paglet_id=paglet_id,
            type=kept.type,
            epoch=max(epoch, resident.row.epoch if resident is not None else 0),
            state=state_to_message(state),
            target=target,
            under_way=self._departures.journey(paglet_id) is not None,
            error=error,
        )

    async def take_up(self, paglet_ids: Sequence[str]) -> None:
        """Serves paglets whose rows, as the directory says, are this host's; the others are left as they are.

        Of a clone that this host has made it takes up the journey.
        """
        journeys = await self._parts.journal.departures()
        departures = {found.paglet_id: found for found in journeys if not found.clone_of}
        for clone in journeys:
            if clone.clone_of and clone.paglet_id in paglet_ids:
                await self._clones.recover(clone)
        for paglet_id in paglet_ids:
            row = await until_reached(partial(self._parts.directory.get, paglet_id))
            if row is None or row.owner != self._parts.name or row.intent is not None:
                continue
            resident = self._residents.get(paglet_id)
            if resident is not None and await self._renew(resident, row):
                continue
            if self._departures.journey(paglet_id) is None:
                if paglet_id in departures:
                    await self._parts.journal.end_departure(departures[paglet_id], left=False, epoch=row.epoch)
                await self._expect(row)
        self._tasks.start(self._comeback.run())

    async def _renew(self, resident: Resident, row: PagletRow) -> bool:
        """One that went on in memory meanwhile has its new epoch; False for one that has been let go of."""
        async with resident.life:
            if self._residents.get(resident.paglet_id) is not resident:
                return False
            if row.epoch > resident.row.epoch and row.state is resident.row.state:
                resident.row = row
                await self._parts.journal.set_epochs([(row.paglet_id, row.epoch)])
        self._parts.discovery.owned(resident.paglet_id, type(resident.paglet))
        return True

    async def _expect(self, row: PagletRow) -> None:
        if await self._parts.journal.paglet(row.paglet_id) is None:
            return
        if row.state is PagletState.INACTIVE:
            self._dormant.add(row.paglet_id)
        elif self._residents.get(row.paglet_id) is None and not self._comeback.knows(row.paglet_id):
            self._comeback.expect([row])


def _remembered(claim: Claim) -> pb.JournalEntry:
    """One that ended here, or left: no copy of a lower epoch is alive."""
    state = PagletState.DEPARTING if claim.target else PagletState.DISPOSED
    return pb.JournalEntry(
        paglet_id=claim.paglet_id,
        type=claim.type,
        epoch=claim.epoch,
        state=state_to_message(state),
        target=claim.target,
    )


def _offered(incoming: Incoming) -> pb.JournalEntry:
    """A clone that is offered to this host: one that was not sealed never was, and nothing of it is wanted any more."""
    manifest = incoming.manifest
    sealed = incoming.kept.phase != ArrivalPhase.PREPARED
    return pb.JournalEntry(
        paglet_id=manifest.paglet_id,
        type=manifest.type,
        epoch=manifest.epoch + sealed,
        state=state_to_message(PagletState.ARRIVING if sealed else PagletState.DISPOSED),
        source=manifest.source,
        target=manifest.target,
        transfer_id=manifest.transfer_id,
    )
