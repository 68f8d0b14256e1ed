"""`paglets doctor` looks at hosts: the one that is asked, what is in its place, and the others of its mesh."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from paglets.artifacts.store import ArtifactWrite
from paglets.cli.checks import member as members
from paglets.cli.checks.asked import asked_host
from paglets.cli.checks.finding import Finding
from paglets.cli.checks.listener import explained
from paglets.cli.checks.member import member
from paglets.cli.checks.mesh import clock
from paglets.client.channel import open_channel
from paglets.config import HostSettings, StoreSettings
from paglets.digest import Digest
from paglets.errors import PagletError
from paglets.services.health import HealthServicer
from paglets.values import HostRef
from tests.cli.conftest import Mesh
from tests.cli.running import Cli, host, until
from tests.host.conftest import site
from tests.host.probe import Probe
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_PATIENCE_S = 20.0
_ALLOW = ("--allow", "paglets.examples.counter")
_COUNTER = "paglets.examples.counter.Counter"


@asynccontextmanager
async def listener(handler: Handler) -> AsyncGenerator[str]:
    """Something that listens, and does that with who connects."""
    meetings = dict[socket.socket, asyncio.Task[None]]()

    async def meet(connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            await handler(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def accept(
        listening: socket.socket,
    ) -> None:  # asyncio's own server does it in a task that nobody knows
        with suppress(BlockingIOError):
            connection, _ = listening.accept()
            connection.settimeout(0)
            meetings[connection] = asyncio.create_task(meet(connection))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        loop = asyncio.get_running_loop()
        loop.add_reader(listening, accept, listening)
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            loop.remove_reader(listening)
            for meeting in meetings.values():  # gRPC closes a connection that nobody has answered yet after 5 s only
                meeting.cancel()
            await asyncio.gather(*meetings.values(), return_exceptions=True)
            for connection in meetings:  # also of a meeting that was cancelled before it had begun
                connection.close()


@asynccontextmanager
async def grpc_server(health: HealthServicer | None, *, rpcs: int | None = None) -> AsyncGenerator[str]:
    """A gRPC server with no other service than that one."""
    server = grpc.aio.server(maximum_concurrent_rpcs=rpcs)
    if health is not None:
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield address
    finally:
        await server.stop(None)


async def _web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


async def _old_web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(b"<!DOCTYPE HTML>\n<html>505</html>\n")


async def _shell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    await reader.read()


async def _silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _closing(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    pass


async def _proud_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As gRPC's own: it closes without a word where somebody begins in plain text."""
    hello = await reader.read(1)
    if hello == b"\x16":
        writer.write(b"\x15\x03\x03\x00\x02\x02\x28")  # what TLS says to whom it does not trust: handshake failure
        await reader.read()


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (_web, "a web server that speaks HTTP/1 listens there, no host"),
        (_old_web, "a web server that speaks HTTP/1 listens there, no host"),
        (_shell, "something else than a host listens there; it says 'SSH-2.0-OpenSSH_9.2\\r\\n'"),
        (_silent, "something accepts connections there, but says nothing within 0.3 s"),
        (_proud_tls, "a server that wants TLS listens there, and paglets speaks plain text"),
        (_closing, "connections are closed at once: by something else than a host, or by one that has too many"),
    ],
)
async def test_what_is_there_instead_of_a_host(handler: Handler, said: str) -> None:
    """It is told from how it answers, within a bound; that no host answers is the only finding."""
    async with listener(handler) as address:
        (found,) = await all_of(asked_host(address, 0.3 if handler is _silent else _PATIENCE_S))
    assert (found.status, found.found) == ("failed", f"no host answers at {address}: {said}")
    assert "paglets host serve" in found.remedy


