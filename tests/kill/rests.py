"""How a paglet rests through deaths."""

from __future__ import annotations

from paglets.values import ArrivalMode, PagletState, TransferTicket, new_id
from tests.kill import audit
from tests.kill.kills import Kill, arm, deaths
from tests.kill.mesh import Mesh
from tests.kill.story import begun_story

__all__ = ["lying_down", "rest", "rest_kept"]

_AT_REST = TransferTicket(arrival=ArrivalMode.INACTIVE)


async def rest(mesh: Mesh, kill: Kill) -> None:
    """A paglet is laid down and woken by who writes to it, through a death of its host."""
    arm(mesh, [kill])
    async with begun_story(mesh) as story:
        async with story.writers as writers:
            await writers.more()
            async with deaths(mesh, story):
                await story.rest()
                await writers.more()
            await story.settled_at(mesh.source)
            await story.rest()
            await story.move(mesh.target)
        await story.check_ledger(mesh.target)
        await story.end()


async def rest_kept(mesh: Mesh, kill: Kill) -> None:
    """A paglet is laid down through a death after which its request is known as done: it was, and is so once."""
    arm(mesh, [kill])
    async with begun_story(mesh) as story:
        async with story.writers as writers:
            await writers.more()
        request_id = new_id()
        async with deaths(mesh, story):
            told = await story.rest(request_id)
        assert await story.rest(request_id) == told
        assert (told.state, told.epoch) == (PagletState.INACTIVE, story.epoch + 1)
        row = audit.row_of(mesh, story.paglet_id)
        assert row is not None
        assert (row.owner, row.state, row.epoch) == (mesh.source, "inactive", told.epoch)
        await story.check_ledger(mesh.source)
        await story.end()


async def lying_down(mesh: Mesh, kill: Kill) -> None:
    """A paglet arrives at rest, through a death of its target, and is woken by who writes to it."""
    arm(mesh, [kill])
    async with begun_story(mesh) as story:
        async with story.writers as writers:
            await writers.more()
            async with deaths(mesh, story):
                error = await story.dispatch(mesh.target, door=mesh.source, ticket=_AT_REST)
            assert error is None
            await writers.more()
            await story.settled_at(mesh.target)
            await story.move(mesh.source)
        await story.check_ledger(mesh.source)
        await story.end()
