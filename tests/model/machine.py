"""Steps that Hypothesis draws and real hosts take, beside the model.

After each step the points that were passed and what the hosts look like must fit a world that the model can reach.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as draw_by
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from paglets.directory.sqlite import SqliteDirectory
from paglets.errors import PagletError
from paglets.host.tasks import Tasks
from paglets.testing import eventually
from tests.model.conform import Asked, Conformance, Seen
from tests.model.real import Cut, Real
from tests.model.world import Model

__all__ = ["Steps", "look_for_steps"]

T = TypeVar("T")
HOSTS, REQUESTS = st.integers(0, 1), st.integers(0, 1)
MODEL = Model(writes=2, does=frozenset({"create", "dispatch", "deactivate", "dispose"}))
PATIENCE_S = 10.0
WORKS = ("create", "call", "dispatch", "deactivate", "activate", "dispose")


class Steps(RuleBasedStateMachine):
    """One paglet after the other on two hosts. Everything runs on the one loop of the tests, `loop`."""

    loop: asyncio.AbstractEventLoop
    patch: pytest.MonkeyPatch

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="paglets-model-")
        self.real = Real(Path(self.folder.name), MODEL.writes)
        real = self.real

        async def apply(directory: SqliteDirectory, *writes: Any, **more: Any) -> object:  # noqa: ANN401 - passed on
            return await real.apply(directory, *writes, **more)

        def begin(tasks: Tasks, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
            return real.begin_work(tasks, work)

        self.patch.setattr(SqliteDirectory, "apply", apply)
        self.patch.setattr(Tasks, "begin", begin)
        self.late: Cut | None = None
        self.run(self.real.open())
        self.begin()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Does something on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def begin(self) -> None:
        """A paglet of which nobody has heard."""
        self.real.begin()
        self.conformance = Conformance(MODEL)
        self.late, self.over, self.owner = None, False, 0
        self.acknowledged = set[int]()

    def teardown(self) -> None:
        """Ends the hosts."""
        self.run(self.real.close())
        self.folder.cleanup()

    # Steps that nothing cuts.

    @rule(at=HOSTS, request=REQUESTS, work=st.sampled_from(WORKS))
    def ask(self, at: int, request: int, work: str) -> None:
        """Something is asked of a host, and answered."""
        self.run(self._ask(at, request, work))

    @rule(host=HOSTS)
    def restart(self, host: int) -> None:
        """A host is started again."""
        self.run(self._restart(host))

    @rule()
    def go_on(self) -> None:
        """A write that was late comes now; or another paglet begins, if the last has ended.

        One rule that may have nothing to do: what is drawn must not rest on how the hosts fared.
        """
        if self.late is not None:
            late, self.late = self.late, None
            self.run(self._land(late))
        elif self.over:
            self.begin()

    # Steps that are cut.

    @rule(
        at=HOSTS,
        request=REQUESTS,
        work=st.sampled_from(WORKS),
        nth=st.integers(1, 4),
        fate=st.sampled_from(["made", "never", "late"]),
        victim=st.sampled_from([0, 1, None]),
    )
    def cut(self, at: int, request: int, work: str, nth: int, fate: str, victim: int | None) -> None:
        """A write to the directory has no answer, and a host may be ended meanwhile."""
        cut = Cut(nth, fate)
        self.run(self._cut(cut, at, request, work, victim))
        if cut.late is not None:
            self.late = cut

    # How it is done.

    async def _work(self, at: int, request: int, work: str) -> None:
        """Asks, and takes any refusal for an answer; what it did is looked at later."""
        with suppress(PagletError, grpc.aio.AioRpcError):
            async with asyncio.timeout(PATIENCE_S):
                await self._asked(at, request, work)
            if work == "call":
                self.acknowledged.add(request)

    def _asked(self, at: int, request: int, work: str) -> Awaitable[None]:
        match work:
            case "create":
                return self.real.create(at)
            case "call":
                return self.real.call(at, request)
            case "dispatch":
                return self.real.dispatch(at, 1 - self.owner)
            case "deactivate":
                return self.real.deactivate(at)
            case "activate":
                return self.real.activate(at)
            case _:
                return self.real.dispose(at)

    async def _ask(self, at: int, request: int, work: str) -> None:
        asked = Asked([request] if work == "call" else [])
        await self._work(at, request, work)
        await self._fits(asked)

    async def _restart(self, host: int) -> None:
        await self.real.restart(host)
        await self._fits(Asked(restarted=[host]))

    async def _cut(self, cut: Cut, at: int, request: int, work: str, victim: int | None) -> None:
        self.real.cut = cut
        working = asyncio.ensure_future(self._work(at, request, work))
        reached = asyncio.ensure_future(cut.reached.wait())
        await asyncio.wait([working, reached], return_when=asyncio.FIRST_COMPLETED)
        self.real.cut = None
        if victim is not None and not working.done():
            working.cancel()
            await asyncio.wait([working])
        if victim is not None:
            await self.real.restart(victim)
        cut.release()
        await asyncio.wait([working])
        reached.cancel()
        asked = Asked([request] if work == "call" else [], [] if victim is None else [victim], late=True)
        await self._fits(asked)

    async def _land(self, late: Cut) -> None:
        await self.real.land(late)
        await self._fits(Asked(late=True))

    def _lost_nothing(self, seen: Seen) -> None:
        if seen.row is not None and seen.row[1] in {"active", "inactive"}:
            kept = seen.kept[seen.row[0]]
            assert kept is not None
            assert {request for request, runs in enumerate(kept[0]) if runs} >= self.acknowledged

    async def _fits(self, asked: Asked) -> None:
        """Waits until what is seen is what may be seen."""
        told = ""

        async def fits() -> bool:
            nonlocal told
            seen, epoch = await self.real.look()
            if seen is None:
                told = "something is under way"
                return False
            allowed = self.conformance.allowed(self.real.points, asked)
            told = f"{seen} is none of {list(allowed)}"
            if seen not in allowed:
                return False
            told = f"{seen} of epoch {epoch}"
            self.conformance.saw(allowed[seen], epoch)
            self._lost_nothing(seen)
            self.real.points.clear()  # what is passed from here on belongs to the next step
            self.over = seen.row is not None and seen.row[1] == "disposed"
            self.owner = seen.row[0] if seen.row is not None else 0
            return True

        try:
            await eventually(fits, PATIENCE_S, "what the model allows")
        except (TimeoutError, AssertionError) as error:
            raise AssertionError(f"{asked}, {self.real.points}: {told}; {error}") from error


async def look_for_steps(examples: int, seed: int) -> None:
    """Draws so many sequences of ten steps by a seed; raises at the first that does not fit."""
    with pytest.MonkeyPatch.context() as monkeypatch:

        class Drawn(Steps):
            loop = asyncio.get_running_loop()
            patch = monkeypatch

        chosen = settings(
            max_examples=examples,
            stateful_step_count=10,
            database=None,
            deadline=None,
            phases=[Phase.generate],  # an example takes a second: ten steps are read sooner than they are made fewer
            suppress_health_check=[HealthCheck.too_slow],
        )
        await asyncio.to_thread(run_state_machine_as_test, draw_by(seed)(Drawn), settings=chosen)
