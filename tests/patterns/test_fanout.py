"""The book-keeping of a fan-out, one row of what is promised after another, without a host."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglet.v1 import fanout_pb2
from paglets.core.events import ActivationEvent, CloneEvent, MobilityEvent
from paglets.core.timers import Timer
from paglets.errors import InvalidArgumentError, UnavailableError
from paglets.patterns.fanout import MeshFanoutMixin
from paglets.patterns.fanout_state import FanoutRole, MeshFanoutState
from paglets.testing import eventually
from tests.fake_home import FakeHome
from tests.patterns.spreader import Spreader

REPORT = "/paglet.v1.FanoutService/Report"


@pytest.fixture
async def home() -> AsyncIterator[FakeHome]:
    """A spreader at a host of its own."""
    found = FakeHome(Spreader)
    yield found
    await found.quiesce()


def _paglet(home: FakeHome) -> Spreader:
    assert isinstance(home.paglet, Spreader)
    return home.paglet


def _state(home: FakeHome) -> MeshFanoutState:
    return _paglet(home).state


async def _report(
    home: FakeHome, host: str, text: str, *, done: bool = False, error: str = "", fanout_id: str = ""
) -> None:
    request = fanout_pb2.FanoutServiceReportRequest(
        fanout_id=fanout_id or _state(home).fanout_id, host=host, done=done, error=error
    )
    request.results.add().Pack(StringValue(value=text))
    await home.answer(REPORT, request)


async def test_fan_1_reset(home: FakeHome) -> None:
    """A fan-out begins as a parent, with its time, and nothing of the one before."""
    spreader = _paglet(home)
    async with spreader.turn() as state:
        state.become_child("p", "old", "x")
        state.expect("beta", "c")
        state.record_done("gamma")
        state.record_error("delta", "broken")
        state.cleanup_errors["beta"] = "away"
    await spreader.fanout_reset(10.0)
    state = spreader.state
    assert (state.role, state.parent, state.target_host) == (FanoutRole.PARENT, "", "")
    assert (state.pending, state.done, state.children, state.errors, state.cleanup_errors) == ([], [], {}, {}, {})
    assert state.fanout_id not in {"", "old"}
    assert 9.0 < state.time_left_s(state.counted_at) <= 10.0
    await spreader.fanout_reset(-5.0)
    assert spreader.state.remaining_s == 0.0


@pytest.mark.parametrize("timeout_s", [math.inf, math.nan])
async def test_fan_1_time_that_has_no_end(home: FakeHome, timeout_s: float) -> None:
    """Is refused before anything is asked for: its children would outlive a parent that is gone."""
    with pytest.raises(InvalidArgumentError, match="a fan-out has so many seconds") as caught:
        await _paglet(home).fan_out(StringValue(), timeout_s=timeout_s)
    assert caught.value.reason == "MALFORMED_REQUEST"
    assert (home.made, _state(home).children, _state(home).fanout_id) == ([], {}, "")


async def test_fan_2_select_hosts(home: FakeHome) -> None:
    """All that are online by default; others by name, in order and once, with an error for who is not there."""
    spreader = _paglet(home)
    assert await spreader.fanout_select_hosts() == ["alpha"]
    assert await spreader.fanout_select_hosts(include_self=False) == []
    assert await spreader.fanout_select_hosts(["nowhere", "alpha", "alpha"]) == ["alpha"]
    assert _state(home).errors == {"nowhere": "target host is not online or not visible in the mesh"}


async def test_fan_3_clone(home: FakeHome) -> None:
    """A child is known before it is there; a clone that fails is the host's error, and the parent stays one."""
    spreader = _paglet(home)
    await spreader.fanout_reset(10.0)
    made = await spreader.fanout_clone("beta", StringValue(value="word"))
    assert made is not None
    ((host, parameters),) = home.made
    assert (host, _state(home).pending, _state(home).children) == ("beta", ["beta"], {"beta": made.paglet_id})
    assert isinstance(parameters, fanout_pb2.FanoutChild)
    assert (parameters.parent, parameters.fanout_id, parameters.host) == (
        home.paglet_id,
        _state(home).fanout_id,
        "beta",
    )
    home.refusals["gamma"] = UnavailableError("HOST_UNREACHABLE", "host gamma cannot be reached")
    assert await spreader.fanout_clone("gamma", StringValue()) is None
    assert (_state(home).pending, _state(home).role) == (["beta"], FanoutRole.PARENT)
    assert "gamma cannot be reached" in _state(home).errors["gamma"]
    assert set(_state(home).children) == {"beta", "gamma"}  # it may have come to be all the same


