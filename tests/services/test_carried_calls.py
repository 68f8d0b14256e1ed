"""Many unary calls in one stream: each is the same call as by its own rpc, and none waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from paglet.v1 import call_pb2 as pb
from paglet.v1 import call_pb2_grpc, mesh_pb2
from paglets.client.client import Client
from paglets.config import HostSettings
from paglets.errors import NotFoundError, OperationNotFoundError
from paglets.services.carrying import CallServicer
from paglets.services.guard import GuardedServices
from paglets.testing import HostProcess, local_host
from tests.host.conftest import Mesh, Site, site
from tests.host.probe import Probe
from tests.host.probe_service import SERVICE
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused

MESH, CALLS = "/paglet.v1.MeshService", "/paglet.v1.CallService"
INVALID, UNKNOWN = grpc.StatusCode.INVALID_ARGUMENT.value[0], grpc.StatusCode.UNIMPLEMENTED.value[0]
_PATIENCE_S = 20.0
_MIB = 1024 * 1024
_TO_PROBE = (("paglet-id", "probe"),)


def carried(
    number: int, operation: str, text: str = "", *, paglet_id: str = "probe", timeout_s: float | None = None
) -> pb.CarriedCall:
    """A call of a probe."""
    return pb.CarriedCall(
        number=number,
        method=f"/{SERVICE}/{operation}",
        metadata=[pb.CarriedMetadata(key="paglet-id", value=paglet_id.encode())],
        timeout=None if timeout_s is None else Duration(nanos=int(timeout_s * 1e9)),
        request=StringValue(value=text).SerializeToString(),
    )


class Carrying:
    """A stream of calls as any client has it: by the generated stub, and nothing of ours."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        stub: call_pb2_grpc.CallServiceAsyncStub = call_pb2_grpc.CallServiceStub(channel)
        self.stream = stub.CarryCalls()
        self._answers: list[pb.CarriedAnswer] = []

    async def send(self, *calls: pb.CarriedCall, given_up: Sequence[int] = ()) -> None:
        """Sends calls together."""
        await self.stream.write(pb.CarryCallsRequest(calls=calls, given_up=given_up))

    async def answer(self) -> pb.CarriedAnswer:
        """The next answer."""
        async with asyncio.timeout(_PATIENCE_S):
            while not self._answers:
                response = await self.stream.read()
                assert isinstance(response, pb.CarryCallsResponse), "the stream has ended"
                self._answers.extend(response.answers)
            return self._answers.pop(0)

    async def ask(self, *calls: pb.CarriedCall) -> list[pb.CarriedAnswer]:
        """Sends calls and gives as many answers."""
        await self.send(*calls)
        return [await self.answer() for _ in calls]


def text_of(answer: pb.CarriedAnswer) -> str:
    """What a probe answered."""
    assert answer.code == 0, answer.message
    return StringValue.FromString(answer.reply).value


def reason_of(answer: pb.CarriedAnswer) -> str:
    """The reason of an error, as any client finds it in the status details."""
    (details,) = (found.value for found in answer.trailing_metadata if found.key == "grpc-status-details-bin")
    info = ErrorInfo()
    assert any(detail.Unpack(info) for detail in Status.FromString(details).details)
    return info.reason


async def test_none_waits_for_another(mesh: Mesh) -> None:
    """Each call is answered when it has ended, whatever was begun before it; metadata say who answered."""
    await mesh.probe()
    await mesh.probe("other")
    STAGE.hold("a")
    carrying = Carrying(mesh.alpha.channel)
    await carrying.send(carried(1, "Hold", "a"), carried(2, "Append", "x", paglet_id="other"))
    second = await carrying.answer()
    assert (second.number, text_of(second)) == (2, "x")
    assert {found.key: found.value for found in second.trailing_metadata}["paglet-host"] == b"alpha"
    STAGE.release("a")
    first = await carrying.answer()
    assert (first.number, text_of(first)) == (1, "a< >a")


