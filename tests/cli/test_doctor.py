"""`paglets doctor` on a machine: the installation, the settings, the data folder, the address to listen at."""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from paglets.artifacts.ledger import LAYOUT as ARTIFACTS_LAYOUT
from paglets.artifacts.lock import FolderLock
from paglets.artifacts.placement import PrivateFile
from paglets.cli.checks.asked import proxies
from paglets.cli.checks.finding import Finding
from paglets.cli.checks.folder import data_folder
from paglets.cli.checks.installation import descriptors, sqlite
from paglets.cli.checks.port import listening
from paglets.host.journal.rows import LAYOUT as JOURNAL_LAYOUT
from paglets.testing import local_host
from tests.cli.running import Cli, Ran
from tests.mounts import tmpfs

_PATIENCE_S = 10.0
_MIB = 1024**2


def of(ran: Ran, check: str) -> list[tuple[str, str]]:
    """What was found by a check: how bad, and what."""
    return [(line["status"], line["found"]) for line in ran.records if line["check"] == check]


def told(findings: list[Finding]) -> dict[str, str]:
    """What was found, by check; of several findings of one the last."""
    assert all(found.remedy for found in findings if found.status != "ok")
    return {f"{found.check} {found.status}": found.found for found in findings}


async def all_of(findings: AsyncGenerator[Finding]) -> dict[str, str]:
    """The same, of a check that takes its time."""
    return told([found async for found in findings])


@pytest.mark.slow
def test_before_the_first_host(cli: Cli) -> None:
    """A machine on which all is well is told so, a line a check, and nothing is left where it was looked."""
    ran = cli("doctor", "--local", "--listen", "127.0.0.1:0")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", f"{check}:"]
        for check in ("installation", "sqlite", "settings", "environment", "files", "disk", "data", "port")
    ]
    assert f"{cli.home / 'state' / 'paglets'}" in lines[6]
    assert list(cli.home.iterdir()) == []


@pytest.mark.slow
def test_host_that_is_not_there_is_one_finding(cli: Cli) -> None:
    """It is told with what to do, and by the exit code; what can be looked at without it is."""
    spared = {"no_grpc_proxy": "127.0.0.1"}
    ran = cli("--host", "127.0.0.1:1", "doctor", "--json", "--listen", "127.0.0.1:0", env=spared)
    assert (ran.code, ran.err) == (1, "")
    assert [line["check"] for line in ran.records if line["status"] != "ok"] == ["host"]
    last = ran.records[-1]
    assert last["found"] == "no host answers at 127.0.0.1:1: nothing listens there"
    assert "paglets host serve" in last["next"]
    assert of(ran, "data")[0][0] == "ok"


@pytest.mark.slow
def test_broken_installation(cli: Cli) -> None:
    """What keeps a host's code from being imported is told alone: there is nothing to look with."""
    (cli.home / "grpc.py").write_text("raise RuntimeError('made for another machine')\n")
    ran = cli("doctor", "--json", env={"PYTHONPATH": f"{cli.home}:{os.environ.get('PYTHONPATH', '')}"})
    assert (ran.code, ran.err) == (1, "")
    assert [line["check"] for line in ran.records] == ["installation"]
    assert "RuntimeError: made for another machine" in ran.record["found"]


def test_old_sqlite_and_few_files() -> None:
    """SQLite without STRICT tables is too old; connections may be more than files that may be open."""
    assert [sqlite(version).status for version in ((3, 36, 9), (3, 37, 0), (3, 40, 1))] == ["failed", "ok", "ok"]
    assert told([descriptors(10**9), descriptors(1)]).keys() == {"files warning", "files ok"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[client]\nhost = ", "cannot be read"),
        ('host = "x"', "outside of a table"),
        ("[client]\nhots = 1\n", "hots"),
        ("[host.serve]\nlissten = 1\n", "lissten"),
        ("[paglet.shwo]\n", "shwo"),
        ("[host]\nserve = 1\n", "serve"),
        ('[host.serve]\nlisten = "7600"\n', "would refuse"),
        ('[host.serve]\nlisten = "0.0.0.0:0"\n', "can be reached from other machines"),
        ('[host.serve]\nname = "No Good"\n', "would refuse"),
    ],
)
def test_settings_with_a_mistake(cli: Cli, text: str, wrong: str) -> None:
    """It is told once, by its name, whichever command it is for; everything else is looked at all the same."""
    config = cli.home / "config.toml"
    config.write_text(text)
    address = () if "listen =" in text else ("--listen", "127.0.0.1:0")
    ran = cli("--config", str(config), "doctor", "--local", "--json", *address)
    failures = [line for line in ran.records if line["status"] == "failed"]
    assert (ran.code, ran.err) == (1, "")
    assert {line["check"] for line in failures} == {"settings"}
    assert wrong in failures[0]["found"]


