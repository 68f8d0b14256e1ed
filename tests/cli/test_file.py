"""`paglets file push`: a file that a paglet carries from one host to another."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from paglets.cli.file import CARRIER, has_arrived_at
from paglets.client.client import Client
from tests.cli.conftest import Mesh
from tests.cli.running import PATIENCE_S, Cli, Ran, host, until
from tests.mounts import tmpfs

pytestmark = pytest.mark.slow


@pytest.fixture
def source(mesh: Mesh, seed: int, request: pytest.FixtureRequest) -> Path:
    """A file at alpha, of several messages."""
    path = mesh.alpha_files / f"{request.node.name}.bin"
    path.write_bytes(random.Random(seed).randbytes(3_000_001))
    return path


def push(mesh: Mesh, source: Path, *options: str) -> Ran:
    """Runs the command; afterwards no paglet is left, whatever came of it."""
    ran = mesh.cli("file", "push", str(source), "--to", "beta", *options)
    assert mesh.cli("paglet", "ls", "--json").out == ""
    return ran


def told(ran: Ran) -> dict[str, Any]:
    """The error on stderr, which is nothing but one JSON object."""
    assert ran.out == ""
    found: dict[str, Any] = json.loads(ran.err)["error"]
    return found


def test_copy_into_a_folder(mesh: Mesh, source: Path) -> None:
    """The copy has the same bytes and the source stays; the result says from where to where."""
    result = push(mesh, source, "--dest", "in/", "--json").record
    copy = mesh.beta_files / "in" / source.name
    assert copy.read_bytes() == source.read_bytes()
    assert result["destination"] == {"host": "beta", "path": str(copy)}
    assert result["source"] == {"host": "alpha", "path": str(source)}
    assert (result["size_bytes"], result["mode"], result["dry_run"]) == (3_000_001, "copy", False)


def test_move_deletes_the_source(mesh: Mesh, source: Path) -> None:
    """After a move the file is at the target alone; people read it in a sentence."""
    data = source.read_bytes()
    ran = push(mesh, source, "--dest", "moved.bin", "--mode", "move")
    assert ran.out == f"moved alpha:{source} to beta:{mesh.beta_files / 'moved.bin'}, 2.9 MiB\n"
    assert (mesh.beta_files / "moved.bin").read_bytes() == data
    assert not source.exists()


def test_dry_run_changes_nothing(mesh: Mesh, source: Path) -> None:
    """A dry run says what would be done, and does not do it."""
    ran = push(mesh, source, "--dest", "dry.bin", "--mode", "move", "--dry-run")
    assert ran.out.startswith(f"would move alpha:{source} to beta:")
    assert source.exists()
    assert not (mesh.beta_files / "dry.bin").exists()
    assert push(mesh, source, "--dest", "dry.bin", "--dry-run", "--check-target").code == 0
    (mesh.beta_files / "dry.bin").write_bytes(b"there")
    refused = push(mesh, source, "--dest", "dry.bin", "--dry-run", "--check-target")
    assert (refused.code, refused.out) == (70, "")
    assert "destination already exists" in refused.err
    assert push(mesh, source, "--check-target").code == 2


def test_destination_that_exists_is_kept_unless_overwritten(mesh: Mesh, source: Path) -> None:
    """A file at the destination is replaced with --overwrite only, and the refusal says which it is."""
    there = mesh.beta_files / "there.bin"
    there.write_text("precious")
    refused = push(mesh, source, "--dest", "there.bin")
    assert (refused.code, refused.out) == (70, "")
    assert f"destination already exists: {there}" in refused.err
    error = told(push(mesh, source, "--dest", "there.bin", "--json"))
    assert (error["code"], error["reason"]) == ("ALREADY_EXISTS", "DESTINATION_EXISTS")
    assert str(there) in error["message"]
    assert "--overwrite" in error["hint"]
    assert there.read_text() == "precious"
    assert push(mesh, source, "--dest", "there.bin", "--overwrite").code == 0
    assert there.read_bytes() == source.read_bytes()


def test_refusals_name_their_cause(mesh: Mesh, source: Path) -> None:
    """What cannot be sent, or not there, is said with the path, the flag or the hosts there are."""
    outside = mesh.cli.home / "outside.bin"
    outside.write_text("secret")
    absent = mesh.alpha_files / "absent.bin"
    for path, code, text in ((absent, 67, "absent.bin"), (outside, 71, "--file-root")):
        ran = push(mesh, path)
        assert (ran.code, ran.out) == (code, "")
        assert text in ran.err
    ran = mesh.cli("file", "push", str(source), "--to", "gamma", "--json")
    assert (ran.code, told(ran)["reason"]) == (69, "HOST_NOT_FOUND")
    assert "gamma" in ran.err
    assert push(mesh, source, "--dest", "../escape.bin").code == 71
    assert not (mesh.beta_files.parent / "escape.bin").exists()


def test_destination_that_cannot_be_written_is_told_with_its_path(mesh: Mesh, source: Path) -> None:
    """A name that the target's disk cannot have, and a file where a folder is needed, are refusals, no incidents."""
    (mesh.beta_files / "file").write_text("no folder")
    for dest in ("x" * 300, "file/below.bin"):
        ran = push(mesh, source, "--dest", dest, "--mode", "move", "--json")
        error = told(ran)
        assert (ran.code, error["reason"]) == (71, "DESTINATION_UNWRITABLE")
        assert dest in error["message"]
        assert source.exists()


