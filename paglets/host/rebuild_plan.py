"""Whose each paglet is, as far as the journals of several hosts say: decided by epochs alone, or not at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from paglet.v1 import rebuild_pb2 as pb
from paglets.directory.contract import JourneyRecord, PagletRow
from paglets.values import PagletState
from paglets.wire.states import state_from_message

__all__ = ["Offer", "Plan", "undone"]


@dataclass(frozen=True, slots=True)
class Offer:
    """A paglet that the journal of a host has, or remembers."""

    host: str
    entry: pb.JournalEntry

    @property
    def state(self) -> PagletState:
        """What it says of the paglet. Raises MALFORMED_REQUEST."""
        return state_from_message(self.entry.state, "state")


@dataclass(slots=True)
class Plan:
    """What a rebuild is to do: rows to insert, what hosts are to take up, and what people are told.

    Tombstones are inserted too, so that a host that comes later drops its copy; nobody is told of them. Rows of clones
    that arrive are inserted with the records of their journeys, by the ids of the clones.
    """

    wanted: list[PagletRow] = field(default_factory=list[PagletRow])
    taken_up: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    told: list[pb.RebuiltPaglet] = field(default_factory=list[pb.RebuiltPaglet])
    committed: dict[str, JourneyRecord] = field(default_factory=dict[str, JourneyRecord])

    @classmethod
    def of(cls, offers: Mapping[str, Sequence[Offer]], rows: Mapping[str, PagletRow], heard: Collection[str]) -> Plan:
        """The plan for all that was offered by the hosts `heard`; `rows` is what the directory knows of it."""
        plan = cls()
        for paglet_id, found in offers.items():
            row = rows.get(paglet_id)
            for maker in found:  # of a clone: a restart has left what it keeps of the journey
                if maker.state is PagletState.CLONING and not maker.entry.under_way:
                    plan._hand_over(paglet_id, maker.host)
            if row is None:
                plan._register(paglet_id, found, heard)
            elif row.state is not PagletState.DISPOSED:
                plan._compare(row, found)
        return plan

    def replace(self, told: pb.RebuiltPaglet) -> None:
        """Tells something else of a paglet; its host is not told to take it up."""
        self.told = [told if found.paglet_id == told.paglet_id else found for found in self.told]
        for paglet_ids in self.taken_up.values():
            if told.paglet_id in paglet_ids:
                paglet_ids.remove(told.paglet_id)

    def _register(self, paglet_id: str, every: Sequence[Offer], heard: Collection[str]) -> None:
        """The highest epoch decides. One on a journey is at its source still, unless its target has a higher one."""
        makers = [found for found in every if found.state is PagletState.CLONING]
        offers = [found for found in every if found.state is not PagletState.CLONING]
        if not offers:  # a clone that its target does not have, so that it never was
            for maker in makers:
                if maker.entry.target not in heard:
                    reason = f"it was being made for host {maker.entry.target}, which was not heard"
                    self.told.append(undone(paglet_id, pb.REBUILD_OUTCOME_UNDECIDED, [maker.host], reason))
            return
        highest = max(found.entry.epoch for found in offers)
        best = [found for found in offers if found.entry.epoch == highest]
        hosts = [found.host for found in best]
        entry = best[0].entry
        states = {found.state for found in best}
        if PagletState.DISPOSED in states:  # it has the epoch of the life that it ended
            self.wanted.append(_tombstone(best[0]))
        elif len(best) > 1:
            reason = f"several hosts have it with epoch {highest}"
            self.told.append(undone(paglet_id, pb.REBUILD_OUTCOME_CONFLICT, hosts, reason))
        elif PagletState.DEPARTING in states:
            found = "does not have it" if entry.target in heard else "was not heard"
            reason = f"it left host {hosts[0]} for host {entry.target}, which {found}"
            self.told.append(undone(paglet_id, pb.REBUILD_OUTCOME_UNDECIDED, hosts, reason))
        elif PagletState.ARRIVING in states:
            self._register_clone(best[0], makers, heard)
        elif entry.under_way:
            reason = f"its journey to {entry.target} is not over; start host {hosts[0]} again"
            self.told.append(undone(paglet_id, pb.REBUILD_OUTCOME_UNDECIDED, hosts, reason))
        elif entry.target and entry.target not in heard:
            reason = f"it was on a journey to host {entry.target}, which was not heard"
            self.told.append(undone(paglet_id, pb.REBUILD_OUTCOME_UNDECIDED, hosts, reason))
        else:
            (state,) = states
            row = PagletRow(paglet_id=paglet_id, type=entry.type, owner=hosts[0], state=state, error=entry.error)
            self.wanted.append(row)
            self._hand_over(paglet_id, hosts[0])
            self.told.append(pb.RebuiltPaglet(paglet_id=paglet_id, outcome=pb.REBUILD_OUTCOME_REGISTERED, hosts=hosts))

    def _register_clone(self, sealed: Offer, makers: Sequence[Offer], heard: Collection[str]) -> None:
        """One of which its target has everything: if its maker keeps the journey it may have been committed, and is.

        A maker that does not keep it has given it up.
        """
        entry, hosts = sealed.entry, [sealed.host]
        maker = next((found for found in makers if found.entry.transfer_id == entry.transfer_id), None)
        if entry.source not in heard:
            reason = f"host {entry.source}, which has made it, was not heard"
            self.told.append(undone(entry.paglet_id, pb.REBUILD_OUTCOME_UNDECIDED, hosts, reason))
        elif maker is None:
            self.wanted.append(_tombstone(sealed))
        elif maker.entry.under_way:
            reason = f"its journey to {entry.target} is not over; start host {maker.host} again"
            self.told.append(undone(entry.paglet_id, pb.REBUILD_OUTCOME_UNDECIDED, hosts, reason))
        else:
            state = PagletState.ARRIVING
            row = PagletRow(paglet_id=entry.paglet_id, type=entry.type, owner=sealed.host, state=state)
            self.wanted.append(row)
            self.committed[entry.paglet_id] = JourneyRecord(
                transfer_id=entry.transfer_id,
                paglet_id=entry.paglet_id,
                source=entry.source,
                target=sealed.host,
                state=state,
            )
            self.told.append(
                pb.RebuiltPaglet(paglet_id=entry.paglet_id, outcome=pb.REBUILD_OUTCOME_REGISTERED, hosts=hosts)
            )

    def _compare(self, row: PagletRow, offers: Sequence[Offer]) -> None:
        """One that the directory knows: taken up again where a rebuild was cut, a conflict where a journal is ahead."""
        kept = [found for found in offers if not found.entry.transfer_id]  # no clone on its way
        ahead = [found.host for found in kept if found.entry.epoch + (found.host != row.owner) > row.epoch]
        if ahead:
            reason = f"the directory has it at host {row.owner} with epoch {row.epoch}, a journal with no lower one"
            self.told.append(undone(row.paglet_id, pb.REBUILD_OUTCOME_CONFLICT, ahead, reason))
            return
        for found in kept:
            if found.host == row.owner and found.entry.epoch < row.epoch and row.state is not PagletState.INACTIVE:
                self._hand_over(row.paglet_id, row.owner)

    def _hand_over(self, paglet_id: str, host: str) -> None:
        """Has a host take up a paglet, or its end of a clone's journey, or both."""
        paglet_ids = self.taken_up.setdefault(host, [])
        if paglet_id not in paglet_ids[-1:]:
            paglet_ids.append(paglet_id)


def _tombstone(offer: Offer) -> PagletRow:
    """The row of one that ended. It has a request id, unlike that of one that never was."""
    entry = offer.entry
    return PagletRow(
        paglet_id=entry.paglet_id, type=entry.type, owner=offer.host, state=PagletState.DISPOSED, request_id="rebuild"
    )


def undone(paglet_id: str, outcome: pb.RebuildOutcome.ValueType, hosts: Sequence[str], reason: str) -> pb.RebuiltPaglet:
    """A paglet of which nothing was registered, and why."""
    return pb.RebuiltPaglet(paglet_id=paglet_id, outcome=outcome, hosts=hosts, reason=reason)
