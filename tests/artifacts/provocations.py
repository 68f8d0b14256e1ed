"""The ways to those refusals of a store that take more than one request: each ends with the error of its last one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from typing import TypeAlias

import grpc

from paglet.v1 import artifact_pb2
from paglets.artifacts.limits import MAX_LABEL_BYTES
from paglets.artifacts.steps import Step
from paglets.artifacts.store import ArtifactChanges, ArtifactWrite, SmallWrite
from paglets.digest import Digest
from tests.artifacts.scene import MAX_BYTES, OWNER_QUOTA, Scene
from tests.artifacts.support import PATIENCE_S, armed, eventually, pieces, put, refused
from tests.artifacts.test_failing_disk import fill_up
from tests.artifacts.test_wire import Frame, digest_of, finish, header

ReadCall: TypeAlias = "grpc.aio.UnaryStreamCall[artifact_pb2.ReadArtifactRequest, artifact_pb2.ReadArtifactResponse]"

MIB = 1024 * 1024
_LARGE_MIB = 64  # more than gRPC takes on its own account for a reader that stands still


async def size_of_the_digest(scene: Scene) -> object:
    """A digest tells of more bytes than an artifact may have."""
    told = digest_of(bytes(MAX_BYTES + 1))
    return await scene.write(Frame(header=artifact_pb2.WriteHeader(upload_id="u", expected_digest=told)))


async def id_is_taken(scene: Scene) -> object:
    """Another artifact has the id."""
    await put(scene.local, b"there", artifact_id="a")
    return await scene.write(header())


async def stalled(scene: Scene) -> object:
    """The header comes, and then nothing."""
    return await (await scene.hold())


async def same_epoch(scene: Scene) -> object:
    """Another stream writes the upload under the same number."""
    async with scene.held(writer_epoch=1):
        return await scene.write(header(writer_epoch=1))


async def id_is_written(scene: Scene) -> object:
    """Another upload for the same artifact is being written."""
    async with scene.held(upload_id="v"):
        return await scene.write(header())


async def cancelled(scene: Scene) -> object:
    """Somebody cancels the upload."""
    call = await scene.hold()
    await scene.cancel("u")
    return await call


async def fenced(scene: Scene) -> object:
    """Another writer takes the upload over."""
    call = await scene.hold(writer_epoch=1)
    async with scene.held(writer_epoch=2):
        return await call


async def another_request(scene: Scene) -> object:
    """The upload id made another artifact."""
    await scene.write(header(), finish(b""))
    return await scene.write(header(name="another"))


async def another_prefix(scene: Scene) -> object:
    """The first bytes of the source are not those that are here."""
    await scene.rest()
    told = artifact_pb2.WriteHeader(upload_id="u", artifact_id="a", prefix_digest=digest_of(b"REST"))
    return await scene.write(Frame(header=told))


async def deleted_since(scene: Scene) -> object:
    """What the upload made was deleted."""
    await scene.write(header(), finish(b""))
    await scene.delete("a")
    return await scene.write(header(), finish(b""))


async def store_without_room(scene: Scene) -> object:
    """The host's quota is full."""
    for number in range(3):
        await put(scene.local, bytes([number]) * MAX_BYTES)
    return await scene.write(header(expected_size=1))


async def owner_without_room(scene: Scene) -> object:
    """The owner's quota is full."""
    return await scene.write(header(owner="ann", expected_size=OWNER_QUOTA + 1))


async def too_many_open(scene: Scene) -> object:
    """As many uploads are written as may be."""
    async with scene.held(upload_id="v", artifact_id="v"), scene.held(upload_id="w", artifact_id="w"):
        return await scene.write(header())


async def too_many_unfinished(scene: Scene) -> object:
    """As many partials rest as may be."""
    for name in ("v", "w", "x"):
        await scene.rest(name)
    return await scene.write(header())


async def store_closes(scene: Scene) -> object:
    """The store closes under an upload."""
    call = await scene.hold()
    await scene.local.close()
    return await call


async def failed_upload_is_asked_for(scene: Scene) -> object:
    """The upload has failed for good, and its writer has not left yet."""
    upload = await scene.local.open_upload(ArtifactWrite(upload_id="u"))
    try:
        await upload.write(0, b"bytes")
        await refused(upload.finish(Digest.of(b"other")))
        return await scene.upload("u")
    finally:
        await upload.leave()


async def cancel_at_the_end(scene: Scene) -> object:
    """The upload is proven, and on its way to become visible."""
    there, go_on = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name == Step.RENAME_AFTER:  # passed in a thread
            there.set()
            go_on.wait(PATIENCE_S)

    with armed(hold):
        upload = asyncio.create_task(scene.write(header(), finish(b"")))
        await asyncio.to_thread(there.wait, PATIENCE_S)
        try:
            return await scene.cancel("u")
        finally:
            go_on.set()
            await upload


async def past_the_end(scene: Scene) -> object:
    """A range has a byte more than the artifact."""
    await put(scene.local, b"there", artifact_id="a")
    return await scene.read("a", 1, 5)


async def corrupt(scene: Scene) -> object:
    """The stored bytes are not what they were."""
    await put(scene.local, b"there", artifact_id="a")
    path = await scene.local.blob_path("a")
    path.chmod(0o600)
    path.write_bytes(b"THERE")
    return await scene.read("a")


