"""A probe that has things open and works beside its turns: `--allow tests.host.worker`. Its service is the probe's."""

from __future__ import annotations

import asyncio
from functools import partial

from google.protobuf.wrappers_pb2 import StringValue

from tests.host.probe import Probe
from tests.host.stage import STAGE

__all__ = ["WORKER_MODULE", "WORKER_TYPE", "Worker"]

WORKER_MODULE = "tests.host.worker"
WORKER_TYPE = "tests.host.worker.Worker"


class Worker(Probe):
    """What it is asked begins with a word of its own, or is a probe's."""

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

    async def _append(self, line: str) -> None:
        async with self.turn() as state:
            state.lines.append(line)

    async def _tick(self, spot: str) -> None:
        STAGE.note(f"tick {spot}")
        await STAGE.at(spot)
        if spot.startswith("go "):
            self.dispatch(spot.removeprefix("go "))
