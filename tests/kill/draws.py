"""Which hosts die in a run of the soak, and where: drawn from every named point that a run may pass.

It must never know what a point means, only how often it is passed, and that some are passed by a host that comes back.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from paglets.artifacts.steps import FAULT_POINTS
from paglets.host.comeback import COMEBACK_POINTS
from paglets.host.host import HOST_POINTS
from paglets.host.pull import PULL_POINTS
from paglets.host.rebuild import REBUILD_POINTS
from tests.kill.cases import LAYOUTS, Layout
from tests.kill.kills import Kill

__all__ = ["DRAWN", "NOT_DRAWN", "draw", "draw_run"]

_APPLY = ("directory.apply.before", "directory.apply.after")
_OF_PAGLETS = tuple(point for point in HOST_POINTS if point not in COMEBACK_POINTS)

DRAWN = (*HOST_POINTS, *FAULT_POINTS, *_APPLY)
"""The points at which a run may have a host die."""

NOT_DRAWN = {
    **dict.fromkeys(PULL_POINTS, "no paglet has part in a pull; tests/artifacts/test_pull.py kills there"),
    **dict.fromkeys(REBUILD_POINTS, "a directory must be lost for that; tests/kill/test_rebuild.py kills there"),
}
"""The other points, each with the reason."""

_OFTEN = {"post.keep.": 15, "post.run.": 15, "outbox.": 15, "directory.": 30}
"""About how often a run has a host pass points, by the beginnings of their names; the others it passes rarely."""


def draw_run(chance: random.Random) -> tuple[str, list[Sequence[Kill]]]:
    """The name of a layout, and who dies in it."""
    name = chance.choice(list(LAYOUTS))
    return name, draw(LAYOUTS[name], chance)


def draw(layout: Layout, chance: random.Random) -> list[Sequence[Kill]]:
    """The deaths of one to three hosts, each host's in their order: it dies again when it has come back."""
    keeper = layout.keeper
    roles = list(dict.fromkeys(("source", "target", keeper)))
    return [_draw_host(role, keeper, chance) for role in chance.sample(roles, chance.randint(1, len(roles)))]


def _draw_host(role: str, keeper: str, chance: random.Random) -> Sequence[Kill]:
    kills = [_draw_kill(role, keeper, chance)]
    if chance.random() < 0.4:
        as_it_comes_back = role != "directory" and chance.random() < 0.5  # only who has paglets does something then
        kills.append(_draw_return(role, chance) if as_it_comes_back else _draw_kill(role, keeper, chance))
    return kills


def _draw_kill(role: str, keeper: str, chance: random.Random) -> Kill:
    """One at a point of its own part in the mesh: the directory's, its store's, or one of its paglets'."""
    if role == "directory" or (role == keeper and chance.random() < 0.3):
        points: Sequence[str] = _APPLY
    else:
        points = FAULT_POINTS if chance.random() < 0.1 else _OF_PAGLETS
    point = chance.choice(points)
    often = [most for beginning, most in _OFTEN.items() if point.startswith(beginning)]
    return Kill(victim=role, point=point, nth=chance.randint(1, *often) if often else 1)


def _draw_return(role: str, chance: random.Random) -> Kill:
    return Kill(victim=role, point=chance.choice(COMEBACK_POINTS))
