"""`paglets artifact`: bytes into a host's store and out of it."""

from __future__ import annotations

import fcntl
import random
import signal
import subprocess
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from paglets.digest import Digest
from tests.cli.conftest import Mesh
from tests.cli.running import PATIENCE_S, Cli, host, until

pytestmark = pytest.mark.slow


@pytest.fixture
def payload(seed: int) -> bytes:
    """Bytes of several messages."""
    return random.Random(seed).randbytes(5_000_003)


def store(mesh: Mesh, text: str, *options: str) -> str:
    """Puts a small file; its artifact id."""
    (mesh.cli.home / "small.txt").write_text(text)
    put = mesh.cli("artifact", "put", "small.txt", *options)
    assert put.code == 0, put.err
    return put.out.strip()


def test_put_and_get_a_file(mesh: Mesh, tmp_path: Path, payload: bytes) -> None:
    """A file that is put comes out with the same bytes; all that was said about it is kept."""
    source = tmp_path / "report.bin"
    source.write_bytes(payload)
    put = mesh.cli(
        *(
            "artifact",
            "put",
            str(source),
            "--owner",
            "ann",
            "--ttl",
            "2h",
            "--label",
            "a=b",
            "--label",
            "c=d=e",
            "--json",
        )
    ).record
    assert (put["name"], put["owner"], put["labels"]) == ("report.bin", "ann", {"a": "b", "c": "d=e"})
    assert (put["size_bytes"], put["digest"]) == (len(payload), str(Digest.of(payload)))
    assert (put["outcome"], put["host"], put["path"]) == ("committed", "alpha", str(source))
    assert put["expires"] > put["created"]
    target = tmp_path / "out.bin"
    got = mesh.cli("artifact", "get", put["artifact_id"], str(target), "--json").record
    assert (got["path"], got["digest"]) == (str(target), put["digest"])
    assert target.read_bytes() == payload
    stat = mesh.cli("artifact", "stat", put["artifact_id"], "--json").record
    known = {name: value for name, value in put.items() if name not in {"outcome", "path"}}
    assert stat == {**known, "corrupt": False, "verified": put["created"]}
    assert "labels" in mesh.cli("artifact", "stat", put["artifact_id"]).out


def test_get_replaces_nothing_unless_forced(mesh: Mesh) -> None:
    """A file that is there is left alone without --force; without OUT the artifact's name is taken."""
    artifact_id = store(mesh, "new", "--name", "named.txt")
    target = mesh.cli.home / "named.txt"
    target.write_text("old")
    refused = mesh.cli("artifact", "get", artifact_id)
    assert (refused.code, refused.out) == (70, "")
    assert "--force" in refused.err
    assert target.read_text() == "old"
    assert mesh.cli("artifact", "get", artifact_id, "--force").code == 0
    assert target.read_text() == "new"


def test_name_that_is_no_plain_file_name_is_not_obeyed(mesh: Mesh) -> None:
    """An artifact called ../up is fetched into a file named by its id, here."""
    artifact_id = store(mesh, "x", "--name", "../up")
    got = mesh.cli("artifact", "get", artifact_id, "--json").record
    assert got["path"] == artifact_id
    assert not (mesh.cli.home.parent / "up").exists()


def test_standard_input_and_output(mesh: Mesh, payload: bytes) -> None:
    """`-` is standard input and output, byte by byte the same, with nothing beside it."""
    put = mesh.cli.process("artifact", "put", "-", given=payload)
    assert put.code == 0, put.err
    assert ": 4.8 MiB, blake3:" in put.err
    got = mesh.cli.process("artifact", "get", put.out.strip(), "-")
    assert (got.code, got.err) == (0, "")
    assert got.out.encode(errors="surrogateescape") == payload