async def test_fan_4_records(home: FakeHome) -> None:
    """Done once, however often it is said; of errors the last; neither is pending."""
    spreader = _paglet(home)
    for host in ("beta", "gamma"):
        await spreader.fanout_clone(host, StringValue())
    for host in ("beta", "beta", ""):
        await spreader.fanout_record_done(host)
    for error in ("first", ValueError("second")):
        await spreader.fanout_record_error("gamma", error)
    state = _state(home)
    assert (state.pending, state.done, state.errors) == ([], ["beta"], {"gamma": "second"})


async def test_fan_4_reports(home: FakeHome) -> None:
    """Results come while they are waited for; what is late, or of another fan-out, is dropped."""
    spreader = _paglet(home)
    await spreader.fanout_reset(10.0)
    await spreader.fanout_clone("beta", StringValue())
    await _report(home, "beta", "a")
    await _report(home, "beta", "b", done=True)
    await _report(home, "beta", "late", done=True)
    await _report(home, "gamma", "stranger")
    await spreader.fanout_clone("gamma", StringValue())
    await _report(home, "gamma", "x", fanout_id="other")
    await _report(home, "gamma", "c", error="broken")
    assert spreader.state.found == ["beta: a", "beta: b", "gamma: c"]
    assert (spreader.state.done, spreader.state.errors) == (["beta"], {"gamma": "broken"})


class _Typed(MeshFanoutMixin[MeshFanoutState, StringValue, Int64Value]):
    """Has texts measured."""

    State = MeshFanoutState

    async def run_child(self, request: StringValue) -> Int64Value:
        """How long it is."""
        return Int64Value(value=len(request.value))


async def test_messages_are_of_the_types_that_the_class_names() -> None:
    """A child is given its request and the parent its results, unpacked; a result of another type fails its host."""
    home = FakeHome(_Typed)
    parent = home.paglet
    assert isinstance(parent, _Typed)

    async def is_pending() -> bool:
        return "alpha" in parent.state.pending

    async with aclosing(parent.fan_out_results(StringValue(), hosts=["alpha"], timeout_s=60.0)) as results:
        first = asyncio.ensure_future(anext(results))
        await eventually(is_pending, what="the child")
        for result in (Int64Value(value=4), StringValue(value="four")):
            report = fanout_pb2.FanoutServiceReportRequest(fanout_id=parent.state.fanout_id, host="alpha")
            report.results.add().Pack(result)
            await home.answer(REPORT, report)
        assert await first == ("alpha", Int64Value(value=4))
        assert [found async for found in results] == []
    assert parent.state.done == []
    (error,) = parent.state.errors.values()
    assert "takes google.protobuf.Int64Value, got type.googleapis.com/google.protobuf.StringValue" in error
    await home.quiesce()


class _Forgetful(Spreader):
    """Keeps nothing of what its children find."""

    async def on_child_result(self, host: str, result: AnyMessage) -> None:
        """Tells whoever reads alone."""


async def test_fan_4_results_that_nobody_takes_are_bounded() -> None:
    """Who finds more than waits for the reader has an error, and is heard no longer; what waited is told."""
    home = FakeHome(_Forgetful)
    spreader = _paglet(home)
    text = "x" * (1024 * 1024)
    async with aclosing(spreader.fan_out_results(StringValue(), hosts=["alpha"], timeout_s=60.0)) as results:
        first = asyncio.ensure_future(anext(results))
        await eventually(lambda: _is_pending(home, "alpha"), what="the child")
        for _ in range(15):
            await _report(home, "alpha", text)
        assert (await first)[0] == "alpha"
        await _report(home, "alpha", text)  # in the room of what was taken
        assert _state(home).errors == {}
        for _ in range(5):
            await _report(home, "alpha", text)
        assert _state(home).errors == {"alpha": "found more than was taken"}
        assert len([host async for host, _ in results]) == 15


async def _is_pending(home: FakeHome, host: str) -> bool:
    return host in _state(home).pending


