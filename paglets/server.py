"""Joins the parts of a host and runs it: the only place where they meet."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import signal
import socket
import threading
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2_grpc

from paglet.v1 import (
    call_pb2_grpc,
    directory_pb2_grpc,
    lifecycle_pb2_grpc,
    mesh_pb2_grpc,
    operation_pb2_grpc,
    rebuild_pb2_grpc,
    transfer_pb2_grpc,
)
from paglets.arena import look_for_cycles_less_often, use_one_arena
from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.lock import FolderLock
from paglets.client.channel import open_channel
from paglets.client.directory import RemoteDirectory
from paglets.config import HostSettings
from paglets.directory.contract import Directory
from paglets.directory.sqlite import SqliteDirectory
from paglets.errors import InvalidArgumentError, PermissionDeniedError, PreconditionError, UnavailableError
from paglets.faults import arm_from_environment
from paglets.host.discovery import Discovery
from paglets.host.files import FileRoots
from paglets.host.host import Host
from paglets.host.journal.journal import Journal
from paglets.host.parts import HostParts
from paglets.host.peers import Peers
from paglets.host.read_tickets import ReadTickets
from paglets.host.registry import TypeRegistry
from paglets.host.storage import Storages
from paglets.host.work import WorkFolders
from paglets.loop import run
from paglets.offloop import await_off_loop, off_loop
from paglets.services.artifact import ArtifactServicer, add_artifacts
from paglets.services.carrying import CallServicer
from paglets.services.directory import DirectoryServicer
from paglets.services.door import Door
from paglets.services.flights import Flights
from paglets.services.guard import GuardedServices
from paglets.services.health import HealthServicer
from paglets.services.leasing import Leasing
from paglets.services.lifecycle import LifecycleServicer
from paglets.services.mesh import MeshServicer
from paglets.services.operation import OperationServicer
from paglets.services.rebuild import RebuildServicer
from paglets.services.reflection import add_reflection
from paglets.services.routing import Router
from paglets.services.transfer import TransferServicer
from paglets.services.watching import Watches
from paglets.sqlite import keep_folder
from paglets.values import check_id
from paglets.version import __version__
from paglets.wire.channel_options import SERVER_OPTIONS

__all__ = ["RunningHost", "require_private", "running_host", "serve"]

_log = logging.getLogger(__name__)
_UNIX = "unix:"


@dataclass(frozen=True, slots=True)
class RunningHost:
    """A host that serves, and where."""

    host: Host
    address: str


def serve(settings: HostSettings, ready: Callable[[str], None]) -> None:
    """Runs a host as this process until SIGTERM or SIGINT, then drains it; a second signal ends it at once.

    What has not ended when the drain time and the shutdown budget are over, e.g. a handler in a thread, is cut off as
    by a kill, with exit code 1. `ready` is called with the host's address once it serves. Raises PagletErrors that say
    what to change.
    """
    use_one_arena()
    look_for_cycles_less_often()
    arm_from_environment()
    cut_off = threading.Timer(settings.drain_s + settings.shutdown_budget_s, _cut_off)
    cut_off.daemon = True
    try:
        run(_serve(settings, ready, cut_off))  # which waits in the end for threads that authors began
        await_off_loop()
    finally:
        cut_off.cancel()


async def _serve(settings: HostSettings, ready: Callable[[str], None], cut_off: threading.Timer) -> None:
    """Serves until a signal comes, which starts `cut_off`."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, _on_signal, signal_number, stopping)
    serving = asyncio.create_task(_serve_until(settings, ready, stopping))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    cut_off.start()
    try:
        await serving
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise


def _cut_off() -> None:
    """Ends the process, which could not end with a thread at work; nothing of what that did was committed."""
    _log.error("something on this host does not end; it is cut off")
    logging.shutdown()
    os._exit(1)


def _on_signal(number: int, stopping: asyncio.Event) -> None:
    if stopping.is_set():
        os._exit(128 + number)
    stopping.set()


async def _serve_until(settings: HostSettings, ready: Callable[[str], None], stopping: asyncio.Event) -> None:
    task = asyncio.current_task()
    give_up = asyncio.create_task(stopping.wait())
    if task is not None:  # a host that still waits for its mesh has nothing to drain
        give_up.add_done_callback(lambda done: None if done.cancelled() else task.cancel())
    async with running_host(settings) as running:
        give_up.cancel()
        ready(running.address)
        await stopping.wait()
    if running.host.parts.pool.number:
        _cut_off()


