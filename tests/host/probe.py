"""A paglet that does what a test tells it: `--allow tests.host.probe`. Its service is that of `probe_service`.

It stops where the stage of its process holds it, and notes there what happened to it.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import StringValue

from paglets.core.events import (
    ActivationEvent,
    ArrivalTarget,
    CloneEvent,
    CreationEvent,
    DeactivationEvent,
    DeactivationRequest,
    DisposalEvent,
    MobilityEvent,
)
from paglets.core.handlers import operation
from paglets.errors import InvalidArgumentError, PagletError, PreconditionError, UnavailableError
from paglets.patterns.operations import OperationPaglet
from paglets.values import DeactivationPolicy, FileMode, TransferTicket
from tests.host.probe_service import PROBE
from tests.host.stage import STAGE

__all__ = ["SECRET", "Probe", "ProbeState"]

SECRET = "/root/hunter2"  # noqa: S105 - a word to look for
"""A text that an author's exception holds, and that no caller may ever see."""


@dataclass
class ProbeState:
    """What a probe keeps. `refuse` names hooks that raise, there or at a host: `hook@host`, or `go HOST`, ...

    `shutdown` is to be told; `wild` is for what cannot be kept.
    """

    lines: list[str] = field(default_factory=list[str])
    refuse: dict[str, str] = field(default_factory=dict[str, str])
    wild: int = 0
    path: str = ""
    runs: bool = False


