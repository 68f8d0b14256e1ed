"""Each face has all that is behind it, and waits for that."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglet.examples.counter.v1.counter_pb2 import AddRequest, GetRequest
from paglet.examples.counter.v1.counter_pb2_grpc import CounterServiceStub
from paglets import blocking
from paglets.artifacts import local
from paglets.artifacts.store import ArtifactQuery, ArtifactWrite, SmallArtifact, SmallWrite
from paglets.blocking import Client
from paglets.client import artifacts, client, dead_letters, events, operations, proxy, services, tasks
from paglets.digest import Hasher
from paglets.discovery import ServiceQuery
from paglets.errors import CancelledCallError, NotFoundError, PagletError
from paglets.examples.counter import Counter, CounterState
from paglets.operations import contract_of
from paglets.values import PagletState
from tests.blocking.echo import Echo
from tests.patterns.feed import FEED_MODULE, Feed

_COUNTER = contract_of(Counter.Services[0])

_BEHIND = {
    blocking.Client: (client.Client, {"channel", "policy"}),
    blocking.PagletProxy: (proxy.PagletProxy, {"client"}),
    blocking.Services: (services.Services, set[str]()),
    blocking.DeadLetters: (dead_letters.DeadLetters, set[str]()),
    blocking.RemoteArtifactStore: (artifacts.RemoteArtifactStore, set[str]()),
    blocking.LocalArtifactStore: (local.LocalArtifactStore, {"open", "open_upload", "end_watches"}),
    blocking.ArtifactReader: (local.BlobReader, {"proven"}),
    blocking.OperationClient: (operations.OperationClient, {"proxy"}),
    blocking.TaskClient: (tasks.TaskClient, {"proxy", "request_type", "result_type", "progress_type"}),
    blocking.EventClient: (events.EventClient, {"proxy", "event_type"}),
}


@pytest.mark.parametrize("face", _BEHIND, ids=lambda face: face.__name__)
def test_face_is_whole(face: type) -> None:
    """All that the coroutines offer is there, but what belongs to an event loop; with the same arguments."""
    inner, left_out = _BEHIND[face]
    offered = {name for name in dir(inner) if not name.startswith("_")} - left_out
    assert offered - set(dir(face)) == set()
    for name in offered:
        there, here = getattr(inner, name), getattr(face, name)
        if callable(there):
            assert _arguments(here) == _arguments(there) - {"piece_bytes"}, name
            assert not inspect.iscoroutinefunction(here), name


def _arguments(method: Callable[..., object]) -> set[str]:
    return set(inspect.signature(method).parameters)


def test_a_life(client: Client) -> None:
    """Create, call, look, rest, post and dispose; the errors are those of the coroutines."""
    assert client.reach().name == client.host().name == "alpha"
    counter = client.create(Counter, state=CounterState(40))
    assert counter == client.proxy(counter.ref)
    assert hash(counter) == hash(client.proxy(counter.paglet_id))
    stub = counter.stub(CounterServiceStub)
    assert stub.Add(AddRequest(amount=2)).value == 42
    assert counter.info().state is PagletState.ACTIVE
    assert counter.paglet_id in [found.paglet_id for found in client.list(type=Counter.type_name())]
    counter.deactivate()
    assert counter.info().state is PagletState.INACTIVE
    assert stub.Get(GetRequest()).value == 42
    assert "42" in counter.state()
    assert [found.name for found in client.hosts()] == ["alpha"]
    counter.dispose()
    assert client.history(counter.paglet_id)[0].cause == "create"
    with pytest.raises(NotFoundError) as caught:
        stub.Get(GetRequest())
    assert caught.value.reason == "PAGLET_NOT_FOUND"


def test_watches_are_left_early(client: Client) -> None:
    """What never ends is read as far as it is wanted; what comes later is there when it is asked for."""
    counter = client.create(Counter)
    watching = client.watch(snapshot=True, paglet_id=counter.paglet_id)
    first = next(watching)
    assert first.paglet is not None
    counter.dispose()
    causes = (notice.event.cause for notice in watching if notice.event is not None)
    assert next(causes) == "dispose"
    watching.close()
    with pytest.raises(StopIteration):
        next(watching)
    present = next(client.watch_hosts())
    assert present.host.name == "alpha"


def test_services(client: Client) -> None:
    """Services are found as proxies that wait, and leased for a block."""
    counter = client.create(Counter)
    assert client.services.lookup(_COUNTER, tags=("odd",)) is None
    client.services.advertise(counter.paglet_id, _COUNTER, tags=("odd",))
    assert client.services.lookup(_COUNTER, tags=("odd",)) == counter
    with client.services.lease(_COUNTER, tags=("odd",)) as leased:
        assert leased.stub(CounterServiceStub).Add(AddRequest(amount=1)).value == 1
    assert counter.paglet_id in [found.paglet_id for found in client.services.find(ServiceQuery(tags=("odd",)))]
    with pytest.raises(NotFoundError) as caught:
        client.services.require(_COUNTER, tags=("even",))
    assert caught.value.reason == "SERVICE_NOT_FOUND"
    counter.dispose()


def test_patterns(client: Client) -> None:
    """Operations, tasks and events have clients that wait."""
    counter = client.create(Counter)
    (add,) = [found for found in _COUNTER.operations if found.descriptor.name == "Add"]
    calls = blocking.OperationClient(counter)
    reply = calls.call(add, AddRequest(amount=5), type(counter.stub(CounterServiceStub).Add(AddRequest(amount=0))))
    assert reply.value == 5
    calls.post(add, AddRequest(amount=5))
    assert not list(client.dead_letters.list(counter.paglet_id))
    task = blocking.TaskClient.for_paglet(client.create(Echo), Echo)
    assert task.start_and_wait(StringValue(value="e")).result == StringValue(value="e")
    assert [snapshot.done for snapshot in task.watch()] == [task.get().done] == [True]
    feed = client.create(f"{FEED_MODULE}.Feed")
    events = blocking.EventClient.for_paglet(feed, Feed)
    client.post(feed.paglet_id, "paglets.tests.feed.v1.FeedService/Say", StringValue(value="a"))
    assert [event.value for _, event in events.drain(wait_s=10).events] == ["a"]
    assert next(events.watch(0))[1].value == "a"


def test_artifacts(client: Client, tmp_path: Path) -> None:
    """Bytes go in from an iterable, a file or at once, and come out whole, in part or as a file."""
    store, data = client.artifacts, bytes(range(256)) * 1500
    chunks = (data[at : at + 777] for at in range(0, len(data), 777))
    told: list[int] = []
    where: set[str] = set()

    def tell(done: int) -> None:
        told.append(done)
        where.add(threading.current_thread().name)

    ref = store.create_from_chunks(ArtifactWrite(name="chunks"), chunks, progress=tell).ref
    assert where == {"paglets-blocking"}
    hasher = Hasher()
    hasher.update(data)
    assert (ref.digest, told[-1]) == (hasher.digest(), len(data))
    with store.open_reader(ref.artifact_id, offset=100, length=1000) as reader:
        assert b"".join(reader) == data[100:1100]
        assert (reader.ref.artifact_id, reader.byte_range.length) == (ref.artifact_id, 1000)
    target = tmp_path / "out"
    store.export_to_path(ref.artifact_id, target)
    assert target.read_bytes() == data
    assert store.create_from_path(ArtifactWrite(), target).ref.digest == ref.digest
    (written,) = store.create_batch([SmallWrite(ArtifactWrite(name="s"), b"small")])
    assert not isinstance(written, PagletError)
    (read,) = store.read_batch([written.ref.artifact_id])
    assert isinstance(read, SmallArtifact)
    assert read.data == b"small"
    assert [found.name for found in store.list(ArtifactQuery(name_prefix="chunk")).refs] == ["chunks"]
    assert store.delete(ref.artifact_id)
    with pytest.raises(NotFoundError), store.open_reader(ref.artifact_id):
        pass


def test_an_iterable_that_fails_leaves_nothing(client: Client) -> None:
    """Its error comes out unchanged, and no artifact is there."""

    def broken() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        client.artifacts.create_from_chunks(ArtifactWrite(name="broken"), broken())
    assert not client.artifacts.list(ArtifactQuery(name_prefix="broken")).refs


def test_a_store_on_this_disk(tmp_path: Path) -> None:
    """The store of a folder is opened and closed as a context; its files can be seen."""
    source = tmp_path / "source"
    source.write_bytes(b"y" * 100_000)
    with blocking.LocalArtifactStore(tmp_path / "store", "here") as store:
        ref = store.create_from_path(ArtifactWrite(), source).ref
        assert store.blob_path(ref.artifact_id).read_bytes() == source.read_bytes()
    with pytest.raises(CancelledCallError):
        store.ref(ref.artifact_id)
    with blocking.LocalArtifactStore(tmp_path / "store", "here") as store:
        assert store.ref(ref.artifact_id).digest == ref.digest


def test_threads_share_a_client(client: Client) -> None:
    """Calls of several threads run side by side, and none is lost."""
    stub = client.create(Counter).stub(CounterServiceStub)
    with ThreadPoolExecutor(8) as threads:
        counts = threads.map(stub.Add, [AddRequest(amount=1)] * 64)
    assert sorted(count.value for count in counts) == list(range(1, 65))


def test_loop_is_there_as_long_as_it_is_needed(address: str) -> None:
    """All clients share one thread, which ends with the last of them; a closed client says so."""
    before = _loops()
    first, second = Client(address), Client(address)
    assert _loops() == max(1, before)
    first.close()
    first.close()
    assert second.reach().name == "alpha"
    with pytest.raises(CancelledCallError) as caught:
        first.reach()
    assert caught.value.reason == "CANCELLED"
    second.close()
    assert _loops() == before


def _loops() -> int:
    return sum(thread.name == "paglets-blocking" for thread in threading.enumerate())