@asynccontextmanager
async def running_host(settings: HostSettings) -> AsyncGenerator[RunningHost]:
    """A host that serves until the end of the block; there it is drained.

    Raises INVALID_ID, PERMISSION_DENIED (listening beyond this machine), DATA_FOLDER_LOCKED, HOST_NAME_TAKEN.
    """
    check_id(settings.name, "name")
    require_private(settings)
    async with AsyncExitStack() as stack:
        parts, uid = await _open_parts(stack, settings)
        host = Host(parts, uid, __version__)
        services = GuardedServices()
        health = HealthServicer()
        watches = Watches(settings.max_watches)
        router = Router(host, uid)
        flights = Flights(settings.max_calls_of_paglet, settings.max_calls_of_caller)
        services.add(
            lifecycle_pb2_grpc.add_LifecycleServiceServicer_to_server, LifecycleServicer(host, router, watches)
        )
        services.add(
            operation_pb2_grpc.add_OperationServiceServicer_to_server, OperationServicer(host, router, flights)
        )
        _add_services(services, host, router, health, watches, await ReadTickets.of(parts.journal))
        door = Door(host, router, services, flights)
        carrying = CallServicer(
            door.unary, max_calls=settings.max_concurrent_rpcs, max_calls_of_stream=settings.max_rpcs_of_connection
        )
        services.add(call_pb2_grpc.add_CallServiceServicer_to_server, carrying)
        server = await _listen(settings, host, door, services)
        await server.start()
        stack.push_async_callback(_stop, server, parts, health, watches, router, carrying)
        stack.push_async_callback(host.close)
        await host.recover()
        health.serve(services.service_names)
        stack.callback(health.drain)
        yield RunningHost(host, parts.address)


async def _stop(
    server: grpc.aio.Server,
    parts: HostParts,
    health: HealthServicer,
    watches: Watches,
    router: Router,
    carrying: CallServicer,
) -> None:
    """Ends the server: watches, of whatever, and streams that are passed on end at once; calls have the drain time."""
    stopping = asyncio.create_task(server.stop(parts.settings.drain_s))
    health.end_watches()
    parts.store.end_watches()
    watches.end()
    router.end_streams()
    carrying.end()
    if isinstance(parts.directory, SqliteDirectory):
        await parts.directory.close()
    await stopping


async def _open_parts(stack: AsyncExitStack, settings: HostSettings) -> tuple[HostParts, str]:
    data = settings.data.expanduser().resolve()
    await off_loop(keep_folder, data, mode=0o700)
    stack.callback(FolderLock(data).release)
    modules = dict.fromkeys((*settings.allow, *(resident.module for resident in settings.residents)))
    registry = TypeRegistry.load(settings.name, modules)
    journal = await off_loop(Journal.open, data / "journal.db", settings.events)
    stack.push_async_callback(journal.close)
    uid = await _identity(journal, settings)
    store = await LocalArtifactStore.open(data / "artifacts", settings.name, settings.store)
    stack.push_async_callback(store.close)
    directory = await _open_directory(stack, settings, data)
    peers = Peers(directory)
    stack.push_async_callback(peers.close)
    work = WorkFolders(data / "work")
    stack.push_async_callback(work.close)
    parts = HostParts(
        settings=settings,
        journal=journal,
        store=store,
        directory=directory,
        registry=registry,
        peers=peers,
        discovery=Discovery(directory, settings.name, registry),
        roots=FileRoots(settings.file_roots),
        storages=Storages(data / "storage", settings.storage_quota_bytes),
        work=work,
    )
    return parts, uid


async def _identity(journal: Journal, settings: HostSettings) -> str:
    """The uid of the data folder, which belongs to one host of one mesh for good."""
    uid = await journal.meta("uid")
    mesh = "joined" if settings.join else "own"
    if not uid:
        uid = uuid.uuid4().hex
        for key, value in (("name", settings.name), ("mesh", mesh), ("uid", uid)):  # the uid says that all are there
            await journal.set_meta(key, value)
    for key, wanted in (("name", settings.name), ("mesh", mesh)):
        found = await journal.meta(key)
        if found != wanted:
            raise PreconditionError(
                "DATA_FOLDER_LOCKED",
                f"the data folder {settings.data} belongs to a host with {key} {found!r}, not {wanted!r}:"
                " start it as before, or take another folder",
                metadata={key: found},
            )
    return uid


async def _open_directory(stack: AsyncExitStack, settings: HostSettings, data: Path) -> Directory:
    """The mesh's directory: in this host's own file, or at the host that was joined."""
    if not settings.join:
        directory = await SqliteDirectory.open(data / "directory.db", settings=settings.directory)
        stack.push_async_callback(directory.close)
        return directory
    channel = open_channel(settings.join)
    stack.push_async_callback(channel.close)
    return RemoteDirectory(channel, address=settings.join)