def test_read_only_folder_is_told_with_its_path(mesh: Mesh, source: Path) -> None:
    """A folder that beta may not write to fails the arrival with its path; the source stays."""
    folder = mesh.beta_files / "sealed"
    folder.mkdir()
    with tmpfs(folder, "ro"):
        ran = push(mesh, source, "--dest", "sealed/a.bin", "--mode", "move", "--json")
    error = told(ran)
    assert (ran.code, error["reason"]) == (71, "DESTINATION_UNWRITABLE")
    assert f"{folder / 'a.bin'} cannot be written: Read-only file system" in error["message"]
    assert source.exists()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Cli, subprocess.Popen[str], subprocess.Popen[str]]]:
    """Two hosts of their own, near and far, which a test may stop; the command line asks the first."""
    home = Cli(tmp_path)
    options = ("--allow", "paglets.patterns.file_mobility", "--file-root", str(tmp_path))
    with ExitStack() as stack:
        address, near = stack.enter_context(host(home, "near", *options))
        _, far = stack.enter_context(host(home, "far", *options, "--join", address))
        # Before the hosts are ended, so that they can.
        stack.callback(far.send_signal, signal.SIGCONT)
        stack.callback(near.send_signal, signal.SIGCONT)
        yield Cli(tmp_path, address), near, far


def phase(cli: Cli) -> str:
    """How far the journey of the one paglet has come; empty without one."""
    records = cli("paglet", "ls", "--json").records
    return records[0]["journey"]["phase"] if records and records[0]["journey"] else ""


