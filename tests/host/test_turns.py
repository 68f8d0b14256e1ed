"""Turns as callers see them: whole or not at all, one at a time, in order, durable before their reply."""

from __future__ import annotations

import asyncio
from typing import cast

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglets.core.events import CreationEvent
from paglets.errors import PreconditionError
from tests.host.conftest import Site
from tests.host.midway import do
from tests.host.probe import SECRET, Probe, ProbeState
from tests.host.probe_service import PROBE
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused


@pytest.fixture
async def probe(alpha: Site) -> str:
    """A probe."""
    return (await alpha.client.create(PROBE_TYPE, paglet_id="probe")).paglet_id


@pytest.mark.parametrize("operation", ["Append", "AppendInThread"])
async def test_turn_is_kept(alpha: Site, probe: str, operation: str) -> None:
    """What a turn changed is there for the next one, whether its handler is a coroutine or runs in a thread."""
    assert (await ask(alpha.channel, probe, operation, "a")).text == "a"
    assert (await ask(alpha.channel, probe, operation, "b")).text == "a b"
    for reading in ("Read", "ReadInThread"):
        assert (await ask(alpha.channel, probe, reading)).text == "a b"


@pytest.mark.parametrize("how", ["object", "text", "large", "big"])
async def test_state_that_cannot_be_kept_rolls_the_turn_back(alpha: Site, probe: str, how: str) -> None:
    """A state that cannot be encoded, does not decode strictly or is too large is refused; the old one stands."""
    refusal = await refused(ask(alpha.channel, probe, "Spoil", how))
    assert refusal.what == (grpc.StatusCode.INVALID_ARGUMENT, "STATE_INVALID")
    assert refusal.fields == ["state"]
    assert (await ask(alpha.channel, probe, "Append", "a")).text == "a"


async def test_core_9_error_of_the_author_reaches_the_caller_whole(alpha: Site, probe: str) -> None:
    """A PagletError that a handler raises rolls its turn back and comes out with code, reason and metadata."""
    refusal = await refused(ask(alpha.channel, probe, "Fail", "refused"))
    assert refusal.what == (grpc.StatusCode.FAILED_PRECONDITION, "TASK_RUNNING")
    assert (refusal.message, refusal.metadata, refusal.domain) == ("not now", {"why": "test"}, "paglet")
    assert (await ask(alpha.channel, probe, "Look")).text == ""


