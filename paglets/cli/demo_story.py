"""What the demo does, step by step, and what it says about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from paglet.examples.counter.v1 import counter_pb2, counter_pb2_grpc
from paglet.v1.file_transfer_pb2 import FileTransferRequest
from paglets.cli.demo_file import digest_of, pack_standard_library
from paglets.cli.demo_hosts import HostProcess, host_process
from paglets.cli.file import CARRIER, carry
from paglets.cli.output import plain, size_text, write_json
from paglets.client.calls import errors_of_calls
from paglets.client.channel import open_channel
from paglets.client.client import Client
from paglets.client.proxy import PagletProxy
from paglets.examples.counter import Counter

__all__ = ["DemoError", "tell"]

_TRANSFER_S = 600.0
_CALL_S = 30.0
_OPTIONS = (
    *("--allow", "paglets.examples.counter", "--allow", "paglets.patterns.file_mobility"),
    *("--artifact-quota", "none", "--artifact-max-size", "none", "--file-root"),
)


class DemoError(Exception):
    """The demo found that something is not as it should be."""


@dataclass(frozen=True, slots=True)
class _Narrator:
    """Says what happens: to people in sentences, to programs in JSON Lines."""

    as_json: bool

    def say(self, text: str, event: str = "", **facts: object) -> None:
        """One line. Programs get the event with its facts, and nothing that is no event."""
        if not self.as_json:
            click.echo(plain(text))
        elif event:
            write_json({"event": event, **facts})


@dataclass(frozen=True, slots=True)
class _Luggage:
    """The file that travels, and the folder that it travels to. The file is `packed` here, or the user's own."""

    sent: Path
    received: Path
    packed: bool


@dataclass(frozen=True, slots=True)
class _Scene:
    """What the story is told with."""

    narrator: _Narrator
    client: Client
    stub: counter_pb2_grpc.CounterServiceAsyncStub


async def tell(folder: Path, file: Path | None, *, as_json: bool) -> None:
    """Tells the whole story in `folder`; the hosts have ended when it has. Raises DemoError, HostEndedError."""
    narrator, began = _Narrator(as_json), time.monotonic()
    luggage = _Luggage(file or folder / "sent" / "stdlib.tar", folder / "received", packed=file is None)
    for place in (luggage.sent.parent, luggage.received):
        place.mkdir(exist_ok=True)
    narrator.say("Paglets are Python objects that live on hosts, keep their state, and move with their files.")
    async with AsyncExitStack() as stack:
        alpha, beta = await _start(stack, narrator, folder, luggage)
        await _while_they_run((alpha, beta), _play(narrator, alpha.address, luggage))
    took_s = time.monotonic() - began
    end = f"Done in {took_s:.1f} s. Both hosts have ended, and nothing of this is left."
    narrator.say(end, "done", seconds=round(took_s, 3))


async def _start(
    stack: AsyncExitStack, narrator: _Narrator, folder: Path, luggage: _Luggage
) -> tuple[HostProcess, HostProcess]:
    narrator.say("1. Two hosts start on this machine, each a process of its own; beta joins alpha's mesh.")
    options = (*_OPTIONS, str(luggage.sent.parent))
    alpha = await stack.enter_async_context(host_process("alpha", folder, options))
    options = (*_OPTIONS, str(luggage.received), "--join", alpha.address)
    beta = await stack.enter_async_context(host_process("beta", folder, options))
    for host in (alpha, beta):
        line = f"   {host.name:<6}{host.address}, process {host.process.pid}"
        narrator.say(line, "host", name=host.name, address=host.address, pid=host.process.pid)
    return alpha, beta