def test_ctrl_c_tells_of_a_paglet_that_is_left(
    pair: tuple[Cli, subprocess.Popen[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Interrupted while no host answers, it ends with 130 and says that the journey goes on, and what can be done."""
    cli, near, far = pair
    (tmp_path / "a.txt").write_text("a")
    far.send_signal(signal.SIGSTOP)
    process = cli.start("file", "push", str(tmp_path / "a.txt"), "--to", "far", "--dest", "b.txt", "--mode", "move")
    until(lambda: phase(cli) == "prepare", "the journey to begin")
    (left,) = cli("paglet", "ls", "--json").records
    near.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (130, "")
    assert f"paglet {left['paglet_id']} was not seen to end (it did not answer within 5 s)" in err
    assert "its journey to far goes on, after which the source is deleted" in err
    assert f"`paglets paglet show {left['paglet_id']}` tells how far it is" in err
    assert f"`paglets paglet dispose {left['paglet_id']}` ends it" in err


def test_ctrl_c_tells_of_a_transfer_that_was_done_all_the_same(
    pair: tuple[Cli, subprocess.Popen[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Interrupted when the journey can no longer be stopped, it ends with 130 and says where the file is now."""
    cli, _, far = pair
    (tmp_path / "a.txt").write_text("a")
    far.send_signal(signal.SIGSTOP)
    process = cli.start("file", "push", str(tmp_path / "a.txt"), "--to", "far", "--dest", "b.txt", "--mode", "move")
    until(lambda: phase(cli) == "prepare", "the journey to begin")
    process.send_signal(signal.SIGINT)
    far.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (130, "")
    moved = f"moved near:{tmp_path / 'a.txt'} to far:{tmp_path / 'b.txt'}, 1 B"
    assert f"Warning: it was too late to stop the transfer: {moved}" in err
    assert (tmp_path / "b.txt").read_text() == "a"
    assert cli("paglet", "ls", "--json").out == ""


def test_ctrl_c_stops_a_transfer_that_is_under_way(
    pair: tuple[Cli, subprocess.Popen[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Interrupted before the journey is committed it gives that up: the paglet ends, and the file stays."""
    cli, _, far = pair
    (tmp_path / "a.txt").write_text("a")
    far.send_signal(signal.SIGSTOP)
    process = cli.start("file", "push", str(tmp_path / "a.txt"), "--to", "far", "--dest", "b.txt", "--mode", "move")
    until(lambda: phase(cli) == "prepare", "the journey to begin")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    until(lambda: cli("paglet", "ls", "--json").out == "", "the paglet to end")
    far.send_signal(signal.SIGCONT)
    assert process.returncode == 130
    assert (tmp_path / "a.txt").exists()
    assert not (tmp_path / "b.txt").exists()


def test_paglet_that_has_ended_is_known_to_have_arrived(mesh: Mesh) -> None:
    """Who hears nothing of a transfer that he has ended is told if the file had left before."""

    async def has_arrived(host: str) -> bool:
        async with Client(mesh.alpha) as client:
            return await has_arrived_at(client, "traveller", host)

    assert not asyncio.run(has_arrived("beta"))
    for words in ("create", CARRIER, "--id", "traveller"), ("dispatch", "traveller", "beta"):
        assert mesh.cli("paglet", *words).code == 0
    mesh.cli("paglet", "dispose", "traveller")
    assert asyncio.run(has_arrived("beta"))
    assert not asyncio.run(has_arrived("alpha"))


def test_dead_target_is_told_with_code_and_reason(
    pair: tuple[Cli, subprocess.Popen[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    """A host that was killed is UNAVAILABLE, the file stays, and no paglet is left."""
    cli, _, far = pair
    (tmp_path / "a.txt").write_text("a")
    far.kill()
    far.wait(PATIENCE_S)
    ran = cli("file", "push", str(tmp_path / "a.txt"), "--to", "far", "--dest", "b.txt", "--mode", "move", "--json")
    error = told(ran)
    assert (ran.code, error["code"], error["reason"]) == (78, "UNAVAILABLE", "HOST_UNREACHABLE")
    assert (tmp_path / "a.txt").exists()
    assert cli("paglet", "ls", "--json").out == ""


def test_timeout_leaves_the_transfer_going(
    pair: tuple[Cli, subprocess.Popen[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    """When --timeout is over first, the exit code and a sentence say so, and the paglet is left to go on."""
    cli, _, far = pair
    (tmp_path / "a.txt").write_text("a")
    far.send_signal(signal.SIGSTOP)
    ran = cli("file", "push", str(tmp_path / "a.txt"), "--to", "far", "--dest", "b.txt", "--timeout", "1")
    assert (ran.code, ran.out) == (68, "")
    (left,) = cli("paglet", "ls", "--json").records
    assert f"paglets paglet show {left['paglet_id']}" in ran.err
