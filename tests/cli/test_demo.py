"""`paglets demo`: it tells its story to the end, and however it ends it leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from paglets.cli.demo_file import digest_of, pack_standard_library
from paglets.digest import Digest
from tests.cli.running import PATIENCE_S, Cli, until


class Stage:
    """The demo, with a folder for temporary files of its own, so that what it leaves is seen."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "tmp"
        self.folder.mkdir()
        self.cli = Cli(home)
        self.env = {"TMPDIR": str(self.folder)}

    def hosts(self) -> list[psutil.Process]:
        """The hosts that the demo started and that are alive."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter(["cmdline", "status"]):
            cmdline: list[str] = process.info["cmdline"] or []
            if any(str(self.folder) in word for word in cmdline) and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found

    def assert_empty(self) -> None:
        """No host and no file is left."""
        assert self.hosts() == []
        assert list(self.folder.iterdir()) == []

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Starts the demo."""
        return self.cli.start("demo", "--json", *options, env=self.env)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A stage; hosts that a failed test leaves are ended."""
    stage = Stage(tmp_path)
    yield stage
    for process in stage.hosts():
        process.kill()


def events(process: subprocess.Popen[str], last: str) -> list[dict[str, Any]]:
    """What the demo tells, up to the last event of this name."""
    assert process.stdout is not None
    told: list[dict[str, Any]] = []
    for line in process.stdout:
        told.append(json.loads(line))
        if told[-1]["event"] == last and not (last == "host" and len(told) < 2):
            return told
    raise AssertionError(f"the demo ended before {last!r}: {told}")


@pytest.mark.slow
def test_story_for_people(stage: Stage) -> None:
    """In less than a screen it tells of hosts, counter, file and move, with its digests, and ends well."""
    ran = stage.cli.process("demo", env=stage.env)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert len(lines) <= 24
    assert all(len(line) <= 100 for line in lines)
    digests = {line.split()[-1] for line in lines if "BLAKE3" in line}
    assert len(digests) == 1
    assert any(line.endswith("it is at 3") for line in lines)
    assert any(line.endswith("it is at 5") for line in lines)
    stage.assert_empty()


@pytest.mark.slow
def test_own_file_is_sent_and_kept(stage: Stage, tmp_path: Path) -> None:
    """FILE is sent from where it is, and is there afterwards as it was; programs get JSON Lines."""
    own = tmp_path / "own.bin"
    own.write_bytes(b"paglets" * 100_000)
    ran = stage.cli.process("demo", str(own), "--json", env=stage.env)
    assert (ran.code, ran.err) == (0, "")
    assert [event["event"] for event in ran.records] == ["host", "host", "counted", "sent", "moved", "counted", "done"]
    sent = ran.records[3]
    assert (sent["file"], sent["size_bytes"], sent["digest"]) == ("own.bin", 700_000, str(Digest.of(own.read_bytes())))
    stage.assert_empty()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "at"),
    [
        (signal.SIGINT, 130, "host"),
        (signal.SIGINT, 130, "counted"),
        (signal.SIGTERM, 143, "counted"),
        (signal.SIGHUP, 129, "counted"),
    ],
)
def test_signal_leaves_nothing(stage: Stage, number: signal.Signals, code: int, at: str) -> None:
    """Ctrl-C, SIGTERM and a closed terminal end it with 128 + the signal and without a word; nothing is left."""
    process = stage.start()
    events(process, at)
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (code, "")
    stage.assert_empty()


@pytest.mark.slow
def test_ctrl_c_before_the_first_host_is_up_leaves_nothing(stage: Stage) -> None:
    """Also while the first host is being started nothing is left, and impatient fingers change nothing."""
    process = stage.start()
    until(stage.hosts, "the first host's process")
    for _ in range(3):
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (130, "")
    stage.assert_empty()


@pytest.mark.slow
@pytest.mark.parametrize("at", ["host", "counted"])
def test_killed_host_is_told(stage: Stage, at: str) -> None:
    """When beta is killed midway the demo fails soon, says which host it was and how it ended, and leaves nothing."""
    process = stage.start()
    beta = next(event for event in events(process, at) if event.get("name") == "beta")
    os.kill(beta["pid"], signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert f"host beta (process {beta['pid']}) was killed by SIGKILL" in err
    assert "Traceback" not in err
    stage.assert_empty()


@pytest.mark.slow
def test_hosts_do_not_outlive_a_killed_demo(stage: Stage) -> None:
    """Even when the demo itself is killed, its hosts end by themselves."""
    process = stage.start()
    events(process, "host")
    assert len(stage.hosts()) == 2
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    until(lambda: not stage.hosts(), "the end of the hosts")


def test_packed_library_is_real_and_bounded(tmp_path: Path) -> None:
    """The packed library holds modules and no caches or installed packages; its digest is that of its bytes."""
    packed = tmp_path / "stdlib.tar"
    pack_standard_library(packed)
    names = subprocess.run(["tar", "-tf", str(packed)], capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S607 - the system's own
    assert "stdlib/asyncio/runners.py" in names
    assert not [name for name in names if "site-packages" in name or "__pycache__" in name]
    assert digest_of(packed) == Digest.of(packed.read_bytes())
