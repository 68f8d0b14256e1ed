"""A probe that has things open and works beside its turns: `--allow tests.host.worker`. Its service is the probe's."""

from __future__ import annotations

import asyncio
from functools import partial

from google.protobuf.wrappers_pb2 import StringValue

from paglets import state_locked
from paglets.patterns.tasks import TaskPaglet
from paglets.values import FileMode, TaskPhase
from tests.host.probe import Probe
from tests.host.stage import STAGE

__all__ = ["ERRAND_TYPE", "SAVER_TYPE", "WORKER_MODULE", "WORKER_TYPE", "Errand", "Saver", "Worker"]

WORKER_MODULE = "tests.host.worker"
WORKER_TYPE = "tests.host.worker.Worker"
SAVER_TYPE = "tests.host.worker.Saver"
ERRAND_TYPE = "tests.host.worker.Errand"


class Worker(Probe):
    """What it is asked begins with a word of its own, or is a probe's. `news` is what it heard, beside its state."""

    news = ""

    async def ask(self, request: StringValue) -> StringValue:
        """Opens something (`open NAME`), begins timers (`later LINE`, `every SPOT`), tells what is open (`status`)."""
        word, _, rest = request.value.partition(" ")
        match word:
            case "open":
                self.resources.register(rest, partial(self._close, rest))
            case "open-quiet":
                self.resources.register(rest, partial(self._close, rest), suppress=True)
            case "open-thread":
                self.resources.register(rest, partial(self._close_in_thread, rest))
            case "status":
                return StringValue(value=" ".join(self.resources.status()))
            case "later":
                self.call_later(0.01, partial(self._append, rest))
            case "later-never":
                self.call_later(0.01, partial(self._append, rest)).cancel()
            case "later-fail":
                self.call_later(0.01, partial(self._append, rest))
                raise ValueError(rest)
            case "every":
                self.call_every(0.01, partial(self._tick, rest))
            case "news":
                self.news = rest
                self.notify_all_state_changed()
                await STAGE.at("news")
            case "runs":
                self.state.runs = True
            case "slow":
                self.start_background(self._slow)
            case "beside":
                self.start_background(self._beside)
            case "leave":
                self.start_background(partial(self._leave, rest))
            case "nest":
                self.start_background(partial(self._nest, rest))
            case "save":
                self.state.lines.append(rest)
                await self.checkpoint()
            case "save-beside":
                self.start_background(partial(self._save, rest))
            case "fill":
                self.state.path = rest * 3_000_000
            case "keep":
                await self.storage.write_text(*rest.split(" ", 1))
            case "kept":
                return StringValue(value=await self.storage.read_text(rest))
            case "scratch":
                (await self.work_folder() / "scratch").write_text(rest)
            case "scratched":
                path = await self.work_folder() / "scratch"
                return StringValue(value=path.read_text() if path.exists() else "nothing")
            case "take-scratch":
                await self.register_file(str(await self.work_folder() / "scratch"), mode=FileMode(rest))
            case "give-scratch":
                await self.save_file("scratch", str(await self.work_folder() / "scratch"))
            case "wait-in-turn":
                await self.wait_state(lambda _: True)
            case "add":
                await self.add(rest)
                self.add_in_thread(rest)
            case "wait":
                self.start_background(partial(self._wait, rest))
            case "wait-thread":
                self.start_background(partial(self._wait_beside, rest))
            case _:
                return await super().ask(request)
        return StringValue()

    async def _close(self, name: str) -> None:
        STAGE.note(f"closed {name}")
        await STAGE.at(f"close {name}")
        self.refuse_as_told(name)
        self.state.lines.append(f"closed {name}")

    def _close_in_thread(self, name: str) -> None:
        asyncio.run(self._close(name))

    @state_locked
    async def add(self, line: str) -> int:
        """Adds a line, in a turn or in one of its own; says how many there are."""
        self.state.lines.append(line)
        return len(self.state.lines)

    @state_locked
    def add_in_thread(self, line: str) -> int:
        """As `add`, in a thread."""
        self.state.lines.append(line)
        return len(self.state.lines)

    async def _wait(self, line: str) -> None:
        """Waits for a line of the state, or for news, and says so."""
        await self.wait_state(lambda state: line in state.lines or line == self.news)
        STAGE.note(f"{line} is {await self.add(f'saw {line}')}")

    async def _wait_beside(self, line: str) -> None:
        await asyncio.to_thread(self._wait_in_thread, line)

    def _wait_in_thread(self, line: str) -> None:
        STAGE.note("waits in a thread")
        try:
            self.blocking(self.wait_state(lambda state: line in state.lines or line == self.news))
        except BaseException as error:
            STAGE.note(f"thread: {type(error).__name__}")
            raise
        STAGE.note(f"{line} is {self.add_in_thread(f'saw {line}')}")

    async def _save(self, line: str) -> None:
        await self.add(line)
        await self.checkpoint()
        STAGE.note("saved")

    async def _slow(self) -> None:
        """Takes its time when it is cancelled."""
        try:
            await STAGE.at("slow")
            await asyncio.Event().wait()
        finally:
            await STAGE.at("unwind")

    async def _beside(self) -> None:
        """What a test puts in its place."""

    async def _leave(self, target: str) -> None:
        """Leaves a task behind that asks for a move."""
        self._left = asyncio.create_task(self._go("left", target))
        await STAGE.reached("left")

    async def _nest(self, target: str) -> None:
        """Begins a body that asks for a move."""
        self.start_background(partial(self._go, "inner", target))

    async def _go(self, spot: str, target: str) -> None:
        await STAGE.at(spot)
        self.dispatch(target)

    async def _append(self, line: str) -> None:
        async with self.turn() as state:
            state.lines.append(line)

    async def _tick(self, spot: str) -> None:
        STAGE.note(f"tick {spot}")
        await STAGE.at(spot)
        if spot.startswith("go "):
            self.dispatch(spot.removeprefix("go "))


class Saver(Worker):
    """A worker that is saved now and then."""

    durability = "lifecycle"


class Errand(TaskPaglet[StringValue, StringValue]):
    """A task that goes on when a line was added, and takes its time when it is cancelled."""

    @state_locked
    async def enter(self) -> None:
        """Says that it waits."""
        self.state.enter(TaskPhase.RUNNING, 1.0)

    async def run_task(self, request: StringValue) -> StringValue:
        """Waits for the news that it was asked for, on the loop or in a thread."""
        await self.enter()
        STAGE.note("errand")
        try:
            await self._heard(request.value)
        finally:
            await STAGE.at("unwind")
        return request

    async def _heard(self, word: str) -> None:
        if word == "thread":
            await asyncio.to_thread(self.blocking, self.wait_state(lambda _: STAGE.notes[-1] == word))
        else:
            await self.wait_state(lambda _: STAGE.notes[-1] == word)
