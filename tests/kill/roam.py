"""A paglet roams while hosts die at points that are drawn; clients write and post to it, and it posts to a peer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

from paglet.examples.counter.v1 import counter_pb2_grpc
from paglet.examples.counter.v1.counter_pb2 import GetRequest
from paglets.client.client import Client
from paglets.testing import eventually
from paglets.values import new_id
from tests.kill import audit
from tests.kill.kills import Kill
from tests.kill.ledger import Ledger, LedgerState
from tests.kill.mesh import PATIENCE_S, Mesh
from tests.kill.posters import Posters
from tests.kill.steps import Steps
from tests.kill.story import Story, begun_story, quiet
from tests.kill.tally import Tally
from tests.kill.victims import Victims

__all__ = ["roam"]

_STEPS = 8
_FIRST_POSTED = 1_000_000
_WRITE_PACE_S = 0.1
_POST_PACE_S = 0.2
"""A ledger posts on what is posted to it, one after the other, and may have 1,000 posts that nobody acknowledged."""

_PROMISED_S = 10.0
"""What a death has cut is at its end so soon after the restart."""


async def roam(mesh: Mesh, fates: Sequence[Sequence[Kill]], chance: random.Random, tally: Tally) -> int:
    """Steps while hosts die and come back; what must hold is looked at in the end. Says how many deaths there were."""
    victims, peer = Victims(mesh, fates), new_id()
    async with asyncio.TaskGroup() as group, Client(mesh.address(mesh.target)) as client:
        victims.arm(group)
        await client.create(Ledger, paglet_id=peer)
        async with begun_story(mesh, peer=peer, told_from=_FIRST_POSTED, pace_s=_WRITE_PACE_S) as story:
            calm = _Calm(story, victims, peer, tally)
            async with story.writers, _posters(story) as posters:
                steps = Steps(story, posters, peer, chance)
                for _ in range(_STEPS):
                    tally.steps[await steps.take()] += 1
                    await calm.wait(posters, steps.here)
                await victims.disarm()
                await calm.wait(posters, steps.here)
                last = steps.there
                error = await story.dispatch(last, door=last)
                assert error is None, f"an undisturbed journey to {last} failed: {error!r}"
                await calm.hear_all(posters)
            await _check_end(story, posters, peer, last)
            await client.dispose(peer)
            await story.end()
    tally.runs += 1
    tally.writes += len(story.writers.acknowledged)
    tally.posts += len(posters.acknowledged)
    tally.posts_of_paglets += len(posters.acknowledged)
    tally.files += len(story.content)
    tally.add_deaths(victims.deaths)
    return len(victims.deaths)


def _posters(story: Story) -> Posters:
    return Posters(list(story.clients.values()), story.paglet_id, first=_FIRST_POSTED, pace_s=_POST_PACE_S)


class _Calm:
    """Waits for the end of what deaths have cut, and knows how long that took."""

    def __init__(self, story: Story, victims: Victims, peer: str, tally: Tally) -> None:
        self._story = story
        self._victims = victims
        self._peer = peer
        self._tally = tally
        self._restarts = 0
        self._deaths = 0

    async def wait(self, posters: Posters, here: str) -> None:
        """After a step: if hosts have come back since, until all is quiet but for those who write."""
        await self._story.writers.more()
        restarts = self._victims.restarts
        if len(restarts) == self._restarts:
            return
        await self.hear_all(posters)
        await quiet(self._story.mesh, posted_before_s=time.time())
        took_s = asyncio.get_running_loop().time() - restarts[-1]
        if len(self._victims.deaths) > self._deaths:  # else hosts were disarmed, which cuts no step
            self._tally.calms_s.append(took_s)
        self._restarts, self._deaths = len(restarts), len(self._victims.deaths)
        self._story.check_files(here, is_kept=False)
        self._tally.files += len(self._story.content)
        assert took_s <= _PROMISED_S, f"{took_s:.1f} s after a restart something was still on its way"

    async def hear_all(self, posters: Posters) -> None:
        """Until both paglets answer, by every host, and writes and posts are acknowledged."""
        for client in self._story.clients.values():
            for paglet_id in (self._story.paglet_id, self._peer):
                stub: counter_pb2_grpc.CounterServiceAsyncStub = client.proxy(paglet_id).stub(
                    counter_pb2_grpc.CounterServiceStub
                )
                await stub.Get(GetRequest())
        await self._story.writers.more()
        await posters.more(3)


async def _check_end(story: Story, posters: Posters, peer: str, owner: str) -> None:
    """After the last write and post: all have run, once, and the posts so in the peer, in the same order."""
    mesh, posts = story.mesh, posters.acknowledged
    counts = {story.paglet_id: len(story.writers.acknowledged) + len(posts), peer: len(posts)}

    async def have_run() -> bool:
        states = {paglet_id: await asyncio.to_thread(_state_of, mesh, paglet_id) for paglet_id in counts}
        return all(len(states[paglet_id].amounts) >= count for paglet_id, count in counts.items())

    await eventually(have_run, PATIENCE_S, "every acknowledged post")
    await story.settled_at(owner)
    await story.check_ledger(owner, posted=posts)
    amounts = _state_of(mesh, story.paglet_id).amounts
    posters.check(amounts)
    told = [amount for amount in amounts if amount >= _FIRST_POSTED]
    assert _state_of(mesh, peer).amounts == told, "a paglet's post was lost, ran twice, or out of order"
    left = [post for host in mesh for paglet_id in counts for post in audit.posts_of(host, paglet_id)]
    assert not left, f"posts are left: {left}"


def _state_of(mesh: Mesh, paglet_id: str) -> LedgerState:
    """The state that the journal of a paglet's host has; an empty one while there is none."""
    row = audit.row_of(mesh, paglet_id)
    found = None if row is None else audit.state_of(mesh.hosts[row.owner], paglet_id)
    return LedgerState() if found is None else found
