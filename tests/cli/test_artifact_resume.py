"""`paglets artifact put` again after it was interrupted: it goes on, with one artifact at the end."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paglets.digest import Digest
from paglets.values import new_id
from tests.cli.conftest import Mesh
from tests.cli.gated_relay import GatedRelay
from tests.cli.running import PATIENCE_S, Cli, until

pytestmark = pytest.mark.slow

_MIB = 1024 * 1024
_SIZE = 24 * _MIB + 5
_GATE = 16 * _MIB
_SLACK = 5 * _MIB  # two messages that were on their way, and what calls cost


@pytest.fixture
def relay(mesh: Mesh) -> Iterator[GatedRelay]:
    """A way to alpha that can be stopped."""
    with GatedRelay(mesh.alpha) as gated:
        yield gated


@pytest.fixture
def big(tmp_path: Path, seed: int) -> Path:
    """A file of many messages."""
    path = tmp_path / "big.bin"
    path.write_bytes(random.Random(seed).randbytes(_SIZE))
    return path


@pytest.fixture
def owner() -> str:
    """Somebody of whom there is nothing."""
    return f"o{new_id()}"


def cut(relay: GatedRelay, home: Path, number: signal.Signals, *words: str) -> tuple[int, str]:
    """Begins a put and ends it by a signal when so much of it is through; its exit code and what it said."""
    cli = Cli(home, relay.address)
    relay.most = _GATE
    process = cli.start("artifact", "put", *words)
    until(lambda: relay.passed >= _GATE, "the relay to be closed")
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE_S)
    relay.open()
    return process.returncode, err


def stored(mesh: Mesh, owner: str) -> list[str]:
    """The digests of all artifacts of somebody."""
    return [found["digest"] for found in mesh.cli("artifact", "ls", "--owner", owner, "--json").records]


def records(home: Path) -> list[Path]:
    """What is remembered of puts."""
    return sorted((home / "state" / "paglets" / "uploads").iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_same_command_sends_the_rest(
    mesh: Mesh, relay: GatedRelay, tmp_path: Path, big: Path, owner: str, number: signal.Signals, code: int
) -> None:
    """A put that was ended in the middle, by whatever, is gone on with: the rest is sent, and one artifact is there."""
    words = (str(big), "--owner", owner, "--label", "a=b")
    ended, err = cut(relay, tmp_path, number, *words)
    assert ended == code
    assert ("the same command goes on" in err) == (number is not signal.SIGKILL)
    assert stored(mesh, owner) == []
    (record,) = records(tmp_path)
    assert str(big) in record.read_text()
    again = Cli(tmp_path, relay.address)("artifact", "put", *words, "--json")
    assert again.code == 0, again.err
    assert relay.passed < _SIZE - _GATE + _SLACK
    assert again.record["digest"] == str(Digest.of(big.read_bytes()))
    assert stored(mesh, owner) == [again.record["digest"]]
    assert records(tmp_path) == []


def test_other_options_are_another_put(mesh: Mesh, relay: GatedRelay, tmp_path: Path, big: Path, owner: str) -> None:
    """What was sent for one owner or label is not gone on with for another; the first put can be gone on with still."""
    cut(relay, tmp_path, signal.SIGKILL, str(big), "--owner", owner)
    cli = Cli(tmp_path, relay.address)
    assert cli("artifact", "put", str(big), "--owner", owner, "--label", "x=y").code == 0
    assert relay.passed > _SIZE
    relay.passed = 0
    assert cli("artifact", "put", str(big), "--owner", owner).code == 0
    assert relay.passed < _SIZE - _GATE + _SLACK
    assert len(stored(mesh, owner)) == 2


def test_file_that_was_changed_is_sent_anew(
    mesh: Mesh, relay: GatedRelay, tmp_path: Path, big: Path, owner: str
) -> None:
    """A file that was changed meanwhile is never spliced with what was sent of it: it is sent from the start."""
    cut(relay, tmp_path, signal.SIGKILL, str(big), "--owner", owner)
    changed = b"changed" + big.read_bytes()[7:]
    big.write_bytes(changed)
    done = Cli(tmp_path, relay.address)("artifact", "put", str(big), "--owner", owner)
    assert done.code == 0, done.err
    assert relay.passed > _SIZE
    assert stored(mesh, owner) == [str(Digest.of(changed))]


def test_file_that_was_changed_in_secret_is_refused(
    mesh: Mesh, relay: GatedRelay, tmp_path: Path, big: Path, owner: str
) -> None:
    """Other bytes behind the same size and time are refused, again and again; --no-resume drops what was sent."""
    cut(relay, tmp_path, signal.SIGKILL, str(big), "--owner", owner)
    before = big.stat()
    changed = b"changed" + big.read_bytes()[7:]
    with big.open("r+b") as file:
        file.write(changed[:7])
    os.utime(big, ns=(before.st_atime_ns, before.st_mtime_ns))
    cli = Cli(tmp_path, relay.address)
    for _ in range(2):
        refused = cli("artifact", "put", str(big), "--owner", owner)
        assert (refused.code, refused.out) == (73, "")
        assert "PREFIX_MISMATCH" in refused.err
        assert "--no-resume" in refused.err
        assert "goes on" not in refused.err
    assert [found["owner"] for found in cli("artifact", "uploads", "--json").records].count(owner) == 1
    done = cli("artifact", "put", str(big), "--owner", owner, "--no-resume")
    assert done.code == 0, done.err
    assert stored(mesh, owner) == [str(Digest.of(changed))]
    assert owner not in [found["owner"] for found in cli("artifact", "uploads", "--json").records]
    assert records(tmp_path) == []


def test_files_that_were_stored_are_not_stored_again(
    mesh: Mesh, relay: GatedRelay, tmp_path: Path, big: Path, owner: str
) -> None:
    """Of several files, those that were done before the interrupt are known again, by the ids that they got then."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("first")
    big.rename(folder / "b.bin")
    (folder / "c.txt").write_text("last")
    cut(relay, tmp_path, signal.SIGKILL, str(folder), "--owner", owner)
    (first,) = mesh.cli("artifact", "ls", "--owner", owner, "--json").records
    again = Cli(tmp_path, relay.address)("artifact", "put", str(folder), "--owner", owner, "--json")
    assert again.code == 0, again.err
    assert [found["name"] for found in again.records] == ["folder/a.txt", "folder/b.bin", "folder/c.txt"]
    assert [found["outcome"] for found in again.records] == ["already-committed", "committed", "committed"]
    assert again.records[0]["artifact_id"] == first["artifact_id"]
    assert relay.passed < _SIZE - _GATE + _SLACK
    assert len(stored(mesh, owner)) == 3