async def _while_they_run(hosts: tuple[HostProcess, ...], story: Coroutine[Any, Any, None]) -> None:
    """Runs the story. When a host ends before it, that is the error, whatever the story made of it."""
    telling = asyncio.create_task(story)
    watching = [asyncio.create_task(host.watch()) for host in hosts]
    try:
        await asyncio.wait((telling, *watching), return_when=asyncio.FIRST_COMPLETED)
        if telling.done() and telling.exception() is not None:
            # Perhaps because a host has ended, which is noticed in a moment.
            await asyncio.wait(watching, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        for watch in watching:
            if watch.done():
                watch.result()
        await telling
    finally:
        for task in (telling, *watching):
            task.cancel()
        await asyncio.gather(telling, *watching, return_exceptions=True)


async def _play(narrator: _Narrator, address: str, luggage: _Luggage) -> None:
    async with Client(address) as client, open_channel(address) as channel:
        scene = _Scene(narrator, client, counter_pb2_grpc.CounterServiceStub(channel))
        counter = await _count_on_alpha(scene)
        await _send_file(scene, luggage)
        await _move_counter(scene, counter)


async def _count_on_alpha(scene: _Scene) -> PagletProxy:
    say = scene.narrator.say
    say("2. A paglet is created on alpha: a Counter, whose state is on the disk after every call.")
    counter = await scene.client.create(Counter, paglet_id="counter")
    say("   It is called with a plain stub made of its .proto, and one metadata key: paglet-id.")
    value = await _add(scene, counter, 3)
    _require(value == 3, f"3 additions made {value}")
    say(f"   Add 1, three times: it is at {value}", "counted", paglet_id=counter.paglet_id, value=value, host="alpha")
    return counter


async def _send_file(scene: _Scene, luggage: _Luggage) -> None:
    say, sent = scene.narrator.say, luggage.sent
    what = ": this Python's standard library, packed" if luggage.packed else ""
    say(f"3. Another paglet carries a file from alpha to beta{what}.")
    if luggage.packed:
        await asyncio.to_thread(pack_standard_library, sent)
    took_s = await _carry(scene, luggage)
    ends = (sent, luggage.received / sent.name)
    digests = await asyncio.gather(*(asyncio.to_thread(digest_of, path) for path in ends))
    size = digests[0].size_bytes
    say(f"   {sent.name}: {size_text(size)} in {took_s:.2f} s, {size_text(size / took_s)}/s, durable when it ended")
    say(f"   BLAKE3 at alpha  {digests[0].hex}")
    say(f"   BLAKE3 at beta   {digests[1].hex}")
    _require(digests[0] == digests[1], "the file at beta is not the file at alpha")
    say("   They are the same.", "sent", file=sent.name, size_bytes=size, seconds=took_s, digest=str(digests[1]))


async def _carry(scene: _Scene, luggage: _Luggage) -> float:
    """Has the file carried; how long that took in seconds."""
    carrier = await scene.client.create(CARRIER)
    request = FileTransferRequest(
        source_path=str(luggage.sent), target_host="beta", destination_path=f"{luggage.received}/"
    )
    began = time.monotonic()
    snapshot = await carry(carrier, request, _TRANSFER_S)
    took_s = time.monotonic() - began
    if snapshot is None:
        raise DemoError(f"the file was not there after {_TRANSFER_S:g} s")
    if snapshot.result is None:
        raise DemoError(snapshot.error)
    await carrier.dispose()
    return round(took_s, 3)


async def _move_counter(scene: _Scene, counter: PagletProxy) -> None:
    say = scene.narrator.say
    say("4. The counter moves to beta, with its state.")
    began = time.monotonic()
    info = await counter.dispatch("beta")
    took_ms = (time.monotonic() - began) * 1000
    _require(info.host == "beta", f"the counter is on {info.host}, not on beta")
    where = f"   After {took_ms:.0f} ms it is {info.state} on {info.host}."
    say(where, "moved", paglet_id=counter.paglet_id, host=info.host, seconds=round(took_ms / 1000, 3))
    say("5. Calls follow it: the same stub still asks alpha, which passes them on.")
    value = await _add(scene, counter, 2)
    _require(value == 5, f"3 and 2 additions made {value}")
    say(f"   Add 1, twice: it is at {value}", "counted", paglet_id=counter.paglet_id, value=value, host="beta")


async def _add(scene: _Scene, counter: PagletProxy, times: int) -> int:
    """Counts as any gRPC client can; the value after the last addition."""
    value, request = 0, counter_pb2.AddRequest(amount=1)
    for _ in range(times):
        with errors_of_calls():
            reply = await scene.stub.Add(request, metadata=(("paglet-id", counter.paglet_id),), timeout=_CALL_S)
        value = reply.value
    return value


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - as in an assertion
    if not holds:
        raise DemoError(otherwise)