async def test_tls_server() -> None:
    """One that answers plain text by an alert, as most do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def meet() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:  # the test has ended
                return
            with suppress(OSError), connection:
                context.wrap_socket(connection, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=meet)
        thread.start()
        said = await explained(f"127.0.0.1:{server.getsockname()[1]}", _PATIENCE_S)
        server.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert said == "a server that wants TLS listens there, and paglets speaks plain text"


async def all_of(findings: AsyncGenerator[Finding]) -> list[Finding]:
    """All that is found."""
    return [found async for found in findings]


def not_ok(findings: list[Finding]) -> list[str]:
    """What is found that is not well, each with what to do."""
    assert all(found.remedy for found in findings if found.status != "ok")
    return [f"{found.status} {found.found}" for found in findings if found.status != "ok"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "nothing listens there"),
        ("nowhere.invalid:7600", "its name is not known here"),
        (f"{'x' * 70}.invalid:7600", "that is no address"),
        ("nowhere", "that is no address"),
        ("unix:/nowhere/socket", "No such file or directory"),
        (f"unix:/{'x' * 200}", "too long"),
    ],
)
async def test_where_nothing_is(address: str, said: str) -> None:
    """Why nobody can connect."""
    assert said in await explained(address, _PATIENCE_S)


@pytest.mark.parametrize(
    ("services", "said"),
    [
        (None, "a gRPC server is at {}, but no host (Method not found!)"),
        ([], "the host at {} does not serve: it has not started yet, or ends"),
        (["some.Service"], "a gRPC server is at {}, but no host (NOT_FOUND)"),
    ],
)
async def test_grpc_server_that_is_no_host_or_does_not_serve(services: list[str] | None, said: str) -> None:
    """One without a health service, or without our own services, is no host; one may not serve yet."""
    health = None if services is None else HealthServicer()
    if health is not None and services:
        health.serve(services)
    async with grpc_server(health) as address:
        (found,) = await all_of(asked_host(address, _PATIENCE_S))
    assert (found.status, found.found) == ("failed", said.format(address))


async def test_host_that_has_too_much_to_do() -> None:
    """It is a host all the same: what it says is told."""
    async with grpc_server(HealthServicer(), rpcs=1) as address, open_channel(address) as channel:
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest())
        await watch.read()
        (found,) = await all_of(asked_host(address, _PATIENCE_S))
        watch.cancel()
    assert (found.status, found.found) == ("failed", f"{address} answers by an error: Concurrent RPC limit exceeded!")


@pytest.mark.slow
def test_mesh_that_is_well(mesh: Mesh) -> None:
    """Each host is told of, in the order of their names, and the exit code is 0."""
    alpha = ("--name", "alpha", "--listen", mesh.alpha, "--data", str(mesh.cli.home / "alpha"))
    ran = mesh.cli("doctor", "--json", *alpha, env={"no_grpc_proxy": "127.0.0.1"})
    assert (ran.code, ran.err) == (0, "")
    assert [line["check"] for line in ran.records if line["status"] != "ok"] == []
    checks = [line["check"] for line in ran.records]
    assert checks[-5:] == ["host", "directory", "clock", "host alpha", "host beta"]
    found = {line["check"]: line["found"] for line in ran.records}
    assert found["port"] == f"{mesh.alpha} is where host alpha listens"
    assert "a host uses it now" in found["data"]
    assert f"it answers at {mesh.beta}" in found["host beta"]


@pytest.mark.slow
def test_mesh_of_which_hosts_are_gone(cli: Cli) -> None:
    """A host that was killed with a paglet on it has failed; one without, or that said farewell, is in nobody's way."""
    with host(cli, "solo", *_ALLOW) as (address, _):
        asked = Cli(cli.home, address)
        with host(cli, "empty", "--join", address) as (_, process):
            process.kill()
        for name in ("killed", "polite"):
            with host(cli, name, *_ALLOW, "--join", address) as (there, process):
                assert Cli(cli.home, there)("paglet", "create", _COUNTER).code == 0
                if name == "killed":
                    process.kill()

        def lost() -> list[str]:
            return [line["name"] for line in asked("mesh", "ls", "--json").records if line["state"] == "lost"]

        until(lambda: lost() == ["empty", "killed"], "the leases to end")
        ran = asked("doctor", "--json", "--listen", "127.0.0.1:0")
    assert ran.code == 1
    assert [(line["check"], line["status"], line["found"]) for line in ran.records[-4:-1]] == [
        ("host empty", "warning", "it is lost; paglets on it: 0"),
        ("host killed", "failed", "it is lost; paglets on it: 1"),
        ("host polite", "warning", "it has left; paglets on it: 1"),
    ]


@pytest.mark.slow
def test_mesh_without_its_directory(cli: Cli) -> None:
    """A host that answers while the mesh's directory is away is told apart from one that does not."""
    with host(cli, "first") as (first, began), host(cli, "second", "--join", first) as (second, _):
        began.kill()
        began.wait()
        ran = Cli(cli.home, second)("doctor", "--json", "--listen", "127.0.0.1:0", "--timeout", "3")
    assert ran.code == 1
    assert [line["check"] for line in ran.records if line["status"] == "failed"] == ["directory"]
    assert [line["status"] for line in ran.records if line["check"] == "host"] == ["ok"]