async def test_call_of_a_paglet_that_is_elsewhere(mesh: Mesh) -> None:
    """It is passed on as any call, and so is what comes back, errors too."""
    await mesh.probe()
    carrying = Carrying(mesh.beta.channel)
    (answer,) = await carrying.ask(carried(1, "Append", "x"))
    assert text_of(answer) == "x"
    assert {found.key: found.value for found in answer.trailing_metadata}["paglet-host"] == b"alpha"
    (answer,) = await carrying.ask(carried(2, "Fail", "refused"))
    assert (answer.code, reason_of(answer)) == (grpc.StatusCode.FAILED_PRECONDITION.value[0], "TASK_RUNNING")


@pytest.mark.parametrize(
    ("call", "code", "reason"),
    [
        pytest.param(pb.CarriedCall(method="/no.Service/Rpc"), UNKNOWN, "OPERATION_NOT_FOUND", id="nobody's"),
        pytest.param(carried(0, "Nothing"), UNKNOWN, "OPERATION_NOT_FOUND", id="not the paglet's"),
        pytest.param(pb.CarriedCall(method=f"{MESH}/WatchHosts"), INVALID, "OPERATION_STREAMS", id="ours"),
        pytest.param(pb.CarriedCall(method=f"{CALLS}/CarryCalls"), INVALID, "OPERATION_STREAMS", id="itself"),
        pytest.param(carried(0, "Append", "x" * 64 * 1024), INVALID, "MALFORMED_REQUEST", id="large"),
        pytest.param(
            pb.CarriedCall(metadata=[pb.CarriedMetadata(key="Paglet-Id", value=b"x")]),
            INVALID,
            "MALFORMED_REQUEST",
            id="no metadata's key",
        ),
        pytest.param(
            pb.CarriedCall(metadata=[pb.CarriedMetadata(key="x", value=b"\xff\n")]),
            INVALID,
            "MALFORMED_REQUEST",
            id="no metadata's value",
        ),
        pytest.param(
            carried(0, "Append", "x", paglet_id="nobody"),
            grpc.StatusCode.NOT_FOUND.value[0],
            "PAGLET_NOT_FOUND",
            id="nobody",
        ),
    ],
)
async def test_refusal_is_an_answer(standing: Mesh, call: pb.CarriedCall, code: int, reason: str) -> None:
    """What cannot be called is told like any error of a call, and the stream goes on."""
    carrying = Carrying(standing.alpha.channel)
    answer, after = await carrying.ask(call, pb.CarriedCall(number=9, method=f"{MESH}/GetHost"))
    by_number = {found.number: found for found in (answer, after)}
    assert (by_number[0].code, reason_of(by_number[0])) == (code, reason)
    assert mesh_pb2.GetHostResponse.FromString(by_number[9].reply).host.name == "alpha"


async def test_number_of_a_call_under_way(mesh: Mesh) -> None:
    """Two calls of one number cannot be told apart: the stream ends, and what it had is given up."""
    await mesh.probe()
    STAGE.hold("a")
    carrying = Carrying(mesh.alpha.channel)
    await carrying.send(carried(1, "HoldRead", "a"))
    await STAGE.reached("a")
    await carrying.send(carried(1, "Append", "x"))
    refusal = await refused(_end_of(carrying))
    assert refusal.what == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")
    assert (await ask(mesh.alpha.channel, "probe", "Read")).text == ""


async def _end_of(carrying: Carrying) -> None:
    while await carrying.stream.read() is not grpc.aio.EOF:
        pass


async def test_deadline_of_a_call(mesh: Mesh) -> None:
    """A call whose time is over ends where it runs, and is answered so."""
    await mesh.probe()
    STAGE.hold("a")
    (answer,) = await Carrying(mesh.alpha.channel).ask(carried(1, "HoldRead", "a", timeout_s=0.2))
    assert answer.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]


@pytest.mark.parametrize("how", ["given up", "the caller leaves"])
async def test_call_that_nobody_waits_for(narrow: Site, how: str) -> None:
    """It ends where it runs, and takes no room any more; giving up what has ended does nothing."""
    STAGE.hold("a")
    carrying = Carrying(narrow.channel)
    await carrying.send(carried(1, "HoldRead", "a"), carried(2, "HoldRead", "a"))
    await STAGE.reached("a", 2)
    (refusal,) = await carrying.ask(carried(3, "Read"))
    assert (refusal.number, reason_of(refusal)) == (3, "TOO_MANY_CALLS")
    if how == "given up":
        await carrying.send(given_up=[1, 2, 3, 77])
    else:
        carrying.stream.cancel()
        carrying = Carrying(narrow.channel)

    async def has_room() -> bool:
        (answer,) = await carrying.ask(carried(4, "Read"))
        return answer.code == 0

    await eventually(has_room, what="room for another call")


