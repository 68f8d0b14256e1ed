"""Whose each paglet is, as far as the journals of several hosts say: decided by epochs alone, or not at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from paglet.v1 import rebuild_pb2 as pb
from paglets.directory.contract import PagletRow
from paglets.values import PagletState
from paglets.wire.states import state_from_message

__all__ = ["Offer", "Plan", "undone"]


@dataclass(frozen=True, slots=True)
class Offer:
    """A paglet that the journal of a host has, or remembers."""

    host: str
    entry: pb.JournalEntry


@dataclass(slots=True)
class Plan:
    """What a rebuild is to do: rows to insert, what hosts are to take up, and what people are told.

    Tombstones are inserted too, so that a host that comes later drops its copy; nobody is told of them.
    """

    wanted: list[PagletRow] = field(default_factory=list[PagletRow])
    taken_up: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    told: list[pb.RebuiltPaglet] = field(default_factory=list[pb.RebuiltPaglet])

    @classmethod
    def of(cls, offers: Mapping[str, Sequence[Offer]], rows: Mapping[str, PagletRow], heard: Collection[str]) -> Plan:
        """The plan for all that was offered by the hosts `heard`; `rows` is what the directory knows of it."""
        plan = cls()
        for paglet_id, found in offers.items():
            row = rows.get(paglet_id)
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

    def _register(self, paglet_id: str, offers: Sequence[Offer], heard: Collection[str]) -> None:
        """The highest epoch decides. One on a journey is at its source still, unless its target has a higher one."""
        highest = max(found.entry.epoch for found in offers)
        best = [found for found in offers if found.entry.epoch == highest]
        hosts = [found.host for found in best]
        entry = best[0].entry
        states = {state_from_message(found.entry.state, "state") for found in best}
        if PagletState.DISPOSED in states:  # it has the epoch of the life that it ended
            self.wanted.append(_tombstone(best[0]))
        elif len(best) > 1:
            reason = f"several hosts have it with epoch {highest}"
            self.told.append(undone(paglet_id, pb.REBUILD_OUTCOME_CONFLICT, hosts, reason))
        elif PagletState.DEPARTING in states:
            found = "does not have it" if entry.target in heard else "was not heard"
            reason = f"it left host {hosts[0]} for host {entry.target}, which {found}"
            self.told.append(undone(paglet_id, pb.REBUILD_OUTCOME_UNDECIDED, hosts, reason))
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
            self.taken_up.setdefault(hosts[0], []).append(paglet_id)
            self.told.append(pb.RebuiltPaglet(paglet_id=paglet_id, outcome=pb.REBUILD_OUTCOME_REGISTERED, hosts=hosts))

    def _compare(self, row: PagletRow, offers: Sequence[Offer]) -> None:
        """One that the directory knows: taken up again where a rebuild was cut, a conflict where a journal is ahead."""
        ahead = [found.host for found in offers if found.entry.epoch > row.epoch]
        if ahead:
            reason = f"the directory has it at host {row.owner} with epoch {row.epoch}, a journal with a higher one"
            self.told.append(undone(row.paglet_id, pb.REBUILD_OUTCOME_CONFLICT, ahead, reason))
            return
        for found in offers:
            if found.host == row.owner and found.entry.epoch < row.epoch and row.state is not PagletState.INACTIVE:
                self.taken_up.setdefault(row.owner, []).append(row.paglet_id)


def _tombstone(offer: Offer) -> PagletRow:
    """The row of one that ended. It has a request id, unlike that of one that never was."""
    entry = offer.entry
    return PagletRow(
        paglet_id=entry.paglet_id, type=entry.type, owner=offer.host, state=PagletState.DISPOSED, request_id="rebuild"
    )


def undone(paglet_id: str, outcome: pb.RebuildOutcome.ValueType, hosts: Sequence[str], reason: str) -> pb.RebuiltPaglet:
    """A paglet of which nothing was registered, and why."""
    return pb.RebuiltPaglet(paglet_id=paglet_id, outcome=outcome, hosts=hosts, reason=reason)