@pytest.mark.slow
def test_settings_of_host_serve_say_where_to_look(cli: Cli) -> None:
    """The file, then the environment, then doctor's own options name the folder and the address."""
    config = cli.home / "config.toml"
    config.write_text(
        f"""
        [host.serve]
        data = "{cli.home}/filed"
        listen = "127.0.0.1:0"
        insecure = true
        max_connections = 1000000000
        """
    )
    file = ("--config", str(config), "doctor", "--local", "--json")
    assert f"{cli.home}/filed" in of(cli(*file), "data")[0][1]
    set_ = {"PAGLETS_HOST_SERVE_DATA": f"{cli.home}/set"}
    ran = cli(*file, env=set_)
    assert f"{cli.home}/set" in of(ran, "data")[0][1]
    assert of(ran, "settings") == [("ok", f"read from {config}")]
    assert of(ran, "environment") == [("ok", "PAGLETS_HOST_SERVE_DATA is set")]
    assert [status for status, _ in of(ran, "files")] == ["warning"]
    given = cli(*file, "--data", f"{cli.home}/given", "--listen", "192.0.2.1:7600", env=set_)
    assert f"{cli.home}/given" in of(given, "data")[0][1]
    assert of(given, "port") == [("failed", "nothing can listen at 192.0.2.1:7600: Cannot assign requested address")]


@pytest.mark.slow
def test_variables_that_nothing_reads(cli: Cli) -> None:
    """Each is told, with the one that is meant; so are those that have hosts die in tests."""
    ran = cli(
        *("doctor", "--local", "--json", "--listen", "127.0.0.1:0"),
        env={"PAGLETS_HOTS": "x", "PAGLETS_FAULT": "nowhere", "PAGLETS_TIMEOUT": "3", "PAGLETS_JSON": "1"},
    )
    assert ran.code == 0
    assert of(ran, "environment") == [
        ("warning", "PAGLETS_FAULT is set: hosts started here end or stop, for tests"),
        ("warning", "nothing reads PAGLETS_HOTS"),
    ]
    assert ["PAGLETS_HOST" in line["next"] for line in ran.records if "HOTS" in line["found"]] == [True]


def test_data_folder_that_is_there(tmp_path: Path) -> None:
    """Whether a host holds its lock is told, and neither looked at by taking it nor left made."""
    folder = tmp_path / "alpha"
    folder.mkdir(0o700)
    assert "no host uses it" in told(list(data_folder(folder, 0)))["data ok"]
    assert list(folder.iterdir()) == []
    lock = FolderLock(folder)
    assert "a host uses it now" in told(list(data_folder(folder, 0)))["data ok"]
    lock.release()
    assert "no host uses it" in told(list(data_folder(folder, 0)))["data ok"]
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_data_folder_of_another_version_that_others_may_read(tmp_path: Path) -> None:
    """The layout of each database is told if it is none of ours."""
    (tmp_path / "artifacts").mkdir()
    tmp_path.chmod(0o755)
    for name, layout in (("journal.db", 99), ("artifacts/artifacts.db", 98), ("directory.db", 0)):
        with sqlite3.connect(tmp_path / name) as connection:
            connection.execute(f"PRAGMA user_version={layout}")
        connection.close()
    found = [f"{finding.status} {finding.found}" for finding in data_folder(tmp_path, 0)]
    assert [line for line in found if not line.startswith("ok")] == [
        f"warning others of this machine may look into {tmp_path}",
        f"failed {tmp_path}/journal.db has layout 99, and this version of paglets reads {JOURNAL_LAYOUT}",
        f"failed {tmp_path}/artifacts/artifacts.db has layout 98, and this version of paglets reads {ARTIFACTS_LAYOUT}",
    ]
    (tmp_path / "journal.db").write_text("once upon a time")
    assert f"{tmp_path}/journal.db is no SQLite database" in [finding.found for finding in data_folder(tmp_path, 0)]


async def test_data_folder_of_a_host_is_known(tmp_path: Path) -> None:
    """What a host has written is of the layouts that are looked for."""
    async with local_host(data=tmp_path / "alpha"):
        found = told(list(data_folder(tmp_path / "alpha", 0)))
        assert "a host uses it now" in found["data ok"]
    assert told(list(data_folder(tmp_path / "alpha", 0))).keys() == {"disk ok", "data ok"}