async def test_fan_5_expiry(home: FakeHome) -> None:
    """Nothing before the time is over; then every host that is pending has failed."""
    spreader = _paglet(home)
    await spreader.fanout_reset(10.0)
    await spreader.fanout_clone("beta", StringValue())
    assert not await spreader.fanout_expire_pending()
    assert _state(home).pending == ["beta"]
    async with spreader.turn() as state:
        state.remaining_s = 0.0
    assert await spreader.fanout_expire_pending()
    assert (_state(home).pending, _state(home).errors) == ([], {"beta": "did not answer before the deadline"})


async def test_fan_6_wait(home: FakeHome) -> None:
    """For what is left of the time at most, or less if that is asked for."""
    spreader = _paglet(home)
    await spreader.fanout_reset(0.05)
    assert not await spreader.fanout_wait_for(lambda state: bool(state.done))
    await spreader.fanout_reset(3600.0)
    assert not await spreader.fanout_wait_for(lambda state: bool(state.done), -1.0)
    assert await spreader.fanout_wait_for(lambda state: not state.done)


async def test_fan_7_cleanup(home: FakeHome) -> None:
    """All children are ended; who cannot be is told of, and tried again."""
    spreader = _paglet(home)
    await spreader.fanout_reset(10.0)
    beta, gamma = [await spreader.fanout_clone(host, StringValue()) for host in ("beta", "gamma")]
    assert beta is not None
    assert gamma is not None
    home.refusals[gamma.paglet_id] = UnavailableError("HOST_UNREACHABLE", "host gamma cannot be reached")
    await spreader.fanout_cleanup_children()
    assert home.ended == [beta.paglet_id]
    assert "gamma cannot be reached" in _state(home).cleanup_errors["gamma"]
    assert set(_state(home).children) == {"beta", "gamma"}
    home.refusals.clear()
    await spreader.fanout_cleanup_children()
    assert home.ended == [beta.paglet_id, beta.paglet_id, gamma.paglet_id]
    assert _state(home).cleanup_errors == {}


@pytest.mark.parametrize("left_by", ["an end that failed", "a restart"])
async def test_fan_7_next_one_ends_what_is_left(home: FakeHome, left_by: str) -> None:
    """Children that a fan-out has left are ended by the next one, which keeps nothing of them."""
    async with _paglet(home).turn() as state:
        state.expect("beta", "c")
        if left_by == "an end that failed":
            state.record_done("beta")
            state.cleanup_errors["beta"] = "away"
    await _paglet(home).fan_out(StringValue(), hosts=["alpha"], timeout_s=0.0)
    assert home.ended == ["c", _state(home).children["alpha"]]
    assert set(_state(home).children) == {"alpha"}


class _Hanging(FakeHome):
    """No paglet elsewhere ever ends, as on hosts that hang."""

    async def dispose_of(self, paglet_id: str) -> None:
        """Does not come back."""
        await asyncio.Event().wait()


async def test_fan_7_host_that_hangs_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its child is given up after a while, and kept for another try."""
    monkeypatch.setattr("paglets.patterns.fanout._END_S", 0.01)
    home = _Hanging(Spreader)
    async with _paglet(home).turn() as state:
        state.expect("beta", "c")
    await _paglet(home).fanout_cleanup_children()
    assert _state(home).cleanup_errors == {"beta": "did not end in time; it ends by itself"}
    assert _state(home).children == {"beta": "c"}


async def test_time_travels_as_what_is_left(home: FakeHome) -> None:
    """Not as a time of day, which is another one elsewhere; a clock that goes back gives no more."""
    spreader = _paglet(home)
    await spreader.fanout_reset(100.0)
    async with spreader.turn() as state:
        state.counted_at -= 40.0
    move = MobilityEvent("alpha", "beta", "t")
    await home.hook(spreader.on_dispatching, move)
    assert 59.0 < _state(home).remaining_s <= 60.0
    async with spreader.turn() as state:
        state.counted_at = 0.0  # that of another host
    await home.hook(spreader.on_arrival, move)
    assert 59.0 < _state(home).time_left_s(_state(home).counted_at) <= 60.0
    assert _state(home).time_left_s(0.0) == _state(home).remaining_s


def _made(home: FakeHome, word: str) -> CloneEvent:
    child = fanout_pb2.FanoutChild(parent="parent", fanout_id="f", host="alpha")
    child.request.Pack(StringValue(value=word))
    parameters = AnyMessage()
    parameters.Pack(child)
    return CloneEvent("parent", home.paglet_id, "beta", "alpha", parameters=parameters)


def _posts(home: FakeHome) -> list[fanout_pb2.FanoutServiceReportRequest]:
    found: list[fanout_pb2.FanoutServiceReportRequest] = []
    for receiver, operation, request in home.posts:
        assert (receiver, operation) == ("parent", REPORT.removeprefix("/"))
        assert isinstance(request, fanout_pb2.FanoutServiceReportRequest)
        found.append(request)
    return found


@pytest.mark.parametrize(("word", "parts", "error"), [("word", 2, ""), ("fail at alpha", 1, "it was told to fail")])
async def test_child_does_the_work_and_reports(home: FakeHome, word: str, parts: int, error: str) -> None:
    """Its last report says that it is done, or why it failed; it keeps nothing of the parent's own book."""
    spreader = _paglet(home)
    async with spreader.turn() as state:
        state.expect("beta", "c")
    await home.hook(spreader.on_clone, _made(home, word))
    await _until_posted(home, parts)
    reports = _posts(home)
    assert {(report.fanout_id, report.host) for report in reports} == {("f", "alpha")}
    assert (reports[-1].done, reports[-1].error) == (not error, error)
    assert (_state(home).role, _state(home).pending, _state(home).children) == (FanoutRole.CHILD, [], {})


