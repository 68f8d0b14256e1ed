"""One paglet's story under fire: it is created, written to, moved, killed at, moved again and disposed of.

What must hold is asserted here, whatever was killed when: nothing acknowledged is lost, nothing ran twice, there is one
live copy, its files are whole, and nothing is left behind.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from paglet.examples.counter.v1 import counter_pb2_grpc
from paglet.examples.counter.v1.counter_pb2 import GetRequest
from paglets.client.client import Client
from paglets.digest import Digest
from paglets.errors import DeadlineError, PagletError
from paglets.testing import eventually
from paglets.values import ArrivalMode, PagletInfo, TransferTicket, clone_id, new_id
from paglets.wire.metadata import HOST_KEY
from tests.kill import audit
from tests.kill.ledger import Ledger, LedgerState, seal
from tests.kill.mesh import PATIENCE_S, Mesh
from tests.kill.writers import PACE_S, Writers

__all__ = ["Story", "begun_story", "quiet"]

_SIZES = (300_000, 1_300_000)  # small ones travel together, large ones alone


@dataclass(kw_only=True)
class Story:
    """The paglet, who writes to it, and what is known of it."""

    mesh: Mesh
    clients: dict[str, Client]
    paglet_id: str
    writers: Writers
    moved: Path
    copied: Path
    content: dict[Path, bytes]
    visits: list[str] = field(default_factory=list[str])
    epoch: int = 0

    async def dispatch(self, target: str, *, door: str, ticket: TransferTicket | None = None) -> PagletError | None:
        """Asks for a move by way of a host until it is known how it ended; gives the error that it ended with."""
        at_rest = ticket is not None and ticket.arrival is ArrivalMode.INACTIVE
        client = self.clients[door]
        asked = client.dispatch(self.paglet_id, target, ticket=ticket, request_id=new_id(), timeout_s=PATIENCE_S)
        return await self._moved(asked, target, visits=not at_rest)

    async def retract(self, target: str) -> PagletError | None:
        """As `dispatch`, asked of the host that it is to come to."""
        asked = self.clients[target].retract(self.paglet_id, request_id=new_id(), timeout_s=PATIENCE_S)
        return await self._moved(asked, target, visits=True)

    async def clone(self, target: str, *, ticket: TransferTicket | None = None) -> tuple[str, PagletError | None]:
        """Asks for a clone until it is known whether there is one; its id, and the error if there is none."""
        request_id = new_id()
        asked = self.clients[self.mesh.source].clone(
            self.paglet_id, target, ticket=ticket, request_id=request_id, timeout_s=PATIENCE_S
        )
        return clone_id(self.paglet_id, request_id), await self._moved(asked, target, visits=False)

    async def check_clone(self, clone: str, target: str) -> None:
        """A clone has what its original had when it was made, with bytes of its own, and leaves that untouched."""
        await quiet(self.mesh)
        row, host = audit.row_of(self.mesh, clone), self.mesh.hosts[target]
        assert row is not None
        assert (row.owner, row.state) == (target, "active")
        copied, own = audit.state_of(host, clone), audit.state_of(self.mesh.hosts[self.mesh.source], self.paglet_id)
        assert copied is not None
        assert own is not None
        assert copied.amounts == own.amounts[: len(copied.amounts)], "the clone has what nobody wrote"
        assert self.moved.exists(), "the clone took its original's file away"
        files = audit.registered_files(host.data, clone)
        assert [file.name for file in files] == sorted(path.name for path in self.content)
        for file in files:
            assert Path(file.path) not in self.content
            assert await asyncio.to_thread(Path(file.path).read_bytes) == self.content[self.mesh.files / file.name]
        await self.clients[self.mesh.directory].dispose(clone)

    async def check_no_clone(self, clone: str) -> None:
        """There is no clone, and nothing is left of it."""
        await quiet(self.mesh)
        row = audit.row_of(self.mesh, clone)
        assert row is None or row.state == "disposed"
        assert self.moved.exists()

    async def _moved(self, asked: Awaitable[object], target: str, *, visits: bool) -> PagletError | None:
        try:
            await asked
        except PagletError as error:
            if isinstance(error, DeadlineError) and error.reason != "JOURNEY_TIMEOUT":
                raise AssertionError(f"nobody knows how the journey to {target} ended") from error
            return error
        if visits:
            self.visits.append(target)
        return None

    async def move(self, target: str) -> None:
        """A move that nothing disturbs."""
        error = await self.dispatch(target, door=target)
        assert error is None, f"an undisturbed journey to {target} failed: {error!r}"
        await self.writers.more()
        await self.settled_at(target)

    async def rest(self, request_id: str = "") -> PagletInfo:
        """Asks for a rest until it is acknowledged; whoever writes ends it. Gives what the answer told."""
        return await self.clients[self.mesh.directory].deactivate(self.paglet_id, request_id=request_id or new_id())

    async def settled_at(self, owner: str, *, is_kept: bool = False) -> None:
        """Waits until the mesh is quiet, and looks whether the paglet is whole where it should be, and only there.

        `is_kept` tells that the source of the moved file stays, as it does when an arrival failed.
        """
        await quiet(self.mesh)
        row = audit.row_of(self.mesh, self.paglet_id)
        assert row is not None
        assert (row.owner, row.state) == (owner, "active")
        assert row.epoch > self.epoch, "a journey, made or given up, and a restart each raise the epoch"
        self.epoch = row.epoch
        shared = {epoch: hosts for epoch, hosts in self.writers.places.items() if len(hosts) > 1}
        assert not shared, f"two hosts answered in one epoch: {shared}"
        self.check_files(owner, is_kept=is_kept)

    def check_sources(self) -> None:
        """At any moment, in any ruins: a source that is gone has arrived whole, a copied one never goes."""
        row = audit.row_of(self.mesh, self.paglet_id)
        if row is None or row.state == "disposed":
            return
        assert self.copied.read_bytes() == self.content[self.copied]
        if self.moved.exists():
            assert self.moved.read_bytes() == self.content[self.moved]
            return
        found = audit.blobs(self.mesh.hosts[row.owner]).get(Digest.of(self.content[self.moved]).hex)
        assert found is not None, f"the moved source is gone, and {row.owner} has nothing of it"
        assert found.read_bytes() == self.content[self.moved]

    def check_files(self, owner: str, *, is_kept: bool) -> None:
        """The paglet's files are where it is, with all their bytes; the moved source only where it never left."""
        self.check_sources()
        files = audit.registered_files(self.mesh.hosts[owner].data)
        assert [file.name for file in files] == sorted(path.name for path in self.content)
        for file in files:
            assert Path(file.path).read_bytes() == self.content[self.mesh.files / file.name]
        assert self.moved.exists() == (is_kept or any(Path(file.path) == self.moved for file in files))

    async def check_ledger(self, owner: str, *, posted: Collection[int] = ()) -> None:
        """After the last write: what was acknowledged is what ran, once each, in the order told, and is so for ever.

        `posted` are the amounts that came as posts, to which there is no reply.
        """
        state = audit.state_of(self.mesh.hosts[owner], self.paglet_id)
        assert state is not None
        told, posts = self.writers.acknowledged, set(posted)
        assert len(set(state.amounts)) == len(state.amounts), "a request ran twice"
        wanted = set(told) | posts
        assert set(state.amounts) == wanted, "lost, or never sent: " + str(set(state.amounts) ^ wanted)
        assert state.visits == self.visits, "an arrival turn was kept twice, or not at all"
        places = {amount: place for place, amount in enumerate(state.amounts, 1) if amount not in posts}
        assert places == told, "a reply told of another place"
        await self.writers.replay(beside=len(posts))
        for name, client in self.clients.items():
            stub: counter_pb2_grpc.CounterServiceAsyncStub = client.proxy(self.paglet_id).stub(
                counter_pb2_grpc.CounterServiceStub
            )
            call = stub.Get(GetRequest())
            assert (await call).value == seal(state.amounts), f"{name} tells another story"
            assert dict(await call.trailing_metadata())[HOST_KEY] == owner

    async def end(self) -> None:
        """Disposes of the paglet: nothing of it stays but the source that was copied."""
        await self.clients[self.mesh.directory].dispose(self.paglet_id)
        self.copied.unlink()
        self.moved.unlink(missing_ok=True)
        await quiet(self.mesh)