def test_unfinished_uploads_are_listed_and_cancelled(
    mesh: Mesh, relay: GatedRelay, tmp_path: Path, big: Path, owner: str
) -> None:
    """What was cut is told with how much of it is here, and holds its room until it is cancelled."""
    cut(relay, tmp_path, signal.SIGKILL, str(big), "--owner", owner)
    cli = Cli(tmp_path, mesh.alpha)

    def ours() -> list[dict[str, Any]]:
        return [each for each in cli("artifact", "uploads", "--json").records if each["owner"] == owner]

    until(lambda: not ours()[0]["writing"], "the host to notice that nobody writes any more")
    (found,) = ours()
    assert (found["name"], found["state"], found["expected_bytes"]) == ("big.bin", "open", _SIZE)
    assert _GATE - _SLACK < found["committed_bytes"] < _GATE + _MIB
    assert found["expires"] > found["created"]
    table = cli("artifact", "uploads").out
    assert found["upload_id"] in table
    assert "24.0 MiB" in table
    told = cli("artifact", "cancel", found["upload_id"])
    assert (told.code, told.out) == (0, "")
    assert "is cancelled" in told.err
    assert found["upload_id"] not in cli("artifact", "uploads").out
    assert cli("artifact", "put", str(big), "--owner", owner).code == 0, "begun anew"
    assert stored(mesh, owner) == [str(Digest.of(big.read_bytes()))]


def test_two_puts_at_once_are_two(mesh: Mesh, relay: GatedRelay, tmp_path: Path, big: Path, owner: str) -> None:
    """While one put of a file is under way, another of the same file does not take it over: both become artifacts."""
    relay.most = _GATE
    one = Cli(tmp_path, relay.address).start("artifact", "put", str(big), "--owner", owner)
    until(lambda: relay.passed >= _GATE, "the relay to be closed")
    (held,) = records(tmp_path)
    one.send_signal(signal.SIGSTOP)
    relay.open()
    assert Cli(tmp_path, relay.address)("artifact", "put", str(big), "--owner", owner).code == 0
    assert relay.passed > _SIZE
    assert records(tmp_path) == [held]
    one.send_signal(signal.SIGCONT)
    _, err = one.communicate(timeout=PATIENCE_S)
    assert one.returncode == 0, err
    assert len(stored(mesh, owner)) == 2
    assert records(tmp_path) == []


def test_put_that_failed_for_good_is_forgotten(mesh: Mesh, tmp_path: Path) -> None:
    """A refusal that stays one leaves nothing to go on with."""
    cli = Cli(tmp_path, mesh.alpha)
    (tmp_path / "x").write_text("x")
    refused = cli("artifact", "put", "x", "--id", "No Good")
    assert (refused.code, refused.out) == (67, "")
    assert "goes on" not in refused.err
    assert records(tmp_path) == []


def test_records_that_nobody_uses_are_cleaned(mesh: Mesh, tmp_path: Path) -> None:
    """Records older than a week go with the next put, unless somebody holds them; others stay."""
    cli = Cli(tmp_path, mesh.alpha)
    (tmp_path / "x").write_text("x")
    folder = tmp_path / "state" / "paglets" / "uploads"
    folder.mkdir(parents=True)
    old, fresh, used = (folder / f"{letter * 32}.{new_id()}.json" for letter in "abc")
    long_ago = time.time() - 8 * 24 * 3600
    for path in (old, fresh, used):
        path.write_text("{}")
    for path in (old, used):
        os.utime(path, (long_ago, long_ago))
    with used.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert cli("artifact", "put", "x").code == 0
    assert records(tmp_path) == [fresh, used]


def test_put_without_a_state_folder(mesh: Mesh, tmp_path: Path) -> None:
    """Where nothing can be remembered the put is done all the same, and the user knows."""
    cli = Cli(tmp_path, mesh.alpha)
    (tmp_path / "x").write_text("x")
    (tmp_path / "state").write_text("in the way")
    done = cli("artifact", "put", "x")
    assert done.code == 0
    assert "cannot be gone on with" in done.err
