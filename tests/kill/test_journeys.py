"""A host is killed at each named point of a journey, of a creation, a disposal and a restart, and comes back."""

from __future__ import annotations

import random
import re

import pytest

from paglets.host.host import HOST_POINTS
from paglets.host.pull import PULL_POINTS
from paglets.host.rebuild import REBUILD_POINTS
from tests.kill import cases, rests, survival
from tests.kill.kills import Kill, Kills
from tests.kill.meshes import Meshes
from tests.layers import HOUSE

pytestmark = pytest.mark.timeout(120)

_APPLY = {"directory.apply.before", "directory.apply.after"}
_JOURNEYS = [(layout, case) for layout, found in cases.JOURNEYS.items() for case in found]
_NUMBER_OF_PAIRS = 6
_NUMBER_OF_CLONE_PAIRS = 3


def test_every_point_has_a_case() -> None:
    """Each case fails unless its process died at its point, so no point of a host or directory goes unkilled."""
    assert set(cases.points()) == {*HOST_POINTS, *_APPLY}


def test_every_point_that_is_passed_is_listed() -> None:
    """The lists name what the code passes, all of it and nothing else."""
    passed = {
        name
        for room in ("host", "directory")
        for path in (HOUSE / room).glob("*.py")
        for name in re.findall(r"\bpoint\(\"([^\"]+)\"\)", path.read_text(encoding="utf-8"))
    }
    assert passed == {*HOST_POINTS, *PULL_POINTS, *REBUILD_POINTS, *_APPLY}


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "case"), _JOURNEYS, ids=str)
async def test_a_journey_survives(meshes: Meshes, layout: str, case: Kills) -> None:
    """Whoever dies when: one live copy, no acknowledged write lost, none twice, whole files, and nothing left over."""
    async with meshes.mesh(layout) as mesh:
        await survival.journey(mesh, case)


@pytest.mark.slow
@pytest.mark.parametrize("case", cases.JOURNEYS_AT_HOME, ids=str)
async def test_a_journey_at_home_survives(meshes: Meshes, case: Kills) -> None:
    """So it is where the host that dies is both its source and its target."""
    async with meshes.mesh("third") as mesh:
        await survival.journey(mesh, case, at_home=True)


@pytest.mark.slow
@pytest.mark.parametrize("kill", cases.BIRTHS, ids=str)
async def test_a_creation_survives(meshes: Meshes, kill: Kill) -> None:
    """Asked for until it is acknowledged, there is one paglet, with the files that it registered."""
    async with meshes.mesh("third") as mesh:
        await survival.birth(mesh, kill)


@pytest.mark.slow
@pytest.mark.parametrize("kill", cases.ENDS, ids=str)
async def test_a_disposal_survives(meshes: Meshes, kill: Kill) -> None:
    """Asked for until it is acknowledged, nothing of the paglet is left on any host."""
    async with meshes.mesh("third") as mesh:
        await survival.end(mesh, kill)


@pytest.mark.slow
@pytest.mark.parametrize("kill", cases.RESTS, ids=str)
async def test_a_rest_survives(meshes: Meshes, kill: Kill) -> None:
    """Laid down and woken through a death, it has lost nothing and is in one place."""
    async with meshes.mesh("third") as mesh:
        await rests.rest(mesh, kill)


@pytest.mark.slow
@pytest.mark.parametrize("kill", cases.RESTS_KEPT, ids=str)
async def test_a_kept_rest_is_made(meshes: Meshes, kill: Kill) -> None:
    """Killed when the outcome of its request is kept, it rests, whoever asks again."""
    async with meshes.mesh("third") as mesh:
        await rests.rest_kept(mesh, kill)


@pytest.mark.slow
@pytest.mark.parametrize("kill", cases.AT_REST, ids=str)
async def test_an_arrival_at_rest_survives(meshes: Meshes, kill: Kill) -> None:
    """Killed before or after it tells that a paglet rests there, the target has it, at rest, until it is called."""
    async with meshes.mesh("third") as mesh:
        await rests.lying_down(mesh, kill)


@pytest.mark.slow
@pytest.mark.parametrize("kill", cases.RETRACTED, ids=str)
async def test_a_retraction_survives(meshes: Meshes, kill: Kill) -> None:
    """Asked for by the host that it is to come to it comes once and whole, or stays where it was."""
    async with meshes.mesh("third") as mesh:
        await survival.retraction(mesh, kill)


