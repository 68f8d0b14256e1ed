"""A task that goes on step by step, as its counter is told: `--allow tests.host.stepper`."""

from __future__ import annotations

import asyncio

from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglet.examples.counter.v1 import counter_pb2
from paglets.patterns.task_state import TaskState
from paglets.patterns.tasks import TaskPaglet
from paglets.values import PagletProxyRef
from tests.host.stage import STAGE

__all__ = ["STEPPER_MODULE", "STEPPER_TYPE", "Leaver", "LifecycleStepper", "Stepper"]

STEPPER_MODULE = "tests.host.stepper"
STEPPER_TYPE = f"{STEPPER_MODULE}.Stepper"


class Stepper(TaskPaglet[StringValue, Int64Value, TaskState, StringValue]):
    """Ends when it was told so many steps as it was asked for, and begins anew where it was cut."""

    Services = (counter_pb2.DESCRIPTOR.services_by_name["CounterService"],)
    rerun_after_cut = True

    async def run_task(self, request: StringValue) -> Int64Value:
        """Waits for its steps."""
        wanted = int(request.value)
        try:
            await self.wait_state(lambda state: state.progress is not None and state.progress.done >= wanted)
        except asyncio.CancelledError:
            STAGE.note(f"cancelled on {self.context.host}")
            raise
        return Int64Value(value=wanted)

    async def add(self, request: counter_pb2.AddRequest) -> counter_pb2.AddResponse:
        """Takes steps."""
        done = self._done() + request.amount
        await self.report_progress(done, detail=StringValue(value=self.context.host))
        return counter_pb2.AddResponse(value=done)

    async def get(self, request: counter_pb2.GetRequest) -> counter_pb2.GetResponse:
        """How many there were."""
        return counter_pb2.GetResponse(value=self._done())

    def _done(self) -> int:
        return self.state.progress.done if self.state.progress else 0


class LifecycleStepper(Stepper):
    """One that a kill sets back."""

    durability = "lifecycle"


class Leaver(TaskPaglet[StringValue, Int64Value]):
    """Goes on at the host it is asked for, where it waits to be cancelled."""

    async def run_task(self, request: StringValue) -> PagletProxyRef:
        """Says that it goes, and stays at the spot `leave` for a while."""
        async with self.turn() as state:
            state.wait_for_arrival(request.value)
        await STAGE.at("leave")
        return self.dispatch(request.value)
