"""A directory that has lost its rows is told of them again, from the journals of all hosts that can be reached.

An epoch never goes back: what is registered begins above every epoch and revision that any host has seen. This file
must never have anything deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from paglet.v1 import rebuild_pb2 as pb
from paglets.directory.contract import Guard, PagletRow, RowWrite
from paglets.errors import ConflictError, PagletError
from paglets.faults import point
from paglets.host.parts import HostParts
from paglets.host.rebuild_plan import Offer, Plan, undone
from paglets.host.settle import until_reached

__all__ = ["REBUILD_POINTS", "Rebuild", "Rebuilt"]

_log = logging.getLogger(__name__)
_BATCH = 200
_PAGE = 1000
_CAUSE = "rebuild"

REBUILD_POINTS = (
    "rebuild.register.before",
    "rebuild.register.after",
    "rebuild.take-up.before",
    "rebuild.take-up.after",
)
"""The named points of a rebuild, at the host that was asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild did: paglets in the order of their ids, and the hosts that told of theirs, or did not."""

    paglets: Sequence[pb.RebuiltPaglet]
    heard: Sequence[str]
    unheard: Sequence[str]


class Rebuild:
    """The rebuilding of the mesh's directory by this host. Safe to repeat, and to run on several hosts at once."""

    def __init__(self, parts: HostParts) -> None:
        self._parts = parts

    async def run(self, *, dry_run: bool) -> Rebuilt:
        """Registers what the directory does not know, and has its hosts serve it; with `dry_run` only tells.

        A host that did not answer is told of as unheard: what it has is not registered, and what may be on its way to
        it is undecided.
        """
        offers: dict[str, list[Offer]] = {}
        heard: list[str] = []
        unheard: list[str] = []
        above = 0
        for host in await self._parts.peers.hosts():
            try:
                peer = await self._parts.peers.rebuild(host.name)
                entries, watched = await peer.journal()
            except PagletError as error:
                _log.warning("host %s does not tell what its journal has: %s", host.name, error)
                unheard.append(host.name)
                continue
            heard.append(host.name)
            above = max(above, watched, *(entry.epoch for entry in entries))
            for entry in entries:
                offers.setdefault(entry.paglet_id, []).append(Offer(host.name, entry))
        plan = Plan.of(offers, await self._rows(offers), heard)
        if not dry_run:
            await self._register(plan, above)
            await self._take_up(plan)
        told = sorted(plan.told, key=lambda found: found.paglet_id)
        return Rebuilt(paglets=told, heard=heard, unheard=unheard)

    async def _rows(self, offered: Iterable[str]) -> Mapping[str, PagletRow]:
        """The rows of what is offered, read after the journals: an epoch there is never ahead of its row."""
        rows: dict[str, PagletRow] = {}
        after, page = "", _PAGE
        while page == _PAGE:
            found = await until_reached(partial(self._parts.directory.list, after=after, limit=_PAGE))
            rows.update((row.paglet_id, row) for row in found)
            page, after = len(found), found[-1].paglet_id if found else ""
        for paglet_id in offered:
            if paglet_id not in rows:
                row = await until_reached(partial(self._parts.directory.get, paglet_id))
                if row is not None:
                    rows[paglet_id] = row
        return rows

    async def _register(self, plan: Plan, above: int) -> None:
        if not plan.wanted:
            return
        for start in range(0, len(plan.wanted), _BATCH):
            batch = plan.wanted[start : start + _BATCH]
            point("rebuild.register.before")
            try:
                await self._insert(plan, batch, above)
            except ConflictError:
                for row in batch:
                    await self._insert_one(plan, row, above)
            point("rebuild.register.after")

    async def _insert(self, plan: Plan, rows: Sequence[PagletRow], above: int) -> None:
        writes = [RowWrite(Guard.after(row.paglet_id, None), row, _CAUSE) for row in rows]
        journeys = [plan.committed[row.paglet_id] for row in rows if row.paglet_id in plan.committed]
        await until_reached(partial(self._parts.directory.apply, writes, journeys=journeys, above=above))

    async def _insert_one(self, plan: Plan, row: PagletRow, above: int) -> None:
        """One of a batch of which another row is there already: by an answer that was lost, or by somebody else."""
        try:
            await self._insert(plan, [row], above)
        except ConflictError as error:
            found = await until_reached(partial(self._parts.directory.get, row.paglet_id))
            if found is None or found.owner != row.owner:
                plan.replace(undone(row.paglet_id, pb.REBUILD_OUTCOME_CONFLICT, [row.owner], error.message))

    async def _take_up(self, plan: Plan) -> None:
        """Hosts that cannot be told find their rows when they are started again, or by the next rebuild."""
        for name, paglet_ids in plan.taken_up.items():
            for start in range(0, len(paglet_ids), _BATCH):
                point("rebuild.take-up.before")
                try:
                    await (await self._parts.peers.rebuild(name)).take_up(paglet_ids[start : start + _BATCH])
                except PagletError as error:
                    _log.warning("host %s was not told what was registered for it: %s", name, error)
                point("rebuild.take-up.after")
