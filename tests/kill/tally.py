"""The figures of many runs of the soak."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from tests.kill.kills import Kill

__all__ = ["Tally"]


@dataclass(slots=True)
class Tally:
    """What happened in all runs; a run that loses something, or does it twice, fails, and is not among them.

    `calms_s` are the seconds from a restart until the mesh was quiet: nothing on its way, and all paglets answer.
    """

    runs: int = 0
    writes: int = 0
    posts: int = 0
    posts_of_paglets: int = 0
    files: int = 0
    steps: Counter[str] = field(default_factory=Counter[str])
    deaths: Counter[Kill] = field(default_factory=Counter[Kill])
    calms_s: list[float] = field(default_factory=list[float])

    def add_deaths(self, kills: Sequence[Kill]) -> None:
        """Counts deaths by who died where."""
        self.deaths.update(Kill(victim=kill.victim, point=kill.point) for kill in kills)

    def __str__(self) -> str:
        lines = [
            f"{self.runs} runs, {self.deaths.total()} deaths; acknowledged {self.writes} writes and {self.posts} posts",
            f"of clients, with {self.posts_of_paglets} posts of paglets: 0 lost, 0 run twice",
            f"{self.files} files looked at: 0 lost; from a restart until all is quiet {_summary(self.calms_s)}",
            f"steps: {_listed(self.steps)}",
            f"who died: {_listed(self._by_role())}",
        ]
        lines += [f"  {point}: {_listed(roles)}" for point, roles in sorted(self._by_point().items())]
        return "\n".join(lines)

    def _by_role(self) -> Counter[str]:
        roles = Counter[str]()
        for kill, count in self.deaths.items():
            roles[kill.victim] += count
        return roles

    def _by_point(self) -> dict[str, Counter[str]]:
        points: dict[str, Counter[str]] = {}
        for kill, count in self.deaths.items():
            points.setdefault(kill.point, Counter[str]())[kill.victim] += count
        return points


def _summary(seconds: Sequence[float]) -> str:
    """How many there are, and how they are spread."""
    if len(seconds) < 2:
        return f"{len(seconds)} times" + "".join(f", {each:.1f} s" for each in seconds)
    p95 = quantiles(seconds, n=20, method="inclusive")[-1]
    return f"{len(seconds)} times, median {median(seconds):.1f} s, p95 {p95:.1f} s, max {max(seconds):.1f} s"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