@pytest.fixture
async def narrow(tmp_path: Path) -> AsyncIterator[Site]:
    """A host that has room for two calls, with a probe."""
    settings = HostSettings(name="alpha", data=tmp_path, drain_s=1.0, max_concurrent_rpcs=8, max_calls_of_paglet=2)
    async with AsyncExitStack() as stack:
        found = await site(stack, tmp_path, "alpha", settings=settings)
        await found.client.create(PROBE_TYPE, paglet_id="probe")
        yield found
        STAGE.clear()


@pytest.mark.parametrize("streams", [1, 2])
async def test_streams_are_bounded(tmp_path: Path, streams: int) -> None:
    """A stream takes as many calls as a connection, all streams together as many as the host; the rest is refused."""
    settings = HostSettings(
        name="alpha", data=tmp_path, drain_s=1.0, max_rpcs_of_connection=4, max_concurrent_rpcs=4 * streams
    )
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        STAGE.hold("a")
        carryings = [Carrying(alpha.channel) for _ in range(3)][: streams + 1]
        for found in carryings[:streams]:
            await found.send(*(carried(number, "HoldRead", "a") for number in range(4)))
        await STAGE.reached("a", 4 * streams)
        for found in carryings:
            (answer,) = await found.ask(carried(9, "HoldRead", "b"))
            assert (answer.number, answer.code) == (9, grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
            assert reason_of(answer) == "TOO_MANY_CALLS"
        STAGE.release("a")
        for found in carryings[:streams]:
            assert [(await found.answer()).code for _ in range(4)] == [0] * 4
        STAGE.clear()


async def test_caller_who_takes_no_answers(mesh: Mesh) -> None:
    """While 8 MiB of answers wait for him, no more of his calls are begun; then all are answered, whole."""
    await mesh.probe()
    carrying = Carrying(mesh.alpha.channel)
    await carrying.send(*(carried(number, "Repeat", str(_MIB)) for number in range(12)))

    async def have_begun() -> bool:
        return STAGE.notes.count("repeat") == 12

    await eventually(have_begun, what="the first calls")
    await ask(mesh.alpha.channel, "probe", "Look")  # a turn behind theirs: they are answered
    for number in range(12, 40):
        await carrying.send(carried(number, "Repeat", str(_MIB)))
    for _ in range(20):  # ways there and back, on which the others would come, too
        await ask(mesh.alpha.channel, "probe", "Look")
    assert STAGE.notes.count("repeat") <= 13
    answers = [await carrying.answer() for _ in range(40)]
    assert sorted(answer.number for answer in answers) == list(range(40))
    assert {len(text_of(answer)) for answer in answers} == {_MIB}


async def test_largest_reply_fits(mesh: Mesh) -> None:
    """A reply that just fits by its own rpc fits in the stream, too, by the SDK."""
    await mesh.probe()
    size = 4 * _MIB - 5
    async with Client(mesh.alpha.running.address, multiplexed=True) as client:
        assert len((await ask(client.channel, "probe", "Repeat", str(size))).text) == size


async def test_host_that_ends_answers_what_it_has(tmp_path: Path) -> None:
    """It begins no more, lets end what has begun, and ends the stream well: nothing is left in doubt."""
    settings = HostSettings(name="alpha", data=tmp_path, drain_s=_PATIENCE_S)
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        STAGE.hold("a")
        async with Client(alpha.running.address) as client:
            carrying = Carrying(client.channel)
            await carrying.send(carried(1, "Hold", "a"))
            await STAGE.reached("a")
            ending = asyncio.create_task(stack.aclose())

            async def is_closed() -> bool:
                return (await refused(ask(client.channel, "nobody", "Read"))).code is grpc.StatusCode.UNAVAILABLE

            await eventually(is_closed, what="the host to take no more calls")
            STAGE.release("a")
            assert text_of(await carrying.answer()) == "a< >a"
            assert await carrying.stream.read() is grpc.aio.EOF
            assert await carrying.stream.code() is grpc.StatusCode.OK
        await ending


async def test_stream_that_comes_while_the_host_ends() -> None:
    """It ends at once, and well, or the host would wait for it for all of its drain time."""
    servicer = CallServicer(lambda _path, _context: pytest.fail("called"), max_calls=9, max_calls_of_stream=9)
    services = GuardedServices()
    services.add(call_pb2_grpc.add_CallServiceServicer_to_server, servicer)
    servicer.end()
    server = grpc.aio.server(handlers=(services,))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with Client(address) as client, asyncio.timeout(_PATIENCE_S):
            stream = Carrying(client.channel).stream
            assert await stream.read() is grpc.aio.EOF
            assert await stream.code() is grpc.StatusCode.OK
    finally:
        await server.stop(None)


async def test_call_without_end_holds_no_host_up(tmp_path: Path) -> None:
    """What has not ended when the drain time is over is cut, as a call of its own is."""
    settings = HostSettings(name="alpha", data=tmp_path, drain_s=0.2)
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        STAGE.hold("a")
        async with Client(alpha.running.address) as client:
            carrying = Carrying(client.channel)
            await carrying.send(carried(1, "Hold", "a"))
            await STAGE.reached("a")
            async with asyncio.timeout(_PATIENCE_S):
                await stack.aclose()
            assert (await refused(_end_of(carrying))).code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.slow
async def test_calls_go_on_over_restarts(tmp_path: Path) -> None:
    """A client whose calls share a stream goes on when its host was killed and is back: each call is run once."""
    async with AsyncExitStack() as stack:
        host = HostProcess(name="alpha", data=tmp_path / "data", allow=["tests.host.probe"])
        await host.start()
        stack.push_async_callback(host.kill)
        client = await stack.enter_async_context(Client(host.address, multiplexed=True))
        await client.create(PROBE_TYPE, paglet_id="probe")
        operations = _Lines(client)
        writing = [asyncio.create_task(operations.write(writer)) for writer in range(8)]
        for _ in range(3):
            await operations.more(40)
            await host.kill()
            await host.start()
        operations.enough = True
        await asyncio.gather(*writing)
        lines = (await ask(client.channel, "probe", "Read")).text.split()
        assert sorted(lines) == sorted(operations.answered)
        assert len(lines) == len(set(lines))


class _Lines:
    """Writers of lines, who note what was answered."""

    def __init__(self, client: Client) -> None:
        self.enough = False
        self.answered: list[str] = []
        self._client = client

    async def more(self, count: int) -> None:
        """Waits until so many more were answered."""
        wanted = len(self.answered) + count

        async def look() -> bool:
            return len(self.answered) >= wanted

        await eventually(look, what="calls to be answered")

    async def write(self, writer: int) -> None:
        """Adds one line after another."""
        number = 0
        while not self.enough:
            line = f"{writer}.{number}"
            rpc = self._client.proxy("probe").stub(_append)
            await rpc(StringValue(value=line))
            self.answered.append(line)
            number += 1


def _append(channel: grpc.aio.Channel) -> grpc.aio.UnaryUnaryMultiCallable[StringValue, StringValue]:
    return channel.unary_unary(
        f"/{SERVICE}/Append",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=StringValue.FromString,
    )


async def test_sdk_makes_all_its_calls_so(tmp_path: Path) -> None:
    """What the client asks, of the host or of a paglet, means the same; large requests and streams are as ever."""
    async with (
        local_host("alpha", allow=["tests.host.probe"], data=tmp_path) as alpha,
        Client(alpha.address, multiplexed=True) as client,
    ):
        made = await client.create(PROBE_TYPE, paglet_id="probe")
        assert (await client.get("probe")).paglet_id == made.paglet_id == "probe"
        large = "x" * 100_000
        assert (await client.proxy("probe").stub(_append)(StringValue(value=large))).value == large
        assert [found.paglet_id async for found in client.list()] == ["probe"]
        await client.dispose("probe")
        with pytest.raises(NotFoundError) as caught:
            await client.proxy("probe").stub(_append)(StringValue(value="x"))
        assert caught.value.reason == "PAGLET_NOT_FOUND"


_UNSENDABLE = {"no ASCII": "é", "two lines": "a\nb", "too long": "x" * 70_000, "far too long": "x" * 5 * _MIB}


@pytest.mark.parametrize("carried", [False, True], ids=["plain", "carried"])
@pytest.mark.parametrize("text", _UNSENDABLE.values(), ids=_UNSENDABLE)
@pytest.mark.parametrize("fails", [False, True], ids=["reply", "error"])
async def test_metadata_that_cannot_be_sent(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, *, carried: bool, text: str, fails: bool
) -> None:
    """A call whose author would tell what gRPC does not send fails, as by its own rpc; others of the stream go on."""

    async def look(self: Probe, request: StringValue) -> StringValue:
        self.context.call.set_trailing_metadata([("x-told", text)])
        if fails:
            raise NotFoundError("HANDLER_FAILED", "not here")
        return request

    monkeypatch.setattr(Probe, "look", look)
    await mesh.probe()
    STAGE.hold("a")
    async with Client(mesh.alpha.running.address, multiplexed=carried) as client:
        other = asyncio.create_task(ask(client.channel, "probe", "HoldRead", "a"))
        await STAGE.reached("a")
        failure = await refused(ask(client.channel, "probe", "Look"))
        is_long = len(text) > 10
        assert failure.code is (grpc.StatusCode.RESOURCE_EXHAUSTED if is_long else grpc.StatusCode.INTERNAL)
        STAGE.release("a")
        await other


async def test_answers_that_tell_much_fit_together(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Metadata count for what goes in one message, and for what waits for a caller who takes nothing."""

    async def look(self: Probe, request: StringValue) -> StringValue:
        STAGE.note("told")
        self.context.call.set_trailing_metadata([("x-told", "x" * 60_000)])
        return request

    monkeypatch.setattr(Probe, "look", look)
    await mesh.probe()
    carrying = Carrying(mesh.alpha.channel)
    await carrying.send(*(carried(number, "Look") for number in range(200)))

    async def have_begun() -> bool:
        return STAGE.notes.count("told") == 200

    await eventually(have_begun, what="the first calls")
    await ask(mesh.alpha.channel, "probe", "Append", "x")  # a turn behind theirs: they are answered
    for number in range(200, 220):
        await carrying.send(carried(number, "Look"))
    for _ in range(20):  # ways there and back, on which the others would come, too
        await ask(mesh.alpha.channel, "probe", "Read")
    assert STAGE.notes.count("told") <= 201
    assert {(await carrying.answer()).number for _ in range(220)} == set(range(220))


async def test_message_with_many_calls(tmp_path: Path) -> None:
    """What is too much is refused as it is read: a message of a million calls holds nobody up, and takes no room."""
    settings = HostSettings(name="alpha", data=tmp_path, drain_s=1.0, max_rpcs_of_connection=4)
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        carrying = Carrying(alpha.channel)
        answers = await carrying.ask(*(pb.CarriedCall(number=number) for number in range(2_000)))
        most = max(int(answer.message.split()[3]) for answer in answers if reason_of(answer) == "TOO_MANY_CALLS")
        assert 4 <= most < 10


async def test_host_that_carries_no_calls() -> None:
    """A host without CallService is told from one that does not know what was called."""
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with Client(f"127.0.0.1:{port}", multiplexed=True) as client:
        with pytest.raises(OperationNotFoundError, match="needs a Client that is not multiplexed"):
            await client.get("probe")
    await server.stop(None)


async def test_incident_names_what_was_called(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever looks an unexpected error up in the log finds the rpc, and not that it came in a stream."""

    async def fail(*_: object) -> None:
        raise ValueError("unexpected")

    monkeypatch.setattr(mesh.alpha.running.host, "called", fail)
    (answer,) = await Carrying(mesh.alpha.channel).ask(carried(1, "Append", "x"))
    assert reason_of(answer) == "INTERNAL"
    assert [f"/{SERVICE}/Append" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("timeout_s", [-1.0, 1e15, float("inf")])
async def test_timeout_that_is_over_at_once(mesh: Mesh, timeout_s: float) -> None:
    """A timeout that gRPC takes for over is so here, too, and the call is not made."""
    await mesh.probe()
    async with Client(mesh.alpha.running.address, multiplexed=True) as client:
        failure = await refused(_append(client.channel)(StringValue(value="x"), timeout=timeout_s, metadata=_TO_PROBE))
        assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert (await ask(client.channel, "probe", "Read")).text == ""