def test_standard_output_that_takes_nothing(mesh: Mesh, payload: bytes) -> None:
    """A full disk behind standard output is told in a line; a reader that has left is told nothing."""
    (mesh.cli.home / "large").write_bytes(payload)
    get = mesh.cli.command("artifact", "get", mesh.cli("artifact", "put", "large").out.strip(), "-")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(get, stdout=full, stderr=subprocess.PIPE, env=mesh.cli.environment(None), check=False)
    assert (done.returncode, done.stderr) == (1, b"Error: [Errno 28] No space left on device\n")
    pipe = subprocess.PIPE
    with subprocess.Popen(get, stdout=pipe, stderr=pipe, env=mesh.cli.environment(None)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("number", "code", "background"),
    [
        (signal.SIGINT, 130, False),
        (signal.SIGTERM, 143, False),
        (signal.SIGTERM, 143, True),
        (signal.SIGKILL, -signal.SIGKILL, False),
    ],
)
def test_interrupted_get_leaves_nothing(tmp_path: Path, number: int, code: int, *, background: bool) -> None:
    """A get that is ended by a signal ends what it began and says nothing; one in the background of a script too."""
    (tmp_path / "out").mkdir()
    (tmp_path / "source").write_bytes(bytes(64 * 1024 * 1024))
    with host(Cli(tmp_path), "one") as (address, serving):
        cli = Cli(tmp_path, address)
        artifact_id = cli("artifact", "put", "source").out.strip()
        command = cli.command("artifact", "get", artifact_id, str(tmp_path / "out" / "file"))
        if background:
            command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, env=cli.environment(None)) as process:
            until(lambda: _has_begun(process.pid, tmp_path / "out"), "a file to be begun")
            serving.send_signal(signal.SIGSTOP)
            try:
                process.send_signal(number)
                out, err = process.communicate(timeout=PATIENCE_S)
            finally:
                serving.send_signal(signal.SIGCONT)
        assert (process.returncode, out, err.strip()) == (code, b"", b"")
        assert list((tmp_path / "out").iterdir()) == []


def _has_begun(pid: int, folder: Path) -> bool:
    """Whether a process has a file open that lies in a folder, with or without a name."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if str(link.readlink()).startswith(f"{folder}/"):
                return True
    return False


def test_ctrl_c_while_nothing_comes_from_standard_input(mesh: Mesh) -> None:
    """A put that waits for its input is interrupted at once, with 130; nothing is stored."""
    process = subprocess.Popen(
        mesh.cli.command("artifact", "put", "-", "--owner", "nobody"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=mesh.cli.environment(None),
    )
    with process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"the beginning")
        process.stdin.flush()
        unread = process.stdin.fileno()
        until(lambda: fcntl.ioctl(unread, termios.FIONREAD, bytes(4)) == bytes(4), "the command to read its input")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
        assert process.stderr.read().strip() == b""
    assert mesh.cli("artifact", "ls", "--owner", "nobody", "--json").out == ""


def test_ls_by_owner_and_rm(mesh: Mesh) -> None:
    """Artifacts are listed by owner; one that is removed is gone, and removing it again is an error unless allowed."""
    artifact_id = store(mesh, "bob's", "--owner", "bob", "--name", "mine")
    listed = mesh.cli("artifact", "ls", "--owner", "bob")
    head, line = listed.out.splitlines()
    assert head.split()[:3] == ["ARTIFACT", "ID", "NAME"]
    assert line.split()[:5] == [artifact_id, "mine", "5", "B", "bob"]
    (record,) = mesh.cli("artifact", "ls", "--owner", "bob", "--json").records
    assert record["artifact_id"] == artifact_id
    assert mesh.cli("artifact", "ls", "--owner", "nobody", "--json").out == ""
    assert mesh.cli("artifact", "rm", artifact_id, "--json").record == {"artifact_id": artifact_id, "deleted": True}
    again = mesh.cli("artifact", "rm", artifact_id)
    assert (again.code, again.out) == (69, "")
    assert "paglets artifact ls" in again.err
    assert mesh.cli("artifact", "rm", artifact_id, "--missing-ok").code == 0
    assert mesh.cli("artifact", "stat", artifact_id).code == 69
    assert mesh.cli("artifact", "get", artifact_id, "nothing.bin").code == 69
    assert not (mesh.cli.home / "nothing.bin").exists()


def test_names_cannot_command_the_terminal(mesh: Mesh) -> None:
    """Control characters in what a host says are shown as text."""
    artifact_id = mesh.cli.process(
        "artifact", "put", "-", "--name", "a\x1b[31mb", "--owner", "eve", given=b"x"
    ).out.strip()
    listed = mesh.cli("artifact", "ls", "--owner", "eve").out
    assert "\x1b" not in listed
    assert r"a\x1b[31mb" in listed
    assert mesh.cli("artifact", "rm", artifact_id).code == 0
