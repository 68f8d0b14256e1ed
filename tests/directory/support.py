"""What the directory's tests share: rows, a clock that stands still, a server, and waiting without sleeping blindly."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import grpc

from paglet.v1 import directory_pb2_grpc, mesh_pb2, mesh_pb2_grpc
from paglets.directory.contract import Directory, Guard, HostRegistration, Intent, PagletRow, PagletState, RowWrite
from paglets.errors import NotFoundError
from paglets.host.discovery import Discovery
from paglets.host.registry import TypeRegistry
from paglets.services.directory import DirectoryServicer
from paglets.services.guard import GuardedServices
from paglets.services.mesh import MeshServicer
from paglets.services.outlet import ServerContext
from paglets.services.watching import Watches
from paglets.sqlite import Database
from paglets.wire.channel_options import SERVER_OPTIONS

T = TypeVar("T")
PATIENCE_S = 30.0


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.123456

    def __call__(self) -> float:
        """The time."""
        return self.now


class CountingDatabase(Database):
    """A database that counts what is read from it."""

    reads = 0

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Counts and reads."""
        self.reads += 1
        return await super().read(work)


def new(
    paglet_id: str, owner: str = "alpha", type_name: str = "shop.Cart", *, after: PagletRow | None = None
) -> RowWrite:
    """Inserts a paglet, if there was none of this id, or none `after` the one of a tombstone."""
    row = PagletRow(paglet_id=paglet_id, type=type_name, owner=owner, state=PagletState.ACTIVE)
    return RowWrite(Guard.after(paglet_id, after), row, "create")


def changed(row: PagletRow, cause: str = "change", **changes: object) -> RowWrite:
    """Changes a paglet, if it is as `row` says."""
    return RowWrite(Guard.on(row), replace(row, **changes), cause)


def departing(row: PagletRow, transfer_id: str, target: str) -> RowWrite:
    """Freezes a paglet for a journey."""
    return changed(row, "depart", state=PagletState.DEPARTING, intent=Intent(transfer_id, target))


def disposed(row: PagletRow) -> RowWrite:
    """Makes a paglet a tombstone."""
    return changed(row, "dispose", state=PagletState.DISPOSED)


def host(name: str, uid: str = "uid-1") -> HostRegistration:
    """A host that listens somewhere."""
    return HostRegistration(
        name=name, uid=uid, address="127.0.0.1:7600", version="0.1.0", types=("shop.Cart", "shop.Till")
    )


async def put(directory: Directory, *writes: RowWrite) -> list[PagletRow]:
    """Applies writes."""
    return list(await directory.apply(writes))


async def take(rows: AsyncIterator[PagletRow], number: int) -> list[PagletRow]:
    """The next rows of a watch; fails when they do not come."""
    async with asyncio.timeout(PATIENCE_S):
        return [await anext(rows) for _ in range(number)]


async def eventually(holds: Callable[[], bool]) -> None:
    """Returns once it holds; fails when that takes too long."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


class NoLeases:
    """Where no paglets are, there is nothing to lease."""

    async def acquire(
        self, request: mesh_pb2.AcquireLeaseRequest, context: ServerContext
    ) -> mesh_pb2.AcquireLeaseResponse:
        """Knows no paglet."""
        raise NotFoundError("PAGLET_NOT_FOUND", f"no paglet {request.paglet_id}")

    async def release(
        self, request: mesh_pb2.ReleaseLeaseRequest, context: ServerContext
    ) -> mesh_pb2.ReleaseLeaseResponse:
        """Has nothing to end."""
        return mesh_pb2.ReleaseLeaseResponse()


@asynccontextmanager
async def serving(directory: Directory, port: int = 0) -> AsyncGenerator[int, None]:
    """Serves a directory, and the mesh of the host `alpha`, on loopback; gives the port."""
    services = GuardedServices()
    discovery = Discovery(directory, "alpha", TypeRegistry("alpha", {}))
    mesh = MeshServicer(directory, "alpha", Watches(8), discovery, NoLeases())
    services.add(directory_pb2_grpc.add_DirectoryServiceServicer_to_server, DirectoryServicer(directory))
    services.add(mesh_pb2_grpc.add_MeshServiceServicer_to_server, mesh)
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((services,))
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)