async def test_member_that_is_not_what_it_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nobody reaches from here, at whose address another one is, or that is of another version."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        known = await alpha.client.reach()
        assert not_ok(await member(known, _PATIENCE_S)) == []
        async with listener(_silent) as address:
            (line,) = not_ok(await member(replace(known, address=address), 0.3))
        assert line.startswith(f"warning it is online, but does not answer at {address} from here: something accepts")
        assert not_ok(await member(replace(known, name="beta"), _PATIENCE_S)) == [
            f"failed at its address {known.address} answers host alpha"
        ]
        monkeypatch.setattr(members, "__version__", "9.9")
        assert not_ok(await member(known, _PATIENCE_S)) == [
            f"warning it answers at {known.address}, and runs paglets {known.version}; here it is 9.9"
        ]


async def test_member_without_room(tmp_path: Path) -> None:
    """A store that is nearly full, an owner's part of it, and a disk below its floor."""
    async with AsyncExitStack() as stack:
        store = StoreSettings(quota_bytes=100_000, owner_quota_bytes=95_000)
        settings = HostSettings(name="alpha", data=tmp_path, drain_s=1.0, store=store)
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        await alpha.client.artifacts.create_from_chunks(ArtifactWrite(owner="ann"), _bytes(bytes(91_000)))
        assert not_ok(await member(await alpha.client.reach(), _PATIENCE_S)) == [
            "warning it has taken 88.9 KiB of 97.7 KiB for artifacts",
            "warning owner ann has taken 88.9 KiB of 92.8 KiB for artifacts",
        ]
    async with AsyncExitStack() as stack:
        full = replace(settings, store=StoreSettings(min_free_bytes=2**60))
        alpha = await site(stack, tmp_path, "alpha", settings=full)
        (line,) = not_ok(await member(await alpha.client.reach(), _PATIENCE_S))
        assert line.startswith("failed its disk has ")
        assert line.endswith(" left, of which uploads leave 1048576.0 TiB: none is taken")


async def _bytes(data: bytes) -> AsyncGenerator[bytes]:
    yield data


def _rot(home: Path, data: bytes) -> None:
    """Damages the stored bytes, wherever they are below a folder."""
    (path,) = home.rglob(f"{Digest.of(data).hex}.*")
    path.chmod(0o600)
    path.write_bytes(bytes(len(data)))


async def test_member_with_a_corrupt_artifact(tmp_path: Path) -> None:
    """It is told once the host has found out."""
    data = bytes(range(256)) * 400
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        done = await alpha.client.artifacts.create_from_chunks(ArtifactWrite(), _bytes(data))
        _rot(tmp_path, data)
        with pytest.raises(PagletError):
            await alpha.client.artifacts.export_to_path(done.ref.artifact_id, tmp_path / "out")
        assert not_ok(await member(await alpha.client.reach(), _PATIENCE_S)) == [
            f"failed artifact {done.ref.artifact_id} has lost its bytes"
        ]


async def test_member_with_paglets_that_need_somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn that is stuck, and a state that cannot be read."""
    settings = HostSettings(name="alpha", data=tmp_path, stuck_after_s=0.2, drain_s=1.0)
    async with AsyncExitStack() as first:
        alpha = await site(first, tmp_path, "alpha", settings=settings)
        await alpha.client.create(PROBE_TYPE, paglet_id="late")
        await alpha.client.create(PROBE_TYPE, paglet_id="unread")
        await ask(alpha.channel, "unread", "Append", "unread")
    load = Probe.codec.load

    def failing(data: bytes, version: int) -> object:
        if b"unread" in data:
            raise ValueError("not today")
        return load(data, version)

    monkeypatch.setattr(Probe.codec, "load", failing)
    async with AsyncExitStack() as second:
        alpha = await site(second, tmp_path, "alpha", settings=settings)
        STAGE.hold("slow")
        await refused(ask(alpha.channel, "late", "HoldInThread", "slow", timeout_s=0.3))

        async def found() -> list[str] | None:
            told = not_ok(await member(await alpha.client.reach(), _PATIENCE_S))
            return told if len(told) == 2 else None

        late, unread = await eventually(found, what="both to be told")
        assert late == "failed paglet late is stuck: a turn has outlived its deadline by far"
        assert unread.startswith("failed paglet unread is quarantined: ")
        STAGE.clear()


def test_clock_of_another_machine() -> None:
    """It is told which way it goes, if nobody who is online was seen lately by the clock of this machine."""
    now = time.time()
    seen = [
        HostRef(name=name, address="127.0.0.1:1", online=online, seen_at=now - ago_s)
        for name, ago_s, online in (("a", 500.0, True), ("b", 400.0, True), ("c", 0.0, False))
    ]
    assert [found.status for found in clock(seen, now - 395.0)] == ["ok"]
    assert [found.found.partition(" the directory's")[0] for found in clock(seen, now)] == [
        "this machine's is about 400 s ahead of"
    ]
    assert "500 s behind" in clock(seen, now - 900.0)[0].found
    assert clock(seen[2:], now) == []
