"""Registered files, row by row: registration, what a journey does with them, and what is left at the end."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import NoReturn

import pytest

from paglets.artifacts.store import SMALL_FILE_BYTES, ArtifactWrite, ArtifactWriteResult, SmallWrite
from paglets.client.artifact_upload import Progress
from paglets.client.artifacts import RemoteArtifactStore
from paglets.digest import Digest, Hasher
from paglets.errors import Code, DeadlineError, PagletError, PreconditionError
from paglets.host import push_files
from paglets.testing import eventually
from paglets.values import FileMode
from tests.artifacts.support import armed
from tests.host.conftest import Mesh, Site, site
from tests.host.probe import Probe
from tests.host.stage import STAGE
from tests.host.support import ask

CONTENT = b"0123456789" * 400


def probe(at: Site) -> Probe:
    """The probe that is on a host: the object itself."""
    resident = at.host.residents.get("probe")
    assert resident is not None
    assert isinstance(resident.paglet, Probe)
    return resident.paglet


async def probe_at(at: Site, *names: str) -> Probe:
    """A new probe, with files to register."""
    await at.client.create(Probe, paglet_id="probe")
    for name in names:
        (at.files / name).write_bytes(CONTENT)
    return probe(at)


async def stored(at: Site) -> list[str]:
    """The names of a host's artifacts."""
    return sorted(ref.name for ref in (await at.client.artifacts.list()).refs)


async def test_file_1_register(alpha: Site) -> None:
    """A file below the roots is registered under its own name or a given one, with its digest as it is now."""
    paglet = await probe_at(alpha, "a.txt")
    own = await paglet.register_file("a.txt")
    named = await paglet.register_file(str(alpha.files / "a.txt"), " mine ", FileMode.MOVE)
    path = alpha.files / "a.txt"
    assert (own.name, own.mode, own.path, own.digest) == ("a.txt", FileMode.COPY, path, Digest.of(CONTENT))
    assert (named.name, named.mode, named.origin_host, named.origin_path) == ("mine", "move", "alpha", str(path))
    assert (own.modified_ns, own.created_ns) == (path.stat().st_mtime_ns, path.stat().st_ctime_ns)


async def test_file_1_again_replaces(alpha: Site) -> None:
    """Registering a name again replaces what was registered under it."""
    paglet = await probe_at(alpha, "a.txt")
    await paglet.register_file("a.txt", "mine")
    (alpha.files / "a.txt").write_bytes(b"other")
    again = await paglet.register_file("a.txt", "mine", FileMode.MOVE)
    assert again.digest == Digest.of(b"other")
    assert list(paglet.registered_files()) == [again]


@pytest.mark.parametrize(
    ("path", "name", "mode", "reason", "field"),
    [
        ("missing", "", "copy", "SOURCE_NOT_A_FILE", "path"),
        (".", "", "copy", "SOURCE_NOT_A_FILE", "path"),
        ("pipe", "", "copy", "SOURCE_NOT_A_FILE", "path"),
        ("x" * 300, "fine", "copy", "SOURCE_NOT_A_FILE", "path"),
        ("a.txt", "  ", "copy", "MALFORMED_REQUEST", "name"),
        ("a.txt", "é" * 128, "copy", "MALFORMED_REQUEST", "name"),
        ("a.txt", "a\0b", "copy", "MALFORMED_REQUEST", "name"),
        ("\udcff", "", "copy", "MALFORMED_REQUEST", "name"),
        ("\udcff", "fine", "copy", "MALFORMED_REQUEST", "path"),
        ("a.txt", "", "link", "MALFORMED_REQUEST", "mode"),
    ],
)
async def test_file_1_is_refused(alpha: Site, path: str, name: str, mode: str, reason: str, field: str) -> None:
    """What is no file, or could not be told of on the way, is refused when it is registered."""
    paglet = await probe_at(alpha, "a.txt", "\udcff")
    os.mkfifo(alpha.files / "pipe")
    wanted: FileMode = FileMode.COPY if mode == "copy" else _not_a_mode(mode)
    with pytest.raises(PagletError) as refused:
        await paglet.register_file(path, name, wanted)
    assert (refused.value.code, refused.value.reason) == (Code.INVALID_ARGUMENT, reason)
    assert refused.value.field == field
    assert list(paglet.registered_files()) == []


