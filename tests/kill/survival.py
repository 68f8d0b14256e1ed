"""How a mesh goes on through deaths: one function for each part of a paglet's life."""

from __future__ import annotations

import asyncio

from paglets.client.client import Client
from paglets.testing import eventually
from paglets.values import new_id
from tests.kill import audit
from tests.kill.kills import Kill, Kills, arm, deaths
from tests.kill.ledger import Ledger
from tests.kill.mesh import PATIENCE_S, Mesh
from tests.kill.posters import Posters, is_dead
from tests.kill.story import Story, begun_story

__all__ = [
    "birth",
    "cloning",
    "end",
    "journey",
    "outbox",
    "posts",
    "posts_at_rest",
    "posts_on_the_way",
    "restart",
    "retraction",
    "strangeness",
]


async def journey(mesh: Mesh, case: Kills, *, at_home: bool = False) -> None:
    """A journey from source to target through deaths; then one that nothing disturbs, and the end."""
    aim = mesh.source if at_home else mesh.target
    arm(mesh, case.kills)
    async with begun_story(mesh, case.kind) as story:
        async with story.writers as writers:
            await writers.more()
            async with deaths(mesh, story):
                error = await story.dispatch(aim, door=mesh.source)
            await writers.more()
            owner = aim if error is None else mesh.source
            assert not (case.refused and error is None), "the refused journey was made"
            await story.settled_at(owner)
            last = mesh.source if owner == mesh.target else mesh.directory if case.refused else mesh.target
            await story.move(last)
        await story.check_ledger(last)
        await story.end()


async def birth(mesh: Mesh, kill: Kill) -> None:
    """A creation through a death, asked for until it is acknowledged: there is one paglet, and it can travel."""
    arm(mesh, [kill])

    async def die() -> None:
        name = mesh.role(kill.victim)
        await mesh.died(name)
        await mesh.start(name)

    async with begun_story(mesh, beside=die) as story:
        async with story.writers:
            await story.move(mesh.target)
        await story.check_ledger(mesh.target)
        await story.end()


async def end(mesh: Mesh, kill: Kill) -> None:
    """A paglet that has travelled is disposed of, through a death of the host it is on."""
    arm(mesh, [kill])
    async with begun_story(mesh) as story:
        async with story.writers:
            await story.move(mesh.target)
        await story.check_ledger(mesh.target)
        async with deaths(mesh, story):
            await story.end()


async def retraction(mesh: Mesh, kill: Kill) -> None:
    """A host asks for a paglet, through a death, until it is known whether it comes."""
    arm(mesh, [kill])
    async with begun_story(mesh) as story:
        async with story.writers as writers:
            await writers.more()
            async with deaths(mesh, story):
                error = await story.retract(mesh.target)
            await writers.more()
            await story.settled_at(mesh.target if error is None else mesh.source)
            last = mesh.source if error is None else mesh.target
            await story.move(last)
        await story.check_ledger(last)
        await story.end()


async def cloning(mesh: Mesh, case: Kills, *, at_home: bool = False) -> None:
    """A clone is made through deaths, at its original's host or another: there is one or none, and nothing else."""
    arm(mesh, case.kills)
    target = mesh.source if at_home else mesh.target
    async with begun_story(mesh, case.kind) as story:
        async with story.writers as writers:
            await writers.more()
            async with deaths(mesh, story):
                clone, error = await story.clone(target)
            await writers.more()
            if error is None:
                await story.check_clone(clone, target)
            else:
                await story.check_no_clone(clone)
            assert not (case.refused and error is None), "the refused clone was made"
            last = mesh.directory if case.refused else mesh.target
            await story.move(last)
        await story.check_ledger(last)
        await story.end()


async def restart(mesh: Mesh, kill: Kill) -> None:
    """A host dies while it comes back from its death."""
    name = mesh.role(kill.victim)
    async with begun_story(mesh) as story:
        async with story.writers as writers:
            await writers.more()
            await mesh.hosts[name].kill()
            await mesh.launch(name, kill.fault)
            await mesh.died(name)
            story.check_sources()
            await mesh.start(name)
            await writers.more()
            await story.settled_at(mesh.source)
            await story.move(mesh.target)
        await story.check_ledger(mesh.target)
        await story.end()