def _add_services(
    services: GuardedServices,
    host: Host,
    router: Router,
    health: HealthServicer,
    watches: Watches,
    tickets: ReadTickets,
) -> None:
    parts = host.parts
    reads = parts.settings.store.max_open_reads
    artifacts = ArtifactServicer(parts.store, host.name, tickets=tickets, pulls=host.pulls, max_open_reads=reads)
    add_artifacts(services, artifacts)
    services.add(transfer_pb2_grpc.add_TransferServiceServicer_to_server, TransferServicer(host))
    mesh = MeshServicer(parts.directory, host.name, watches, host.discovery, Leasing(host, router))
    services.add(mesh_pb2_grpc.add_MeshServiceServicer_to_server, mesh)
    services.add(rebuild_pb2_grpc.add_RebuildServiceServicer_to_server, RebuildServicer(host))
    services.add(directory_pb2_grpc.add_DirectoryServiceServicer_to_server, DirectoryServicer(parts.directory))
    services.add(health_pb2_grpc.add_HealthServicer_to_server, health)
    add_reflection(services, parts.registry.services())


async def _listen(settings: HostSettings, host: Host, door: Door, services: GuardedServices) -> grpc.aio.Server:
    """A server bound to its address, the port it had last if it is free to choose."""
    server = grpc.aio.server(
        handlers=(door, services),
        options=(
            *SERVER_OPTIONS,
            ("grpc.max_allowed_incoming_connections", settings.max_connections),
            ("grpc.max_concurrent_streams", settings.max_rpcs_of_connection),
        ),
        maximum_concurrent_rpcs=settings.max_concurrent_rpcs,
    )
    journal = host.parts.journal
    remembered = int(await journal.meta("port") or "0")
    try:
        host.parts.address = _bind(server, settings.listen, remembered)
    except BaseException:
        await server.stop(None)  # else it would look for its event loop when it is collected
        raise
    port = host.parts.address.rpartition(":")[2]
    if port.isdecimal() and port != str(remembered):
        await journal.set_meta("port", port)
    return server


def _bind(server: grpc.aio.Server, listen: str, remembered: int) -> str:
    """Binds and returns the address that others can reach. Raises UNAVAILABLE when the address is taken."""
    if listen.startswith(_UNIX):
        _require_unused(listen.removeprefix(_UNIX))
        try:
            server.add_insecure_port(listen)
        except RuntimeError as error:
            raise UnavailableError("TRANSPORT", f"cannot listen on {listen}: is its folder there?") from error
        return listen
    address, _, port = listen.rpartition(":")
    wanted = (remembered, 0) if port == "0" and remembered else (int(port),)
    for number in wanted:
        try:
            bound = server.add_insecure_port(f"{address}:{number}")
        except RuntimeError as error:
            if number == wanted[-1]:
                raise UnavailableError(
                    "TRANSPORT", f"cannot listen on {address}:{number}: is another process there?"
                ) from error
            _log.warning("port %s, which this host had last, is taken; taking another", number)
            continue
        return f"{_reachable(address)}:{bound}"
    raise UnavailableError("TRANSPORT", f"cannot listen on {listen}")


def _require_unused(path: str) -> None:
    """Raises UNAVAILABLE when somebody accepts on a socket. gRPC takes over any, a living host's like a stale one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(0)  # one that is full of callers is in use too
        try:
            found = caller.connect_ex(path)
        except OSError as error:
            raise UnavailableError("TRANSPORT", f"cannot listen on {_UNIX}{path}: {error}") from error
    if found not in {errno.ENOENT, errno.ECONNREFUSED}:
        raise UnavailableError("TRANSPORT", f"cannot listen on {_UNIX}{path}: is another process there?")


def _reachable(address: str) -> str:
    """The name under which others find a listening address."""
    everywhere = not address or (not _is_name(address) and ipaddress.ip_address(address.strip("[]")).is_unspecified)
    return socket.gethostname() if everywhere else address


def _is_name(address: str) -> bool:
    try:
        ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return True
    return False


def require_private(settings: HostSettings) -> None:
    """Without transport security a host listens on this machine only, unless it is told otherwise.

    Raises INSECURE_LISTEN, and MALFORMED_REQUEST for what is no address.
    """
    if settings.listen.startswith(_UNIX) and settings.listen != _UNIX:
        return
    address, colon, port = settings.listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST", f"--listen wants address:port or unix:PATH, got {settings.listen!r}", field="listen"
        )
    if _is_loopback(address):
        return
    if not settings.insecure:
        raise PermissionDeniedError(
            "INSECURE_LISTEN",
            f"{settings.listen} can be reached from other machines, and calls are neither encrypted nor checked:"
            " listen on 127.0.0.1 or unix:PATH, or give --insecure if you trust the network",
            metadata={"listen": settings.listen},
        )
    _log.warning("listening on %s without encryption or authentication, as --insecure asks", settings.listen)


def _is_loopback(address: str) -> bool:
    if _is_name(address):
        return address == "localhost"
    return ipaddress.ip_address(address.strip("[]")).is_loopback