async def test_file_1_file_that_changes_while_it_is_read(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read would be neither the file as it was nor as it is."""
    paglet = await probe_at(alpha, "a.txt")

    class Meddled(Hasher):
        def update(self, data: bytes | bytearray | memoryview) -> None:
            super().update(data)
            (alpha.files / "a.txt").write_bytes(b"something else")

    monkeypatch.setattr("paglets.host.files.Hasher", Meddled)
    with pytest.raises(PreconditionError) as refused:
        await paglet.register_file("a.txt")
    assert (refused.value.reason, list(paglet.registered_files())) == ("FILE_CHANGED", [])


async def test_file_1_outlives_its_turn(alpha: Site) -> None:
    """A registration is kept at once, whatever becomes of the turn that made it."""
    paglet = await probe_at(alpha, "a.txt")
    with pytest.raises(ValueError, match="no"):
        await _register_and_fail(paglet)
    assert [file.name for file in (await alpha.host.parts.journal.belongings("probe")).files] == ["a.txt"]


async def test_file_2_query(alpha: Site) -> None:
    """Files are found by name or reference, there or not, and forgotten on demand; the file itself stays."""
    paglet = await probe_at(alpha, "a.txt", "b.txt")
    second = await paglet.register_file("b.txt")
    first = await paglet.register_file("a.txt")
    assert list(paglet.registered_files()) == [first, second]
    (alpha.files / "b.txt").unlink()
    assert paglet.file_path("b.txt") == paglet.file_path(second) == alpha.files / "b.txt"
    for _ in range(2):
        await paglet.unregister_file("a.txt")
    with pytest.raises(PagletError, match="no registered file 'a") as missing:
        paglet.file_path(first)
    assert (missing.value.code, missing.value.reason) == (Code.NOT_FOUND, "FILE_NOT_FOUND")
    assert (alpha.files / "a.txt").read_bytes() == CONTENT
    with pytest.raises(PagletError) as missing:
        await paglet.save_file("b.txt", "copy.txt")
    assert missing.value.reason == "FILE_NOT_FOUND"


async def test_file_3_staging_is_all_or_nothing(strict: Mesh) -> None:
    """When a file cannot be staged, those before it are deleted at the target, and the paglet stays as it was."""
    paglet = await probe_at(strict.alpha)
    for name in ("a.txt", "b.txt"):
        (strict.alpha.files / name).write_bytes(name.encode() * 120)
        await paglet.register_file(name, mode=FileMode.MOVE)
    with pytest.raises(PagletError) as refused:
        await strict.alpha.client.dispatch("probe", "beta")
    assert refused.value.reason == "QUOTA_EXCEEDED"
    await _holds(strict.beta, [])
    assert [file.name for file in probe(strict.alpha).registered_files()] == ["a.txt", "b.txt"]
    await paglet.unregister_file("b.txt")
    await strict.alpha.client.dispatch("probe", "beta")
    assert await stored(strict.beta) == ["a.txt"]
    assert (strict.alpha.files / "b.txt").exists()


async def test_file_3_small_ones_share_messages(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many small files go along, only a large one is sent by itself; so it is on the way back."""
    alone, real = list[str](), RemoteArtifactStore.create_from_path

    async def note(
        store: RemoteArtifactStore, write: ArtifactWrite, source: Path, *, progress: Progress | None = None
    ) -> ArtifactWriteResult:
        alone.append(write.name)
        return await real(store, write, source, progress=progress)

    monkeypatch.setattr(RemoteArtifactStore, "create_from_path", note)
    paglet = await probe_at(mesh.alpha)
    contents = {f"small-{number}": b"%d" % number for number in range(20)}
    contents |= {"large": b"x" * (SMALL_FILE_BYTES + 1), "empty": b"", "least": b"x" * SMALL_FILE_BYTES}
    for name, content in contents.items():
        (mesh.alpha.files / name).write_bytes(content)
        await paglet.register_file(name, mode=FileMode.MOVE)
    for here, there in ((mesh.alpha, mesh.beta), (mesh.beta, mesh.alpha)):
        await mesh.alpha.client.dispatch("probe", there.host.parts.name)
        assert {file.name: file.path.read_bytes() for file in probe(there).registered_files()} == contents
        await _holds(here, [])
    assert list(mesh.alpha.files.iterdir()) == []
    assert alone == ["large"] * 2


async def test_file_3_over_a_slow_way(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A way that takes too long for a message of many files has each by a stream, which may take longer."""
    tried = list[int]()

    async def too_slow(_: RemoteArtifactStore, items: Sequence[SmallWrite]) -> NoReturn:
        tried.append(len(items))
        raise DeadlineError("DEADLINE_EXCEEDED", "the deadline is over")

    monkeypatch.setattr(RemoteArtifactStore, "create_batch", too_slow)
    monkeypatch.setattr(push_files, "_BATCH_FILES", 2)
    names = [f"{number}.txt" for number in range(5)]
    paglet = await probe_at(mesh.alpha, *names)
    for name in names:
        await paglet.register_file(name)
    await mesh.alpha.client.dispatch("probe", "beta")
    assert {file.path.read_bytes() for file in probe(mesh.beta).registered_files()} == {CONTENT}
    assert tried == [2]


@pytest.mark.parametrize("how", ["other", "longer", "gone"])
async def test_file_3_one_of_many_changes_on_the_way(mesh: Mesh, how: str) -> None:
    """A file that is not what was registered, when it is to be sent, ends the journey by its name; nothing is left."""
    paglet = await probe_at(mesh.alpha, "a.txt", "b.txt", "c.txt")
    for name in ("a.txt", "b.txt", "c.txt"):
        await paglet.register_file(name, mode=FileMode.MOVE)
    changing = mesh.alpha.files / "b.txt"

    def meddle(name: str) -> None:
        if name == "journey.prepare.after":
            changing.unlink()
            if how != "gone":
                changing.write_bytes(CONTENT[::-1] + b"more" * (how == "longer"))

    with armed(meddle), pytest.raises(PreconditionError) as refused:
        await mesh.alpha.client.dispatch("probe", "beta")
    assert (refused.value.reason, refused.value.metadata["file"]) == ("FILE_CHANGED", "b.txt")
    await _holds(mesh.beta, [])
    assert [file.name for file in probe(mesh.alpha).registered_files()] == ["a.txt", "b.txt", "c.txt"]


async def test_file_3_is_the_arriving_paglets(mesh: Mesh) -> None:
    """A file is staged as an artifact of the paglet that arrives, under its logical name, and goes with it."""
    await (await probe_at(mesh.alpha, "a.txt")).register_file("a.txt", "mine")
    await mesh.alpha.client.dispatch("probe", "beta")
    (found,) = (await mesh.beta.client.artifacts.list()).refs
    assert (found.name, found.owner, found.owner_policy) == ("mine", "probe", "delete-with-owner")
    assert found.digest == Digest.of(CONTENT)


async def test_file_4_mode(mesh: Mesh) -> None:
    """A journey copies or moves as registered; on the way back as well, and nothing of what came along is left."""
    paglet = await probe_at(mesh.alpha, "a.txt", "b.txt")
    await paglet.register_file("a.txt")
    await paglet.register_file("b.txt", mode=FileMode.MOVE)
    await mesh.alpha.client.dispatch("probe", "beta")
    await eventually(lambda: _is_gone(mesh.alpha, "b.txt"))
    assert (mesh.alpha.files / "a.txt").read_bytes() == CONTENT
    await mesh.alpha.client.dispatch("probe", "alpha")
    await _holds(mesh.beta, [])
    back = {file.name: file for file in probe(mesh.alpha).registered_files()}
    assert {name: file.path.read_bytes() for name, file in back.items()} == {"a.txt": CONTENT, "b.txt": CONTENT}
    assert back["b.txt"].origin_path == str(mesh.alpha.files / "b.txt")


async def test_file_5_arrival(mesh: Mesh) -> None:
    """Files are there before the first hook, read-only, and tell where they come from; names never name a path."""
    await (await probe_at(mesh.alpha, "a.txt")).register_file("a.txt", "../../evil name")
    STAGE.hold("on_arrival")
    move = asyncio.create_task(mesh.alpha.client.dispatch("probe", "beta"))
    await STAGE.reached("on_arrival")
    (found,) = probe(mesh.beta).registered_files()
    path = probe(mesh.beta).file_path("../../evil name")
    assert (path, path.read_bytes(), path.stat().st_mode & 0o222) == (found.path, CONTENT, 0)
    assert path.is_relative_to(mesh.beta.host.parts.settings.data / "artifacts")
    assert (found.origin_host, found.origin_path) == ("alpha", str(mesh.alpha.files / "a.txt"))
    STAGE.release("on_arrival")
    await move


async def test_file_5_private_copy(mesh: Mesh) -> None:
    """Who wants to change a file that came along has a copy of it made, under a safe name."""
    await (await probe_at(mesh.alpha, "a.txt")).register_file("a.txt", "../../evil name")
    await mesh.alpha.client.dispatch("probe", "beta")
    paglet = probe(mesh.beta)
    copy = await paglet.save_file("../../evil name")
    assert copy == mesh.beta.files / "evil_name"
    copy.write_bytes(b"changed")
    assert paglet.file_path("../../evil name").read_bytes() == CONTENT
    (ref,) = paglet.registered_files()
    with pytest.raises(PagletError) as refused:
        await paglet.save_file(ref)
    assert refused.value.reason == "DESTINATION_EXISTS"
    assert (await paglet.save_file(ref, "in/", overwrite=True)).read_bytes() == CONTENT
    assert (await paglet.save_file(ref, overwrite=True)).read_bytes() == CONTENT


@pytest.mark.parametrize("meanwhile", ["same", "gone", "changed"])
async def test_file_6_source_deletion(mesh: Mesh, meanwhile: str) -> None:
    """A moved file is deleted after the arrival has ended, if it is still the file that was sent."""
    path = mesh.alpha.files / "a.txt"
    await (await probe_at(mesh.alpha, "a.txt")).register_file("a.txt", mode=FileMode.MOVE)
    STAGE.hold("on_arrival")
    move = asyncio.create_task(mesh.alpha.client.dispatch("probe", "beta"))
    await STAGE.reached("on_arrival")
    assert path.exists()
    if meanwhile == "gone":
        path.unlink()
    elif meanwhile == "changed":
        path.write_bytes(b"new")
    STAGE.release("on_arrival")
    await move
    await eventually(lambda: _has_forgotten(mesh.alpha))
    assert path.exists() is (meanwhile == "changed")


@pytest.mark.parametrize("hook", ["check_arrival", "on_arrival"])
async def test_file_7_failed_transfer(mesh: Mesh, hook: str) -> None:
    """A transfer that fails deletes no source, and leaves at the target only a paglet that has arrived there."""
    await (await probe_at(mesh.alpha, "a.txt")).register_file("a.txt", mode=FileMode.MOVE)
    await ask(mesh.alpha.channel, "probe", "Ask", f"refuse {hook} refused")
    with pytest.raises(PreconditionError):
        await mesh.alpha.client.dispatch("probe", "beta")
    is_here = hook == "check_arrival"
    await _holds(mesh.beta, [] if is_here else ["a.txt"])
    await eventually(lambda: _has_forgotten(mesh.alpha))
    assert (mesh.alpha.files / "a.txt").read_bytes() == CONTENT
    assert [file.name for file in probe(mesh.alpha if is_here else mesh.beta).registered_files()] == ["a.txt"]


async def test_file_8_restart(tmp_path: Path) -> None:
    """Registrations, of files here and of files that came along, are as they were after a restart of the host."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        await (await probe_at(alpha, "a.txt")).register_file("a.txt")
        async with AsyncExitStack() as short:
            beta = await site(short, tmp_path, "beta", join=alpha.running.address)
            await alpha.client.dispatch("probe", "beta")
            (beta.files / "b.txt").write_bytes(b"here")
            await probe(beta).register_file("b.txt", mode=FileMode.MOVE)
            before = list(probe(beta).registered_files())
        beta = await site(stack, tmp_path, "beta", join=alpha.running.address)
        await beta.host.resident("probe")  # it comes back when it is asked for
        assert list(probe(beta).registered_files()) == before
        assert [file.path.read_bytes() for file in before] == [CONTENT, b"here"]


async def test_file_9_dispose(mesh: Mesh) -> None:
    """The end of a paglet frees what came along with it, and deletes no file of anybody's."""
    await (await probe_at(mesh.alpha, "a.txt")).register_file("a.txt")
    await mesh.alpha.client.dispatch("probe", "beta")
    paglet = probe(mesh.beta)
    copy = await paglet.save_file("a.txt")
    (mesh.beta.files / "b.txt").write_bytes(b"here")
    await paglet.register_file("b.txt", mode=FileMode.MOVE)
    await mesh.alpha.client.dispose("probe")
    assert await stored(mesh.beta) == []
    with closing(sqlite3.connect(mesh.beta.host.parts.settings.data / "journal.db")) as journal:
        assert journal.execute("SELECT * FROM files").fetchall() == []
    assert (copy.read_bytes(), (mesh.beta.files / "b.txt").read_bytes()) == (CONTENT, b"here")
    assert (mesh.alpha.files / "a.txt").exists()


@pytest.mark.parametrize("how", ["unregistered", "replaced"])
@pytest.mark.parametrize("in_turn", [True, False])
async def test_file_9_no_longer_registered(mesh: Mesh, how: str, in_turn: bool) -> None:  # noqa: FBT001 - both ways
    """Bytes that came along for a registration do not outlive it."""
    await (await probe_at(mesh.alpha, "a.txt")).register_file("a.txt")
    await mesh.alpha.client.dispatch("probe", "beta")
    paglet = probe(mesh.beta)
    (mesh.beta.files / "b.txt").write_bytes(b"here")

    async def let_go() -> None:
        if how == "unregistered":
            await paglet.unregister_file("a.txt")
        else:
            await paglet.register_file("b.txt", "a.txt")

    if in_turn:
        async with paglet.turn():
            await let_go()
            assert await stored(mesh.beta) == ["a.txt"]
    else:
        await let_go()
    await _holds(mesh.beta, [])
    assert (mesh.beta.files / "b.txt").exists()


async def _register_and_fail(paglet: Probe) -> None:
    async with paglet.turn():
        await paglet.register_file("a.txt")
        raise ValueError("no")


def _not_a_mode(text: str) -> FileMode:
    wrong: dict[str, FileMode] = {}
    return wrong.setdefault("mode", text)  # pyright: ignore[reportArgumentType] - the mistake that is tested


async def _holds(at: Site, names: list[str]) -> None:
    async def look() -> bool:
        return await stored(at) == names

    await eventually(look, what=f"{names} and nothing else")


async def _is_gone(at: Site, name: str) -> bool:
    return not (at.files / name).exists()


async def _has_forgotten(at: Site) -> bool:
    return await at.host.parts.journal.departures() == []
