"""Generated stubs of every kind of rpc wait, and give what gRPC's own give beside the replies."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest
from anyio.from_thread import BlockingPortal
from google.protobuf.wrappers_pb2 import StringValue

from paglets.blocking import Client, PagletProxy
from paglets.errors import CancelledCallError
from tests.cli.running import until
from tests.host.stage import STAGE
from tests.host.streamer import SERVICE, Streamer

Text = StringValue
_TEXTS = (StringValue.SerializeToString, StringValue.FromString)


class StreamerStub:
    """Some rpcs of the streamer, one of each kind, as a compiler makes them."""

    def __init__(self, channel: grpc.Channel) -> None:
        path = f"/{SERVICE}/"
        self.Hold: grpc.UnaryUnaryMultiCallable[Text, Text] = channel.unary_unary(f"{path}Hold", *_TEXTS)
        self.Follow: grpc.UnaryStreamMultiCallable[Text, Text] = channel.unary_stream(f"{path}Follow", *_TEXTS)
        self.Fail: grpc.UnaryStreamMultiCallable[Text, Text] = channel.unary_stream(f"{path}Fail", *_TEXTS)
        self.Collect: grpc.StreamUnaryMultiCallable[Text, Text] = channel.stream_unary(f"{path}Collect", *_TEXTS)
        self.Chat: grpc.StreamStreamMultiCallable[Text, Text] = channel.stream_stream(f"{path}Chat", *_TEXTS)


@pytest.fixture
def streamer(client: Client, portal: BlockingPortal) -> Iterator[PagletProxy]:
    """A streamer, and an empty stage."""
    proxy = client.create(Streamer)
    yield proxy
    portal.call(STAGE.clear)
    proxy.dispose()


@pytest.fixture
def stub(streamer: PagletProxy) -> StreamerStub:
    """Its stub."""
    return streamer.stub(StreamerStub)


def _text(text: str) -> StringValue:
    return StringValue(value=text)


def test_one_reply(stub: StreamerStub) -> None:
    """With the call there is its metadata, and its code."""
    reply, call = stub.Hold.with_call(_text("free"), timeout=10, metadata=(("paglet-request-id", "a" * 32),))
    assert (reply.value, call.code(), call.details()) == ("free", grpc.StatusCode.OK, "")
    assert dict(call.trailing_metadata())["paglet-host"] == "alpha"
    assert not call.is_active()
    assert not call.add_callback(lambda: None)
    _, again = stub.Hold.with_call(_text("free"), metadata=(("paglet-request-id", "a" * 32),))
    assert dict(again.trailing_metadata())["paglet-replayed"] == "true"


def test_future(stub: StreamerStub, portal: BlockingPortal) -> None:
    """A call can be begun, waited for, called back of, and given up."""
    portal.call(STAGE.hold, "there")
    pending = stub.Hold.future(_text("there"))
    assert isinstance(pending, grpc.Future)
    ended = threading.Event()
    pending.add_done_callback(lambda _: ended.set())
    with pytest.raises(grpc.FutureTimeoutError):
        pending.result(timeout=0.01)
    assert pending.running()
    assert pending.is_active()
    portal.call(STAGE.release, "there")
    assert pending.result().value == "there"
    assert ended.wait(10)
    assert (pending.done(), pending.exception()) == (True, None)
    portal.call(STAGE.hold, "never")
    given_up = stub.Hold.future(_text("never"))
    assert given_up.cancel()
    with pytest.raises(grpc.FutureCancelledError):
        given_up.result()
    assert given_up.cancelled()


def test_stream_of_replies(stub: StreamerStub) -> None:
    """They are read as they come; a stream that is given up ends at the host."""
    following = stub.Follow(_text("0"))
    assert stub.Collect(iter([_text("a"), _text("b")])).value == "alpha:2"
    assert [next(following).value for _ in range(2)] == ["alpha:a", "alpha:b"]
    assert following.is_active()
    assert following.cancel()
    until(lambda: "follow ended on alpha" in STAGE.notes, "an end of the stream")
    with pytest.raises(CancelledCallError):
        next(following)


def test_failed_stream_has_grpcs_own_error(stub: StreamerStub) -> None:
    """Code, message and metadata are those that the host gave."""
    failing = stub.Fail(_text("not here"))
    assert next(failing).value == "first"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        next(failing)
    assert (caught.value.code(), failing.code()) == (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.NOT_FOUND)
    assert failing.details() == "not here"
    assert dict(failing.trailing_metadata())["x-told"] == "at the end"


def test_both_ways(stub: StreamerStub) -> None:
    """Requests are taken as they are made: each may depend on the reply before it."""
    replies: list[str] = []
    heard = threading.Semaphore(0)

    def questions() -> Iterator[StringValue]:
        for number in range(5):
            yield _text(str(number))
            assert heard.acquire(timeout=10)
            assert replies[-1] == f"alpha:{number}"

    for reply in stub.Chat(questions()):
        replies.append(reply.value)
        heard.release()
    assert len(replies) == 5


def test_requests_that_fail_end_the_call(stub: StreamerStub, streamer: PagletProxy) -> None:
    """Nothing of a stream whose requests could not be made is kept."""

    def broken() -> Iterator[StringValue]:
        yield _text("first")
        raise LookupError("no more")

    with pytest.raises((grpc.RpcError, CancelledCallError, LookupError)):
        stub.Collect(broken())
    assert "first" not in streamer.state()


def test_closing_ends_what_waits(address: str, portal: BlockingPortal) -> None:
    """A client that is closed by another thread leaves nobody waiting."""
    portal.call(STAGE.hold, "for ever")
    client = Client(address)
    stub = client.create(Streamer).stub(StreamerStub)
    failures: list[str] = []

    def wait() -> None:
        try:
            stub.Hold(_text("for ever"))
        except CancelledCallError as error:
            failures.append(error.reason)

    waiting = threading.Thread(target=wait)
    waiting.start()
    portal.call(STAGE.reached, "for ever")
    client.close()
    waiting.join(10)
    assert failures == ["CANCELLED"]
    portal.call(STAGE.clear)