@pytest.mark.slow
@pytest.mark.parametrize("case", cases.CLONES, ids=str)
async def test_a_clone_survives(meshes: Meshes, case: Kills) -> None:
    """Whoever dies when: there is one clone, whole, or none and nothing left of it; the original goes on."""
    async with meshes.mesh("third") as mesh:
        await survival.cloning(mesh, case)


@pytest.mark.slow
@pytest.mark.parametrize("case", cases.CLONES_AT_HOME, ids=str)
async def test_a_clone_at_home_survives(meshes: Meshes, case: Kills) -> None:
    """So it is where the host that dies is the one that the clone is made on."""
    async with meshes.mesh("third") as mesh:
        await survival.cloning(mesh, case, at_home=True)


@pytest.mark.slow
@pytest.mark.parametrize("kill", cases.RESTARTS, ids=str)
async def test_a_restart_survives(meshes: Meshes, kill: Kill) -> None:
    """A host that is killed while it raises its epochs raises them again."""
    async with meshes.mesh("third") as mesh:
        await survival.restart(mesh, kill)


@pytest.mark.slow
@pytest.mark.parametrize("kill", cases.STRANGE, ids=str)
async def test_an_arrival_where_the_type_is_gone_survives(meshes: Meshes, kill: Kill) -> None:
    """What cannot be read on arrival is kept with its files, whatever is restarted, until it can be read."""
    async with meshes.mesh("third") as mesh:
        await survival.strangeness(mesh, kill)


@pytest.mark.slow
@pytest.mark.parametrize("kill", cases.POSTS, ids=str)
async def test_posts_survive(meshes: Meshes, kill: Kill) -> None:
    """Posts run once and in their order, whenever the host that takes them dies; a poisonous one is a dead letter."""
    async with meshes.mesh("third") as mesh:
        await survival.posts(mesh, kill)


@pytest.mark.slow
@pytest.mark.parametrize("kill", cases.OUTBOX, ids=str)
async def test_posts_of_paglets_survive(meshes: Meshes, kill: Kill) -> None:
    """What a paglet posts in its turns arrives once and in order, wherever it goes and whoever dies."""
    async with meshes.mesh("third") as mesh:
        await survival.outbox(mesh, kill)


@pytest.mark.slow
@pytest.mark.parametrize("kill", cases.RESTS, ids=str)
async def test_posts_survive_a_rest(meshes: Meshes, kill: Kill) -> None:
    """Posts that come as their paglet lies down, or is brought back by them, run once, whenever its host dies."""
    async with meshes.mesh("third") as mesh:
        await survival.posts_at_rest(mesh, kill)


@pytest.mark.slow
@pytest.mark.parametrize("kill", cases.POSTS_ON_THE_WAY, ids=str)
async def test_posts_survive_a_journey(meshes: Meshes, kill: Kill) -> None:
    """Posts that wait as their paglet leaves, or come meanwhile, run once where it is then, whoever dies."""
    async with meshes.mesh("third") as mesh:
        await survival.posts_on_the_way(mesh, kill)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(_NUMBER_OF_PAIRS))
async def test_two_kills_in_one_journey(meshes: Meshes, seed: int, number: int) -> None:
    """Two hosts die in one journey, at points drawn by the session's seed."""
    case = random.Random(seed).sample(cases.PAIRS, _NUMBER_OF_PAIRS)[number]
    async with meshes.mesh("third") as mesh:
        try:
            await survival.journey(mesh, case)
        except BaseException as error:
            error.add_note(f"the kills were {case}")
            raise


@pytest.mark.slow
@pytest.mark.parametrize("number", range(_NUMBER_OF_CLONE_PAIRS))
async def test_two_kills_in_one_clone(meshes: Meshes, seed: int, number: int) -> None:
    """Two hosts die while one clone is made, at points drawn by the session's seed."""
    case = random.Random(seed).sample(cases.CLONE_PAIRS, _NUMBER_OF_CLONE_PAIRS)[number]
    async with meshes.mesh("third") as mesh:
        try:
            await survival.cloning(mesh, case)
        except BaseException as error:
            error.add_note(f"the kills were {case}")
            raise