class Probe(OperationPaglet[ProbeState]):
    """Every operation is one kind of turn, read or mistake."""

    Services = (PROBE,)

    # Turns.

    async def append(self, request: StringValue) -> StringValue:
        """Adds a line; gives all lines."""
        self.state.lines.append(request.value)
        STAGE.note(f"append {request.value}")
        return self._lines()

    def append_in_thread(self, request: StringValue) -> StringValue:
        """As `append`, in a worker thread."""
        self.state.lines.append(request.value)
        return self._lines()

    async def hold(self, request: StringValue) -> StringValue:
        """Adds a line before and one after the spot named."""
        self.state.lines.append(f"{request.value}<")
        await STAGE.at(request.value)
        self.state.lines.append(f">{request.value}")
        return self._lines()

    async def hold_in_worker(self, request: StringValue) -> StringValue:
        """Stays at the spot in a thread that the host knows nothing of."""
        await asyncio.to_thread(STAGE.at_in_thread, request.value)
        return request

    def hold_in_thread(self, request: StringValue) -> StringValue:
        """As `hold`, in a worker thread."""
        self.state.lines.append(f"{request.value}<")
        STAGE.at_in_thread(request.value)
        self.state.lines.append(f">{request.value}")
        return self._lines()

    async def look(self, request: StringValue) -> StringValue:
        """A turn that changes nothing."""
        return self._lines()

    async def fail(self, request: StringValue) -> StringValue:
        """Changes the state, then raises."""
        STAGE.note(f"fail {request.value}")
        self.state.lines.append("never kept")
        if request.value == "cancelled":
            raise asyncio.CancelledError
        if request.value.startswith("its task"):
            cast("asyncio.Task[object]", asyncio.current_task()).cancel()
        if request.value == "its task, waiting":
            await asyncio.sleep(0)
        if request.value == "refused":
            raise PreconditionError("TASK_RUNNING", "not now", metadata={"why": "test"})
        raise ValueError(SECRET)

    async def spoil(self, request: StringValue) -> StringValue:
        """Leaves a state that cannot be kept."""
        self.state.lines.append("never kept")
        wild: dict[str, Any] = {"object": object(), "text": "no number", "large": 2**70, "big": 0}
        if request.value == "big":
            self.state.lines.append("x" * 2_000_000)
        else:
            self.state.wild = wild[request.value]
        return self._lines()

    async def repeat(self, request: StringValue) -> StringValue:
        """Adds a line and answers with as many bytes as asked for."""
        STAGE.note("repeat")
        self.state.lines.append("repeated")
        return StringValue(value="x" * int(request.value))

    async def ask(self, request: StringValue) -> StringValue:
        """Asks something of the host: `dispatch TARGET`, `dispose`, `body dispatch TARGET`, `copy PATH`, ...

        After `held ` it does so once it has been at that spot.
        """
        if request.value.startswith("held "):
            await STAGE.at("held")
        word, _, rest = request.value.removeprefix("held ").partition(" ")
        if word == "dispatch":
            self.state.lines.append("asked")
            return StringValue(value=self.dispatch(rest).paglet_id)
        if word == "clone":
            return StringValue(value=self.clone(rest).paglet_id)
        if word == "choosy":  # it wants what no host offers
            self.dispatch(rest, ticket=TransferTicket(required_types=("shop.Cart",)))
        if word == "rest-until":  # whole seconds are an int
            self.deactivate(DeactivationPolicy(activate_at=int(rest)))
        if word == "mispost":
            for name in (5, "", "shop.Cart/\ud800"):
                with suppress(InvalidArgumentError):
                    self.post("nobody", name, Empty())  # pyright: ignore[reportArgumentType] - on purpose
                    raise AssertionError(name)
        if word == "haggle":  # its tickets are none, or out of bounds
            ask = {"dispatch": self.dispatch, "clone": self.clone}[rest]
            with suppress(InvalidArgumentError):
                self.deactivate("x")  # pyright: ignore[reportArgumentType] - the mistake that is tested
                raise AssertionError(rest)
            wild = TransferTicket(deadline_s="5")  # pyright: ignore[reportArgumentType] - the mistake that is tested
            for ticket in (wild, TransferTicket(deadline_s=math.nan), TransferTicket(retries=2**40)):
                with suppress(InvalidArgumentError):
                    ask("beta", ticket=ticket)
                    raise AssertionError(ticket)
        if word == "fail-dispatch":
            self.dispatch(rest)
            raise ValueError(SECRET)
        if word == "post":
            self.context.start_background(partial(self._posting_body, rest))
        elif word == "body":
            self.context.start_background(partial(self._body, rest))
        elif word == "thread":
            self.context.start_background(partial(self._thread_body, rest))
        elif word in {"copy", "move"}:
            found = await self.register_file(rest, mode=FileMode(word))
            return StringValue(value=found.digest.hex)
        elif word == "refuse":
            hook, _, how = rest.partition(" ")
            self.state.refuse[hook] = how
        elif word == "wait":
            await self.wait_state(lambda _: True)
        elif word == "dispose":
            self.dispose()
        elif word == "deactivate":
            self.deactivate(DeactivationPolicy(activate_on_message=rest != "keep"))
        return StringValue()

    async def strict(self, request: StringValue) -> StringValue:
        """Adds a line, unless the state refuses `strict`; `away` is a refusal that may pass."""
        STAGE.note(f"strict {request.value}")
        if self.state.refuse.get("strict") == "away":
            raise UnavailableError("HOST_UNREACHABLE", "not now")
        _refuse(self.state, "strict")
        self.state.lines.append(request.value)
        return self._lines()

    @operation(f"{PROBE.full_name}/Post")
    async def post_lines(self, request: StringValue) -> StringValue:
        """Posts `PAGLET OPERATION TEXT`, each line of the request; a line `fail` raises, one `section` posts later."""
        self.state.lines.append("posts")
        for line in request.value.splitlines():
            if line == "fail":
                raise ValueError(SECRET)
            self._post(line)
        return self._lines()

    def post_in_thread(self, request: StringValue) -> StringValue:
        """Posts the lines of the request, and calls with the last one too, from a worker thread."""
        for line in request.value.splitlines():
            self._post(line)
        return self.blocking(lambda: self._call(request.value.splitlines()[-1]))

    def _post(self, line: str) -> None:
        paglet_id, operation_, text = line.split(" ", 2)
        self.post(paglet_id, f"{PROBE.full_name}/{operation_}", StringValue(value=text))

    async def relay(self, request: StringValue) -> StringValue:
        """Calls `PAGLET OPERATION TEXT` and gives the answer; then comes to the spot `relayed`."""
        answer = await self._relayed(request.value)
        self.state.lines.append("relayed")
        STAGE.note(f"relayed {answer}")
        await STAGE.at("relayed")
        if self.state.refuse.get("relay") == "away":
            raise UnavailableError("HOST_UNREACHABLE", "not now")
        return StringValue(value=answer)

    async def relay_read(self, request: StringValue) -> StringValue:
        """As `relay`, without side effects of its own."""
        return StringValue(value=await self._relayed(request.value))

    async def _relayed(self, line: str) -> str:
        return (await self._call(line)).value

    def _call(self, line: str) -> grpc.aio.UnaryUnaryCall[StringValue, StringValue]:
        paglet_id, operation_, text = line.split(" ", 2)

        def bind(channel: grpc.aio.Channel) -> grpc.aio.UnaryUnaryMultiCallable[StringValue, StringValue]:
            path = f"/{PROBE.full_name}/{operation_}"
            return channel.unary_unary(path, StringValue.SerializeToString, StringValue.FromString)

        return self.stub(paglet_id, bind)(StringValue(value=text), timeout=5)

    async def wrong(self, request: StringValue) -> StringValue:
        """Answers with a message of another type."""
        wrong: Any = Empty()
        return wrong

    # Reads.

    async def read(self, request: StringValue) -> StringValue:
        """Gives all lines."""
        return self._lines()

    def read_in_thread(self, request: StringValue) -> StringValue:
        """As `read`, in a worker thread."""
        return self._lines()

    async def hold_read(self, request: StringValue) -> StringValue:
        """Gives all lines as they are after the spot named."""
        await STAGE.at(request.value)
        return self._lines()

    async def scribble(self, request: StringValue) -> StringValue:
        """A read that writes, which it must not."""
        self.state.lines.append("scribbled")
        self.state.wild = 99
        return self._lines()

    async def wait_for(self, request: StringValue) -> StringValue:
        """Waits until the durable state has a line."""
        found = await self.wait_state(lambda state: request.value in state.lines, 20)
        return StringValue(value=str(found))

    # Hooks.

    async def on_creation(self, event: CreationEvent) -> None:
        """Creation."""
        await self._hook("on_creation")

    async def on_dispatching(self, event: MobilityEvent) -> None:
        """The last turn before a move."""
        await self._hook("on_dispatching")

    async def on_dispatch_aborted(self, error: PagletError) -> None:
        """A move was given up."""
        self.state.lines.append(f"aborted {error.code.name} {error.reason}")
        STAGE.note(f"aborted {error.reason}")

    async def on_arrival(self, event: MobilityEvent) -> None:
        """The first turn at the target."""
        await self._hook("on_arrival")

    def deactivation_policy(self, request: DeactivationRequest) -> DeactivationPolicy:
        """What was asked for, or, if the state says so, no policy at all."""
        wrong: Any = "wrong"
        return wrong if "deactivation_policy" in self.state.refuse else super().deactivation_policy(request)

    async def on_deactivating(self, event: DeactivationEvent) -> None:
        """The last turn before a rest."""
        STAGE.note(f"deactivating {event.reason}")
        if event.reason != "shutdown" or "shutdown" in self.state.refuse:
            self.state.lines.append("rests")
        await self._hook("on_deactivating")

    async def on_cloning(self, event: CloneEvent) -> None:
        """Before it is copied."""
        await self._hook("on_cloning")
        self.state.lines.append("cloning")

    async def on_clone(self, event: CloneEvent) -> None:
        """The first turn of a copy."""
        await self._hook("on_clone")
        self.state.lines.append(f"clone of {event.original}")

    async def on_cloned(self, event: CloneEvent) -> None:
        """The copy is there."""
        await self._hook("on_cloned")

    async def on_activation(self, event: ActivationEvent) -> None:
        """After a restart, or a rest."""
        STAGE.note("activated")
        STAGE.note(f"activated {event.reason}")
        if event.reason != "restart":
            self.state.lines.append("woken")
            await self._hook("on_activation")

    async def on_disposing(self, event: DisposalEvent) -> None:
        """The last turn of all."""
        STAGE.note("disposing")

    async def run(self) -> None:
        """Says that it runs, and that it was ended."""
        if not self.state.runs:
            return
        STAGE.note("run")
        try:
            await asyncio.Event().wait()
        finally:
            STAGE.note("run ended")

    @classmethod
    def check_arrival(cls, state: ProbeState, target: ArrivalTarget) -> None:  # noqa: ARG003 - the state decides
        """Refuses as the state says."""
        _refuse(state, "check_arrival")

    async def _hook(self, name: str) -> None:
        STAGE.note(name)
        await STAGE.at(name)
        self.refuse_as_told(name)
        if (how := self.state.refuse.pop(name, "")).startswith("go post "):
            self._post(how.removeprefix("go post "))
        elif how.startswith("go "):
            self.dispatch(how.removeprefix("go "))

    def refuse_as_told(self, name: str) -> None:
        """Raises as the state says."""
        _refuse(self.state, name)
        _refuse(self.state, f"{name}@{self.context.host}")

    # Background.

    async def _posting_body(self, line: str) -> None:
        """Posts, first outside of a turn."""
        try:
            self._post(line)
        except PreconditionError as error:
            async with self.turn() as state:
                state.lines.append(error.reason)
                self._post(line)

    async def _body(self, what: str) -> None:
        word, _, rest = what.partition(" ")
        await STAGE.at("body")
        if word == "dispatch":
            async with self.turn() as state:
                state.lines.append("from the body")
            self.dispatch(rest)
            await STAGE.at("body end")
            if rest == "fail":
                raise ValueError(SECRET)
        elif word == "append":
            async with self.turn() as state:
                state.lines.append(rest)
                await STAGE.at("in section")
        elif word == "break":
            async with self.turn() as state:
                state.lines.append("never kept")
                raise ValueError(SECRET)

    async def _thread_body(self, line: str) -> None:
        """Writes from a worker thread."""
        await STAGE.at("body")
        await asyncio.to_thread(self._in_worker, line)
        STAGE.note("thread body ended")

    def _in_worker(self, line: str) -> None:
        with self.locked_state() as state:
            state.lines.append(line)
            STAGE.at_in_thread("in section")

    def _lines(self) -> StringValue:
        return StringValue(value=" ".join(self.state.lines))


def _refuse(state: ProbeState, hook: str) -> None:
    how = state.refuse.get(hook, "go on")
    if how == "refused":
        raise PreconditionError("TASK_RUNNING", f"{hook} says no", metadata={"hook": hook})
    if not how.startswith("go "):
        raise ValueError(SECRET)