async def read_that_stands_still(scene: Scene) -> object:
    """The client takes nothing until the host has let go of his read."""
    call = await _reading(scene)

    async def let_go() -> bool:
        return await _succeeds(scene.read("a", 0, 1))

    await eventually(let_go)
    while await call.read() is not grpc.aio.EOF:
        pass
    return call


async def second_read(scene: Scene) -> object:
    """As many reads are open as may be."""
    call = await _reading(scene)
    try:
        return await scene.read("a")
    finally:
        call.cancel()


async def expired(scene: Scene) -> object:
    """The artifact was there until now."""
    await put(scene.local, b"there", artifact_id="a", ttl_s=10)
    await scene.get("a")
    scene.clock.now += 10
    return await scene.get("a")


async def unknown_order(scene: Scene) -> object:
    """A list is asked for in an order that there is not."""
    request = artifact_pb2.ListArtifactsRequest()
    setattr(request, "order_by", 99)  # noqa: B010 - proto3 enums are open, their stubs are not
    return await scene.stub.ListArtifacts(request)


async def update_of_another_version(scene: Scene) -> object:
    """The artifact was changed since."""
    return await scene.update(artifact_id="a", name="newer", etag=await _etag_of_old(scene))


async def delete_of_another_version(scene: Scene) -> object:
    """The artifact was changed since."""
    return await scene.delete("a", await _etag_of_old(scene))


async def new_owner_without_room(scene: Scene) -> object:
    """The artifact does not fit the quota of whom it is given to."""
    await put(scene.local, bytes(OWNER_QUOTA + 1), artifact_id="a")
    return await scene.update(artifact_id="a", owner="ann")


async def update_on_a_full_disk(scene: Scene) -> object:
    """The disk has not even room for a row."""
    await put(scene.local, b"there", artifact_id="a")
    fill_up(scene.root.parent / "ballast")
    while True:  # some rows fit into pages that are there
        await scene.update(artifact_id="a", content_type="x" * 255, name="y" * 255)


async def delete_without_any_room(scene: Scene) -> object:
    """The disk has no room for a row, and others have taken what the store had kept for deletions."""
    writes = [ArtifactWrite(artifact_id=f"a-{number}") for number in range(100)]
    await scene.local.create_batch([SmallWrite(write=write, data=b"there") for write in writes])
    (scene.root / "spare").unlink()
    fill_up(scene.root.parent / "ballast")
    for write in writes:  # some rows fit into pages that are there
        await scene.delete(write.artifact_id)
    return None


async def cursor_of_old(scene: Scene) -> object:
    """What happened after the cursor is kept no longer."""
    cursor = (await scene.local.list()).cursor
    for _ in range(3):
        await put(scene.local, b"there")
    return await scene.watch(cursor)


async def second_watch(scene: Scene) -> object:
    """As many watches are open as may be."""
    call = scene.stub.WatchArtifacts(artifact_pb2.WatchArtifactsRequest())
    await call.read()
    try:
        return await scene.watch()
    finally:
        call.cancel()


async def watch_that_stands_still(scene: Scene) -> object:
    """The client takes nothing while much happens, until the host has let go of his watch."""
    call = scene.stub.WatchArtifacts(artifact_pb2.WatchArtifactsRequest())
    await call.read()
    await put(scene.local, b"there", artifact_id="a")
    labels = {"x": "y" * (MAX_LABEL_BYTES - 1)}

    async def let_go() -> bool:
        await asyncio.gather(*(scene.local.update("a", ArtifactChanges(labels=labels)) for _ in range(64)))
        return await _succeeds(scene.watch())

    await eventually(let_go)
    while await call.read() is not grpc.aio.EOF:
        pass
    return call


async def watch_of_a_closing_host(scene: Scene) -> object:
    """The host ends all watches."""
    call = scene.stub.WatchArtifacts(artifact_pb2.WatchArtifactsRequest())
    await call.read()
    scene.local.end_watches()
    return await call.read()


async def _reading(scene: Scene) -> ReadCall:
    """A read of a large artifact of which nothing was taken but the header."""
    await scene.local.create_from_chunks(ArtifactWrite(artifact_id="a"), pieces(*[bytes(MIB)] * _LARGE_MIB))
    call = scene.stub.ReadArtifact(artifact_pb2.ReadArtifactRequest(artifact_id="a"))
    await call.read()
    return call


async def _etag_of_old(scene: Scene) -> str:
    """The etag of artifact `a` before it was changed."""
    await put(scene.local, b"there", artifact_id="a")
    etag = (await scene.local.ref("a")).etag
    await scene.update(artifact_id="a", name="new")
    return etag


async def _succeeds(call: Awaitable[object]) -> bool:
    try:
        await call
    except grpc.aio.AioRpcError:
        return False
    return True


async def read_by_a_wrong_ticket(scene: Scene) -> object:
    """A read with a ticket that nobody made."""
    await put(scene.local, b"there", artifact_id="a")
    request = artifact_pb2.ReadArtifactRequest(artifact_id="a", read_ticket=b"forged")
    return [frame async for frame in scene.stub.ReadArtifact(request)]


async def get_by_a_wrong_ticket(scene: Scene) -> object:
    """A look with a ticket that nobody made."""
    await put(scene.local, b"there", artifact_id="a")
    return await scene.stub.GetArtifact(artifact_pb2.GetArtifactRequest(artifact_id="a", read_ticket=b"forged"))


async def ticket_that_ends_before_it_begins(scene: Scene) -> object:
    """A ticket for less than no time."""
    await put(scene.local, b"there", artifact_id="a")
    return await scene.ticket("a", ttl_s=-1)