@asynccontextmanager
async def begun_story(
    mesh: Mesh,
    kind: type[Ledger] = Ledger,
    beside: Callable[[], Awaitable[None]] | None = None,
    peer: str = "",
    told_from: int = 0,
    pace_s: float = PACE_S,
) -> AsyncGenerator[Story]:
    """A new ledger with two files on the source's host, and clients of every host; nobody writes yet.

    `beside` happens while it is created; `peer` is the ledger that it tells of what it takes down, if that is no less
    than `told_from`; each who writes pauses for `pace_s` after each write.
    """
    paglet_id = new_id()
    copied, moved = mesh.files / f"copied-{paglet_id}", mesh.files / f"moved-{paglet_id}"
    size = random.choice(_SIZES)
    content = {path: random.randbytes(size) for path in (copied, moved)}
    for path, data in content.items():
        path.write_bytes(data)
    async with AsyncExitStack() as stack:
        clients = {host.name: await stack.enter_async_context(Client(host.address)) for host in mesh}
        state = LedgerState(moved=moved.name, copied=copied.name, peer=peer, told_from=told_from)
        async with asyncio.TaskGroup() as group:
            group.create_task(clients[mesh.source].create(kind, state=state, paglet_id=paglet_id))
            if beside is not None:
                group.create_task(_called(beside))
        row = audit.row_of(mesh, paglet_id)
        assert row is not None
        yield Story(
            epoch=row.epoch,
            mesh=mesh,
            clients=clients,
            paglet_id=paglet_id,
            writers=Writers(list(clients.values()), paglet_id, pace_s=pace_s),
            moved=moved,
            copied=copied,
            content=content,
        )


async def _called(beside: Callable[[], Awaitable[None]]) -> None:
    await beside()


async def quiet(mesh: Mesh, *, posted_before_s: float = math.inf) -> None:
    """Waits until nothing is left over anywhere in a mesh, but for what its paglets posted since a time."""
    last: list[str] = []

    async def is_quiet() -> bool:
        last[:] = await asyncio.to_thread(audit.mesh_problems, mesh, posted_before_s=posted_before_s)
        return not last

    try:
        await eventually(is_quiet, PATIENCE_S, "peace")
    except TimeoutError as error:
        raise AssertionError(f"the mesh never came to rest: {last}") from error