def test_data_folder_where_nothing_can_be_kept(tmp_path: Path) -> None:
    """A file, or a disk that is read-only or full, is told as such; of one with little room only that."""
    (tmp_path / "file").touch()
    assert "Not a directory" in told(list(data_folder(tmp_path / "file", 0)))["data failed"]
    disk = tmp_path / "disk"
    disk.mkdir()
    with tmpfs(disk, "ro"):
        assert "Read-only file system" in told(list(data_folder(disk / "alpha", 0)))["data failed"]
    with tmpfs(disk, "size=1m,mode=700"):
        found = told(list(data_folder(disk, 2 * _MIB)))
        assert "1.0 MiB are free" in found["disk failed"]
        assert "data ok" in found
        (disk / "filler").write_bytes(bytes(_MIB))
        found = told(list(data_folder(disk, 0)))
        assert "full" in found["data failed"]
        assert [path.name for path in disk.iterdir()] == ["filler"]


def test_interrupted_look_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while something is tried takes it away."""

    def interrupt(_file: PrivateFile) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PrivateFile, "place", interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(data_folder(tmp_path, 0))
    assert list(tmp_path.iterdir()) == []


async def test_port_that_is_taken() -> None:
    """It is told by whom: the host itself, another host, or what it says to strangers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        found = await all_of(listening(address, "alpha", 0.2))
        assert found["port failed"] == (
            f"{address} is taken: something accepts connections there, but says nothing within 0.2 s"
        )
    assert await all_of(listening(address, "alpha", _PATIENCE_S)) == {"port ok": f"{address} is free"}
    async with local_host() as host:
        found = await all_of(listening(host.address, "alpha", _PATIENCE_S))
        assert found == {"port ok": f"{host.address} is where host alpha listens"}
        everywhere = f":{host.address.rpartition(':')[2]}"
        assert "host alpha" in (await all_of(listening(everywhere, "beta", _PATIENCE_S)))["port warning"]


async def test_port_that_nobody_can_have(tmp_path: Path) -> None:
    """An address of another machine, and a name that nobody knows."""
    found = await all_of(listening("192.0.2.1:0", "alpha", _PATIENCE_S))
    assert "Cannot assign requested address" in found["port failed"]
    for unknown in ("nowhere.invalid:0", f"{'x' * 70}.invalid:0"):
        found = await all_of(listening(unknown, "alpha", _PATIENCE_S))
        assert "its name is not known here" in found["port failed"]
    path = tmp_path / "socket"
    assert "is no folder" in (await all_of(listening(f"unix:{path}/below", "alpha", 1.0)))["port failed"]
    assert "too long" in (await all_of(listening(f"unix:{path}{'x' * 108}", "alpha", 1.0)))["port failed"]
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        assert "is taken" in (await all_of(listening(f"unix:{path}", "alpha", 0.2)))["port failed"]
        # As many callers wait by now as are let in.
        found = await all_of(listening(f"unix:{path}", "alpha", 0.2))
        assert found["port failed"].startswith(f"unix:{path} is taken: no connection comes about")
    assert path.is_socket()
    assert await all_of(listening(f"unix:{path}", "alpha", 1.0)) == {"port ok": f"unix:{path} is free"}


@pytest.mark.parametrize(
    ("variables", "address", "warned"),
    [
        ({}, "10.0.0.1:7600", False),
        ({"http_proxy": "http://p:1"}, "10.0.0.1:7600", True),
        ({"grpc_proxy": "http://p:1"}, "10.0.0.1:7600", True),
        ({"http_proxy": "http://p:1"}, "unix:/socket", False),
        ({"https_proxy": "http://p:1", "no_proxy": "10.0.0.0/8"}, "10.0.0.1:7600", False),
        ({"https_proxy": "http://p:1", "no_proxy": "b, .example"}, "a.example:7600", False),
        ({"https_proxy": "http://p:1", "no_proxy": "b,"}, "a.example:7600", True),
        ({"https_proxy": "http://p:1", "NO_PROXY": "a.example"}, "a.example:7600", True),
        ({"https_proxy": "http://p:1", "no_grpc_proxy": "b", "no_proxy": "a.example"}, "a.example:7600", True),
        ({"https_proxy": "http://p:1", "no_proxy": "::1"}, "[::1]:7600", False),
    ],
)
def test_proxies_of_other_clients(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], address: str, *, warned: bool
) -> None:
    """A proxy that gRPC would take is told, unless the address is spared in the way that gRPC reads it."""
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert [found.status for found in proxies(address)] == ["warning"] * warned