class _Narrow(FakeHome):
    """Its posts are short."""

    def post(self, paglet_id: str, operation: str, request: Message) -> None:
        """Refuses a long one."""
        if request.ByteSize() > 1000:
            raise InvalidArgumentError("MALFORMED_REQUEST", "a post has at most 1000 bytes")
        super().post(paglet_id, operation, request)


async def test_child_whose_result_cannot_be_sent_says_so() -> None:
    """Its parent does not wait for the deadline: the error of the last report is the host's error."""
    home = _Narrow(Spreader)
    await home.hook(_paglet(home).on_clone, _made(home, "x" * 1000))
    await _until_posted(home, 2)
    assert [report.error for report in _posts(home)] == ["", "a post has at most 1000 bytes"]
    await home.quiesce()


async def _until_posted(home: FakeHome, count: int) -> None:
    async def are_posted() -> bool:
        return len(home.posts) == count

    await eventually(are_posted)


async def test_child_of_a_restarted_host_says_so(home: FakeHome) -> None:
    """Its work is lost; a parent that is restarted has none to lose."""
    spreader = _paglet(home)
    await home.hook(spreader.on_activation, ActivationEvent("alpha", "restart"))
    assert home.posts == []
    await home.hook(spreader.on_clone, _made(home, "stay at alpha"))
    await home.hook(spreader.on_activation, ActivationEvent("alpha", "restart"))
    assert [report.error for report in _posts(home)] == ["host alpha was restarted"]


class _Patient(Spreader):
    """Notes what it would do later, and when, and never does it."""

    def call_later(self, delay_s: float, body: Callable[[], Awaitable[None]]) -> Timer:
        """Not begun."""
        LATER.append((delay_s, body))
        return Timer(self.context, body, delay_s, again=False)


LATER: list[tuple[float, Callable[[], Awaitable[None]]]] = []


async def test_child_that_nobody_ends_ends_itself() -> None:
    """A minute after its parent's time, or after a restart of its host: nobody else may know of it."""
    LATER.clear()
    home = FakeHome(_Patient)
    made, child = _made(home, "stay at alpha"), fanout_pb2.FanoutChild()
    assert made.parameters is not None
    made.parameters.Unpack(child)
    child.timeout.FromSeconds(30)
    made.parameters.Pack(child)
    await home.hook(_paglet(home).on_clone, made)
    await home.hook(_paglet(home).on_activation, ActivationEvent("alpha", "restart"))
    assert [delay_s for delay_s, _ in LATER] == [90.0, 60.0]
    for _, end in LATER:
        await home.hook(end)
    assert home.disposals == 2
    await home.quiesce()


async def test_clone_for_another_purpose_is_no_child(home: FakeHome) -> None:
    """It is a parent of its own, with no children."""
    spreader = _paglet(home)
    async with spreader.turn() as state:
        state.expect("beta", "c")
    await home.hook(spreader.on_clone, CloneEvent("parent", home.paglet_id, "beta", "alpha"))
    assert (_state(home).role, _state(home).children) == (FanoutRole.PARENT, {})
    with pytest.raises(TypeError, match="is no child"):
        await spreader.report_to_parent()
