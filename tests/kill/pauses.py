"""Hosts that stand still at a point of a journey while others go on, and are let go: SIGSTOP, then SIGCONT."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import dataclass

import psutil

from paglets.errors import PagletError
from paglets.testing import eventually
from paglets.values import TransferTicket, new_id
from tests.kill import audit
from tests.kill.mesh import PATIENCE_S, Mesh
from tests.kill.story import Story, begun_story

__all__ = ["PAUSES", "Pause", "paused"]

_DEADLINE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """`victim` stands still when it passes `point` the nth time, until what the others can do is done.

    `decided` tells that they can end the journey without it: the target arrives, or the source gives it up.
    """

    victim: str
    point: str
    nth: int = 1
    decided: bool = False

    def __str__(self) -> str:
        return f"{self.victim}-{self.point}"

    @property
    def fault(self) -> str:
        """The point as a process is told of it."""
        return f"{self.point}:{self.nth}:stop"


PAUSES = (
    Pause(victim="source", point="journey.intent.after"),
    Pause(victim="source", point="journey.push.after"),
    Pause(victim="source", point="journey.commit.after", decided=True),
    Pause(victim="target", point="transfer.prepare.after", decided=True),
    Pause(victim="target", point="transfer.seal.after", decided=True),
    Pause(victim="target", point="arrival.settle.after"),
    Pause(victim="directory", point="directory.apply.before", nth=3),
    Pause(victim="directory", point="directory.apply.after", nth=3),
)
"""Of the directory's writes the third, counted from the paglet's creation, is the commit."""


async def paused(mesh: Mesh, case: Pause) -> None:
    """A journey in which a host stands still: whoever is let go again must not take itself for the owner."""
    name = mesh.role(case.victim)
    mesh.arm(name, case.fault)
    async with begun_story(mesh) as story:
        async with story.writers as writers:
            await writers.more()
            await eventually(lambda: _are_online(story), PATIENCE_S, "all hosts to have their leases")
            moving = asyncio.create_task(_move(story))
            pid = mesh.hosts[name].pid
            await eventually(lambda: _stands(pid), PATIENCE_S, f"host {name} to stand still")
            if case.decided:
                await eventually(lambda: _is_decided(mesh, story.paglet_id), PATIENCE_S, "the others to go on")
            else:
                await eventually(lambda: _is_lost(story, name), PATIENCE_S, f"the lease of {name} to end")
            os.kill(pid, signal.SIGCONT)
            error = await moving
            await writers.more()
            owner = mesh.target if error is None else mesh.source
            await story.settled_at(owner)
            last = mesh.source if owner == mesh.target else mesh.target
            await story.move(last)
        await story.check_ledger(last)
        await story.end()
    mesh.arm(name, "")


async def _move(story: Story) -> PagletError | None:
    """A journey whose source gives it up when its target says nothing; how it ended, asked until that is known."""
    client, request_id = story.clients[story.mesh.source], new_id()
    ticket = TransferTicket(deadline_s=_DEADLINE_S)
    try:
        await client.dispatch(story.paglet_id, story.mesh.target, request_id=request_id, ticket=ticket)
    except PagletError as error:
        return error
    story.visits.append(story.mesh.target)
    return None


async def _are_online(story: Story) -> bool:
    """Whether every host is there: a journey to one whose lease has ended is refused before it begins."""
    return all(host.online for host in await story.clients[story.mesh.source].hosts())


async def _stands(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


async def _is_decided(mesh: Mesh, paglet_id: str) -> bool:
    """Whether the row bears no journey any more: the paglet has arrived, or is where it was."""
    row = await asyncio.to_thread(audit.row_of, mesh, paglet_id)
    return row is not None and (row.state, row.transfer_id) == ("active", "")


async def _is_lost(story: Story, name: str) -> bool:
    """Whether the others take the host for one that is away; the directory's own host has nobody to say so."""
    mesh = story.mesh
    if name == mesh.directory:
        path = mesh.folder / name / "directory.db"
        ((last,),) = await asyncio.to_thread(audit.rows, path, "SELECT max(expires_at) FROM hosts")
        return float(str(last)) < time.time()
    hosts = await story.clients[mesh.directory].hosts()
    return not any(host.online for host in hosts if host.name == name)
