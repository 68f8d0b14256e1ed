"""What the paglets of a class keep together on a host: by name, within a quota, whole or not at all, for good."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from paglets.config import HostSettings
from paglets.errors import ExhaustedError, InvalidArgumentError, NotFoundError
from paglets.host.storage import ClassStorage, Storages
from tests.host.conftest import Mesh, site
from tests.host.support import ask, refused
from tests.host.worker import SAVER_TYPE, WORKER_TYPE


def opened(folder: Path, quota_bytes: int | None = 100) -> ClassStorage:
    """The storage of a type, as after a start."""
    found = Storages(folder, quota_bytes).of("module.Type")
    assert isinstance(found, ClassStorage)
    return found


@pytest.mark.parametrize("name", ["a", "a/b", "../../a", "..", ".", "/etc/passwd", "ä" * 40, "=a", "+a", "a\0b", "%2F"])
async def test_name_is_a_label(tmp_path: Path, name: str) -> None:
    """Any name is kept under itself, and nothing is ever written outside of the class's own folder."""
    storage = opened(tmp_path / "inside")
    await storage.write_text(name, "text")
    assert await storage.read_text(name) == "text"
    assert await storage.names() == [name]
    assert await opened(tmp_path / "inside").names() == [name]
    assert _names(tmp_path) == ["inside"]
    assert await storage.delete(name)
    assert not await storage.delete(name)
    with pytest.raises(NotFoundError) as missing:
        await storage.read_bytes(name)
    assert missing.value.reason == "FILE_NOT_FOUND"


@pytest.mark.parametrize("name", ["", "x" * 81, "\ud800"])
async def test_malformed_name(tmp_path: Path, name: str) -> None:
    """A name that no file can have is refused."""
    for use in (opened(tmp_path).read_bytes(name), opened(tmp_path).write_bytes(name, b"")):
        with pytest.raises(InvalidArgumentError):
            await use


async def test_quota_counts_the_difference(tmp_path: Path) -> None:
    """All files together have the quota; one that is replaced counts once. A refusal changes nothing."""
    storage = opened(tmp_path)
    await storage.write_bytes("a", bytes(60))
    await storage.write_bytes("b", bytes(40))
    await storage.write_bytes("a", bytes(50))
    with pytest.raises(ExhaustedError) as full:
        await storage.write_bytes("a", bytes(61))
    assert full.value.reason == "STORAGE_QUOTA_EXCEEDED"
    assert (full.value.metadata["limit_bytes"], full.value.metadata["used_bytes"]) == ("100", "90")
    assert await storage.read_bytes("a") == bytes(50)
    status = await opened(tmp_path).status()
    assert (status.used_bytes, status.quota_bytes, status.available_bytes) == (90, 100, 10)
    await storage.clear()
    assert (await storage.status()).used_bytes == 0


async def test_quota_holds_against_many_writers(tmp_path: Path) -> None:
    """Writers at the same time do not get past the quota together."""
    storage = opened(tmp_path)
    writes = (storage.write_bytes(str(number), bytes(30)) for number in range(10))
    done = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(found is None for found in done) == 3
    assert (await storage.status()).used_bytes == 90


async def test_no_quota_and_a_smaller_one(tmp_path: Path) -> None:
    """Without a quota there is room; with a smaller one than is used, files may shrink but not grow."""
    await opened(tmp_path, None).write_bytes("a", bytes(1000))
    assert (await opened(tmp_path, None).status()).available_bytes is None
    storage = opened(tmp_path, 100)
    await storage.write_bytes("a", bytes(500))
    assert (await storage.status()).available_bytes == 0
    with pytest.raises(ExhaustedError):
        await storage.write_bytes("b", b"x")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
async def test_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A disk that is full, or fails, takes nothing away, and leaves nothing half written."""
    storage = opened(tmp_path)
    await storage.write_bytes("a", b"old")

    def fsync(_descriptor: int) -> None:
        raise OSError(number, "of the test")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(ExhaustedError if number == errno.ENOSPC else OSError):
            await storage.write_bytes("a", b"new")
    assert await storage.read_bytes("a") == b"old"
    assert len(_names(tmp_path / "module.Type")) == 1


async def test_leftovers_of_a_kill_go(tmp_path: Path) -> None:
    """What was being written when the host was killed is no file, and is gone after the first use."""
    storage = opened(tmp_path)
    await storage.write_bytes("a", b"old")
    (tmp_path / "module.Type" / "+0123").write_bytes(b"half")
    assert await opened(tmp_path).names() == ["a"]
    assert len(_names(tmp_path / "module.Type")) == 1


async def test_shared_by_a_class_on_a_host(mesh: Mesh) -> None:
    """Paglets of one class on one host have the same; other classes, and other hosts, have others."""
    for paglet_id, kind in (("one", WORKER_TYPE), ("two", WORKER_TYPE), ("other", SAVER_TYPE)):
        await mesh.alpha.client.create(kind, paglet_id=paglet_id)
    await ask(mesh.alpha.channel, "one", "Ask", "keep name value")
    assert (await ask(mesh.alpha.channel, "two", "Ask", "kept name")).text == "value"
    assert (await refused(ask(mesh.alpha.channel, "other", "Ask", "kept name"))).reason == "FILE_NOT_FOUND"
    await mesh.alpha.client.dispatch("two", "beta")
    assert (await refused(ask(mesh.alpha.channel, "two", "Ask", "kept name"))).reason == "FILE_NOT_FOUND"


async def test_stays_over_a_restart_and_the_end_of_who_wrote_it(tmp_path: Path) -> None:
    """What was written is there for good, also when nobody of the class is."""
    async with AsyncExitStack() as first:
        alpha = await site(first, tmp_path, "alpha")
        await alpha.client.create(WORKER_TYPE, paglet_id="one")
        await ask(alpha.channel, "one", "Ask", "keep name value")
        await alpha.client.dispose("one")
    async with AsyncExitStack() as second:
        alpha = await site(second, tmp_path, "alpha")
        await alpha.client.create(WORKER_TYPE, paglet_id="two")
        assert (await ask(alpha.channel, "two", "Ask", "kept name")).text == "value"


async def test_quota_of_a_host(tmp_path: Path) -> None:
    """A host's setting bounds it, and the caller is told by how much."""
    settings = HostSettings(name="alpha", data=tmp_path, storage_quota_bytes=10)
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        await alpha.client.create(WORKER_TYPE, paglet_id="one")
        refusal = await refused(ask(alpha.channel, "one", "Ask", "keep name 01234567890"))
    assert refusal.what == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_QUOTA_EXCEEDED")
    assert refusal.metadata["subject"] == f"storage:{WORKER_TYPE}"


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