@pytest.mark.parametrize("request_id", ["", "r-1"])
async def test_core_9_unexpected_error_leaks_nothing(
    alpha: Site, probe: str, request_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Of an unexpected exception the caller sees an incident id, and the log has that id beside the text."""
    refusal = await refused(ask(alpha.channel, probe, "Fail", "unexpected", request_id=request_id))
    assert refusal.what == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert SECRET not in repr(refusal)
    assert refusal.metadata["incident"] in caplog.text
    assert SECRET in caplog.text
    assert (await ask(alpha.channel, probe, "Look")).text == ""


@pytest.mark.parametrize("request_id", ["", "r-1"])
@pytest.mark.parametrize("what", ["cancelled", "its task", "its task, waiting"])
async def test_life_14_handler_that_cancels_itself_fails(alpha: Site, probe: str, request_id: str, what: str) -> None:
    """A handler from which a cancellation escapes has failed: the caller is told at once, the paglet goes on."""
    refusal = await refused(ask(alpha.channel, probe, "Fail", what, request_id=request_id, timeout_s=5))
    assert refusal.what == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert (await ask(alpha.channel, probe, "Append", "a")).text == "a"


async def test_cancellation_that_a_handler_leaves_behind_ends_with_it(
    alpha: Site, probe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends nothing that the host does after the handler: the turn is kept, and answered."""
    append = Probe.append

    async def cancelling(self: Probe, request: StringValue) -> StringValue:
        cast("asyncio.Task[object]", asyncio.current_task()).cancel()
        return await append(self, request)

    monkeypatch.setattr(Probe, "append", cancelling)
    assert (await ask(alpha.channel, probe, "Append", "a", timeout_s=5)).text == "a"
    assert (await ask(alpha.channel, probe, "Append", "b", request_id="r-1", timeout_s=5)).text == "a b"


@pytest.mark.parametrize("operation", ["Append", "AppendInThread", "Read", "ReadInThread"])
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
async def test_life_14_handler_cannot_end_its_host(
    alpha: Site, probe: str, monkeypatch: pytest.MonkeyPatch, operation: str, kind: type[BaseException]
) -> None:
    """Whatever a handler raises is its own failure: the caller is told, and paglet and host go on."""
    name = {"Append": "append", "AppendInThread": "append_in_thread", "Read": "read"}.get(operation, "read_in_thread")

    def in_thread(_probe: Probe, _request: StringValue) -> StringValue:
        raise kind

    async def on_loop(_probe: Probe, _request: StringValue) -> StringValue:
        raise kind

    with monkeypatch.context() as patch:
        patch.setattr(Probe, name, in_thread if "thread" in name else on_loop)
        refusal = await refused(ask(alpha.channel, probe, operation))
    assert refusal.what == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert (await ask(alpha.channel, probe, "Append", "a")).text == "a"


async def test_reply_that_fits_no_message_is_not_committed(alpha: Site, probe: str) -> None:
    """A reply that nobody could receive fails its turn, which is rolled back."""
    refusal = await refused(ask(alpha.channel, probe, "Repeat", str(4 * 1024 * 1024)))
    assert refusal.what == (grpc.StatusCode.INTERNAL, "REPLY_INVALID")
    assert (await ask(alpha.channel, probe, "Look")).text == ""
    assert len((await ask(alpha.channel, probe, "Repeat", str(4 * 1024 * 1024 - 100))).text) == 4 * 1024 * 1024 - 100


async def test_predicate_of_a_wait_is_given_a_copy(alpha: Site, probe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a predicate does to the state that it looks at is seen by nobody who reads or changes the state."""

    def scribble(state: ProbeState) -> bool:
        state.lines.append("scribbled")
        return True

    async def wait_for(found: Probe, _request: StringValue) -> StringValue:
        return StringValue(value=str(await found.wait_state(scribble, 1)))

    monkeypatch.setattr(Probe, "wait_for", wait_for)
    assert (await ask(alpha.channel, probe, "WaitFor", "x")).text == "True"
    assert (await ask(alpha.channel, probe, "Read")).text == ""
    assert (await ask(alpha.channel, probe, "Append", "a")).text == "a"


async def test_reply_of_another_type_is_refused(alpha: Site, probe: str) -> None:
    """A handler that answers with a message of another type is told apart from one that raises."""
    refusal = await refused(ask(alpha.channel, probe, "Wrong"))
    assert refusal.what == (grpc.StatusCode.INTERNAL, "REPLY_INVALID")
    assert refusal.metadata == {"operation": "paglets.tests.probe.v1.ProbeService/Wrong"}


@pytest.mark.parametrize("operation", ["Hold", "HoldInThread"])
async def test_core_6_turns_are_alone_and_in_order(alpha: Site, probe: str, operation: str) -> None:
    """While a turn runs the others wait, and get their turns in the order in which they came."""
    STAGE.hold("first")
    resident = alpha.host.residents.get(probe)
    assert resident is not None
    calls = [asyncio.create_task(ask(alpha.channel, probe, operation, "first"))]
    await STAGE.reached("first")
    for number in range(5):
        calls.append(asyncio.create_task(ask(alpha.channel, probe, "Append", str(number))))
        await eventually(lambda wanted=number + 1: _is(resident.gate.waiting, wanted))
    STAGE.release("first")
    replies = [reply.text for reply in await asyncio.gather(*calls)]
    assert replies[-1] == "first< >first 0 1 2 3 4"
    assert all(replies[-1].startswith(reply) for reply in replies)


async def test_core_6_reads_run_beside_a_long_turn(alpha: Site, probe: str) -> None:
    """A read does not wait for a turn, and sees only what is durable."""
    STAGE.hold("long")
    await ask(alpha.channel, probe, "Append", "a")
    turn = asyncio.create_task(ask(alpha.channel, probe, "Hold", "long"))
    await STAGE.reached("long")
    for reading in ("Read", "ReadInThread"):
        assert (await ask(alpha.channel, probe, reading)).text == "a"
    STAGE.release("long")
    assert (await turn).text == "a long< >long"
    assert (await ask(alpha.channel, probe, "Read")).text == "a long< >long"


async def test_core_6_paglet_is_looked_at_beside_its_turn(alpha: Site, probe: str) -> None:
    """Its state as it is durable, its description and its operations are told while a turn goes on."""
    await ask(alpha.channel, probe, "Append", "a")
    STAGE.hold("long")
    turn = asyncio.create_task(ask(alpha.channel, probe, "Hold", "long"))
    await STAGE.reached("long")
    assert '"lines":["a"]' in await alpha.client.state(probe)
    assert (await alpha.client.get(probe)).state == "active"
    assert await alpha.client.operations(probe)
    assert not turn.done()
    STAGE.release("long")
    assert (await turn).text == "a long< >long"


async def test_what_answers_no_call_has_none(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks, posts and the paglet's own background are told so; a call of an operation is one."""
    append = Probe.append

    def look(found: Probe, where: str) -> None:
        try:
            STAGE.note(f"{where} {bool(found.context.call)}")
        except PreconditionError as error:
            STAGE.note(f"{where} {error.reason}")

    async def on_creation(found: Probe, _event: CreationEvent) -> None:
        look(found, "hook")

    async def run(found: Probe) -> None:
        look(found, "body")

    async def looking(found: Probe, request: StringValue) -> StringValue:
        look(found, request.value)
        return await append(found, request)

    for name, function in (("on_creation", on_creation), ("run", run), ("append", looking)):
        monkeypatch.setattr(Probe, name, function)
    await alpha.client.create(PROBE_TYPE, paglet_id="looks")
    await ask(alpha.channel, "looks", "Append", "call")
    await alpha.client.post("looks", f"{PROBE.full_name}/Append", StringValue(value="post"))
    told = {"hook NOT_IN_CALL", "body NOT_IN_CALL", "call True", "post NOT_IN_CALL"}
    await eventually(lambda: do(told <= set(STAGE.notes)), what=str(told))


async def test_read_that_writes_changes_nothing(alpha: Site, probe: str) -> None:
    """What a read-only operation writes is seen by no other call, and is never kept."""
    await ask(alpha.channel, probe, "Append", "a")
    await ask(alpha.channel, probe, "Scribble")
    assert (await ask(alpha.channel, probe, "Read")).text == "a"
    assert (await ask(alpha.channel, probe, "Append", "b")).text == "a b"
    assert (await ask(alpha.channel, probe, "Read")).text == "a b"


async def test_waiting_read_sees_each_change(alpha: Site, probe: str) -> None:
    """A read may wait for a change of the durable state."""
    waiting = asyncio.create_task(ask(alpha.channel, probe, "WaitFor", "b"))
    await ask(alpha.channel, probe, "Append", "a")
    assert not waiting.done()
    await ask(alpha.channel, probe, "Append", "b")
    assert (await waiting).text == "True"


async def test_waiting_for_oneself_in_a_turn_is_refused(alpha: Site, probe: str) -> None:
    """A turn that waits for its own state would wait for ever: it is told so."""
    refusal = await refused(ask(alpha.channel, probe, "Ask", "wait"))
    assert refusal.what == (grpc.StatusCode.FAILED_PRECONDITION, "WAIT_IN_TURN")
    assert refusal.resource == ("paglet", probe)


@pytest.mark.parametrize("operation", ["Hold", "HoldInThread"])
async def test_caller_that_goes_away_takes_its_turn_back(alpha: Site, probe: str, operation: str) -> None:
    """A caller that gives up a running call without a request id has changed nothing."""
    STAGE.hold("gone")
    running = asyncio.create_task(ask(alpha.channel, probe, operation, "gone"))
    await STAGE.reached("gone")
    running.cancel()
    after = asyncio.create_task(ask(alpha.channel, probe, "Append", "a"))
    resident = alpha.host.residents.get(probe)
    assert resident is not None
    await eventually(lambda: _is(running.cancelled(), True))  # noqa: FBT003 - what is to be
    if operation == "HoldInThread":
        STAGE.release("gone")
    assert (await after).text == "a"


async def test_disposed_paglet_sends_the_waiting_away(alpha: Site, probe: str) -> None:
    """Calls that wait when their paglet ends are told that it is gone."""
    STAGE.hold("last")
    turn = asyncio.create_task(ask(alpha.channel, probe, "Hold", "last"))
    await STAGE.reached("last")
    waiting = asyncio.create_task(refused(ask(alpha.channel, probe, "Append", "a")))
    resident = alpha.host.residents.get(probe)
    assert resident is not None
    await eventually(lambda: _is(resident.gate.waiting, 1))
    ending = asyncio.create_task(alpha.client.dispose(probe))
    await eventually(lambda: _is(resident.life.locked(), True))  # noqa: FBT003 - what is to be
    STAGE.release("last")
    await ending
    assert (await turn).text == "last< >last"
    assert (await waiting).what == (grpc.StatusCode.NOT_FOUND, "PAGLET_NOT_FOUND")
    assert STAGE.notes[-1] == "disposing"


async def _is(found: object, wanted: object) -> bool:
    return found == wanted