async def strangeness(mesh: Mesh, kill: Kill) -> None:
    """The target dies as a paglet arrives and comes back without its type; once the type is back, so is the paglet."""
    arm(mesh, [kill])
    target = mesh.hosts[mesh.target]
    async with begun_story(mesh) as story:
        async with story.writers as writers:
            await writers.more()
        async with asyncio.TaskGroup() as group:
            moving = group.create_task(story.dispatch(mesh.target, door=mesh.source))
            await mesh.died(mesh.target)
            target.allow, known = ["tests.kill.stranger"], target.allow
            await mesh.start(mesh.target)
            error = await moving
        assert error is not None
        assert error.reason == "ARRIVAL_FAILED"
        story.visits += [mesh.target] if kill.point == "arrival.settle.after" else []
        for allow in (target.allow, known):
            target.allow = allow
            await mesh.restart(mesh.target, "")
        await story.settled_at(mesh.target, is_kept=True)
        await story.check_ledger(mesh.target)
        await story.end()


async def posts(mesh: Mesh, kill: Kill) -> None:
    """Posts through a death of the host that takes and runs them; then a journey that nothing disturbs."""
    arm(mesh, [kill])
    async with begun_story(mesh) as story:
        async with Posters(list(story.clients.values()), story.paglet_id) as posters:
            async with deaths(mesh, story):
                poisoned = await posters.poison()
                await posters.more()
                letters = story.clients[mesh.target].dead_letters
                await is_dead(letters, story.paglet_id, poisoned)
                await letters.replay(story.paglet_id, poisoned)
                await is_dead(letters, story.paglet_id, poisoned)
                await letters.drop(story.paglet_id, poisoned)
                poisoned = await posters.poison()
            await posters.more()
            assert await story.dispatch(mesh.target, door=mesh.source) is None
            await posters.more()
        await _all_posts_ran(story, posters, mesh.target, dead=poisoned)
        await story.settled_at(mesh.target)
        await story.end()


async def posts_at_rest(mesh: Mesh, kill: Kill) -> None:
    """Posts that bring a paglet back whenever it is laid down, through a death of its host."""
    arm(mesh, [kill])
    async with begun_story(mesh) as story:
        async with Posters(list(story.clients.values()), story.paglet_id) as posters:
            async with deaths(mesh, story):
                for _ in range(3):
                    await posters.more()
                    await story.clients[mesh.target].deactivate(story.paglet_id)
            await posters.more()
        await _all_posts_ran(story, posters, mesh.source)
        await story.clients[mesh.target].activate(story.paglet_id)
        await story.settled_at(mesh.source)
        await story.end()


async def outbox(mesh: Mesh, kill: Kill) -> None:
    """A ledger that posts all it takes down to another travels to it through a death: both end up the same."""
    arm(mesh, [kill])
    peer = new_id()
    async with Client(mesh.address(mesh.target)) as client:
        await client.create(Ledger, paglet_id=peer)
        async with begun_story(mesh, peer=peer) as story:
            async with story.writers as writers:
                await writers.more()
                async with deaths(mesh, story):
                    error = await story.dispatch(mesh.target, door=mesh.source)
                await writers.more()
            owner = mesh.target if error is None else mesh.source
            await story.settled_at(owner)
            await story.check_ledger(owner)
            mine = audit.state_of(mesh.hosts[owner], story.paglet_id)
            its = audit.state_of(mesh.hosts[mesh.target], peer)
            assert mine is not None
            assert its is not None
            assert its.amounts == mine.amounts, "a post was lost, ran twice, or out of order"
            await client.dispose(peer)
            await story.end()


async def posts_on_the_way(mesh: Mesh, kill: Kill) -> None:
    """Posts wait as a journey begins, and come while it goes through a death; each runs where the paglet is then."""
    arm(mesh, [kill])
    async with begun_story(mesh) as story:
        async with Posters(list(story.clients.values()), story.paglet_id) as posters:
            await posters.more()
            async with deaths(mesh, story):
                error = await story.dispatch(mesh.target, door=mesh.source)
            await posters.more()
        owner = mesh.target if error is None else mesh.source
        await _all_posts_ran(story, posters, owner)
        await story.settled_at(owner)
        await story.end()


async def _all_posts_ran(story: Story, posters: Posters, owner: str, dead: str = "") -> None:
    """What was acknowledged ran once, each client's in its order; the dead one waits among the dead letters."""
    host = story.mesh.hosts[owner]
    told = posters.acknowledged

    async def ran() -> bool:
        state = await asyncio.to_thread(audit.state_of, host, story.paglet_id)
        return state is not None and len(state.amounts) >= len(told)

    await eventually(ran, PATIENCE_S, "every acknowledged post")
    if dead:
        await is_dead(story.clients[owner].dead_letters, story.paglet_id, dead)
    state = audit.state_of(host, story.paglet_id)
    assert state is not None
    posters.check(state.amounts)
    left = audit.posts_of(host, story.paglet_id)
    assert [(post.post_id, post.dead) for post in left] == ([(dead, True)] if dead else [])
