"""What the directory of another host promises when that host is slow, away, or comes back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import ClassVar

import grpc
import pytest

from paglets.client.channel import open_channel
from paglets.client.directory import RemoteDirectory
from paglets.directory.contract import HostRegistration, JourneyRecord, PagletRow, RowWrite
from paglets.directory.sqlite import SqliteDirectory
from paglets.errors import InternalError, UnavailableError
from tests.directory.support import Clock, eventually, host, new, put, serving, take
from tests.ports import free_port


class Broken(SqliteDirectory):
    """A directory whose calls fail as often as it is told, or wait; it counts them."""

    calls = 0
    fail_next = 0
    failure: Exception = UnavailableError("SHUTTING_DOWN", "not now")
    answers: asyncio.Event | None = None

    async def _trouble(self) -> None:
        self.calls += 1
        if self.fail_next:
            self.fail_next -= 1
            raise self.failure
        if self.answers is not None:
            await self.answers.wait()

    async def get(self, paglet_id: str) -> PagletRow | None:
        """As told."""
        await self._trouble()
        return await super().get(paglet_id)

    async def apply(
        self,
        writes: Sequence[RowWrite],
        *,
        journeys: Sequence[JourneyRecord] = (),
        forget: Sequence[str] = (),
        above: int = 0,
    ) -> Sequence[PagletRow]:
        """As told."""
        await self._trouble()
        return await super().apply(writes, journeys=journeys, forget=forget, above=above)

    async def lease_register(self, host: HostRegistration, ttl_s: float) -> None:
        """As told."""
        await self._trouble()
        await super().lease_register(host, ttl_s)


@pytest.fixture
async def broken(tmp_path: Path, clock: Clock) -> AsyncIterator[Broken]:
    """A directory that can be told to fail."""
    directory = await Broken.open(tmp_path / "broken.db", clock)
    yield directory
    await directory.close()


async def test_what_is_safe_to_repeat_is_tried_once_more(broken: Broken) -> None:
    """One failure is not noticed, two are."""
    async with serving(broken) as port, open_channel(f"127.0.0.1:{port}") as channel:
        directory = RemoteDirectory(channel)
        for call in (lambda: directory.get("cart"), lambda: directory.lease_register(host("alpha"), 10)):
            broken.calls, broken.fail_next = 0, 1
            await call()
            assert broken.calls == 2
            broken.calls, broken.fail_next = 0, 2
            with pytest.raises(UnavailableError) as caught:
                await call()
            assert (broken.calls, caught.value.reason) == (2, "DIRECTORY_UNAVAILABLE")


async def test_apply_is_never_repeated(broken: Broken) -> None:
    """After a failure nobody knows whether the batch was made, so it is sent once."""
    async with serving(broken) as port, open_channel(f"127.0.0.1:{port}") as channel:
        broken.fail_next = 1
        with pytest.raises(UnavailableError) as caught:
            await RemoteDirectory(channel).apply([new("cart")])
        assert (broken.calls, caught.value.reason) == (1, "DIRECTORY_UNAVAILABLE")


async def test_defect_of_the_directory_is_not_hidden(broken: Broken) -> None:
    """An unexpected exception there is INTERNAL here, without its text, and tried once."""
    async with serving(broken) as port, open_channel(f"127.0.0.1:{port}") as channel:
        broken.fail_next, broken.failure = 1, ValueError("secret")
        with pytest.raises(InternalError) as caught:
            await RemoteDirectory(channel).get("cart")
        assert "secret" not in caught.value.message
        assert broken.calls == 1


async def test_silence_ends_by_the_deadline(broken: Broken) -> None:
    """A host that does not answer is as good as none, once the deadline is over."""
    async with serving(broken) as port, open_channel(f"127.0.0.1:{port}") as channel:
        broken.answers = asyncio.Event()
        directory = RemoteDirectory(channel, deadline_s=0.2)
        began = asyncio.get_running_loop().time()
        for call in (directory.get("cart"), directory.apply([new("cart")])):
            with pytest.raises(UnavailableError) as caught:
                await call
            assert caught.value.reason == "DIRECTORY_UNAVAILABLE"
        assert asyncio.get_running_loop().time() - began < 3
        broken.answers.set()


async def test_cancelling_passes_through(broken: Broken) -> None:
    """A call that is given up is cancelled, and no error is made of it."""
    async with serving(broken) as port, open_channel(f"127.0.0.1:{port}") as channel:
        broken.answers = asyncio.Event()
        call = asyncio.ensure_future(RemoteDirectory(channel).get("cart"))
        await eventually(lambda: broken.calls == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        broken.answers.set()


async def test_channel_closed_under_a_call(broken: Broken) -> None:
    """Closing the channel does not look like a cancelled task to those who wait for an answer."""
    async with serving(broken) as port:
        channel = open_channel(f"127.0.0.1:{port}")
        broken.answers = asyncio.Event()
        call = asyncio.ensure_future(RemoteDirectory(channel).apply([new("cart")]))
        await eventually(lambda: broken.calls == 1)
        await channel.close()
        with pytest.raises(UnavailableError) as caught:
            await call
        assert caught.value.reason == "DIRECTORY_UNAVAILABLE"
        broken.answers.set()


async def test_nobody_there_is_told_fast(local: SqliteDirectory) -> None:
    """A host that is down is found out without waiting for the deadline."""
    async with serving(local) as port:
        pass
    async with open_channel(f"127.0.0.1:{port}") as channel:
        directory, began = RemoteDirectory(channel, deadline_s=60), asyncio.get_running_loop().time()
        for call in (directory.hosts(), directory.apply([new("cart")])):
            with pytest.raises(UnavailableError):
                await call
        assert asyncio.get_running_loop().time() - began < 10


async def test_read_waits_out_a_quick_restart(local: SqliteDirectory) -> None:
    """A read that finds the host away is answered when it is back a moment later."""
    (row,) = await put(local, new("cart"))
    port = free_port()
    async with open_channel(f"127.0.0.1:{port}") as channel:
        reading = asyncio.ensure_future(RemoteDirectory(channel).get("cart"))
        await eventually(lambda: channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE)
        async with serving(local, port):
            assert await reading == row


async def test_watch_goes_on_over_restarts(tmp_path: Path) -> None:
    """Whatever was written while the host was up, away, or coming back is told once and in order, and nothing else."""
    port, seen = free_port(), list[PagletRow]()
    async with open_channel(f"127.0.0.1:{port}") as channel:
        rows = RemoteDirectory(channel).watch(0)
        for life in range(3):
            local = await SqliteDirectory.open(tmp_path / "directory.db")
            await put(local, *(new(f"away-{life}-{number}") for number in range(20)))
            async with serving(local, port):
                waiting = asyncio.ensure_future(take(rows, 40))
                for number in range(20):
                    await put(local, new(f"up-{life}-{number}"))
                seen += await waiting
            await local.close()
    assert [row.revision for row in seen] == list(range(1, 121))


class Failing(SqliteDirectory):
    """A directory whose first watches break after a row."""

    failures: ClassVar[list[Exception]] = []

    async def watch(self, after_revision: int) -> AsyncIterator[PagletRow]:
        """As told."""
        async for row in super().watch(after_revision):
            yield row
            if self.failures:
                raise self.failures.pop()


async def test_watch_outlives_a_directory_that_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A stream that the directory itself broke off is asked for again, and the log has why."""
    failing = await Failing.open(tmp_path / "failing.db")
    failing.failures[:] = [UnavailableError("DIRECTORY_UNAVAILABLE", "the disk is away"), ValueError("a defect")]
    async with serving(failing) as port, open_channel(f"127.0.0.1:{port}") as channel:
        written = await put(failing, new("a"), new("b"), new("c"))
        assert await take(RemoteDirectory(channel).watch(0), 3) == written
    await failing.close()
    assert caplog.text.count("the watch of the directory broke") == 2
    assert "the disk is away" in caplog.text


async def test_watch_ends_with_its_channel(local: SqliteDirectory) -> None:
    """A watch does not try for ever on a channel that was closed: it fails, and not as if its task were cancelled."""
    async with serving(local) as port:
        channel = open_channel(f"127.0.0.1:{port}")
        rows = RemoteDirectory(channel).watch(0)
        await put(local, new("cart"))
        await take(rows, 1)
        waiting = asyncio.ensure_future(take(rows, 1))
        await channel.close()
        with pytest.raises(grpc.aio.UsageError):
            await waiting
