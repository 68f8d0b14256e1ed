"""`paglets artifact verify`: which artifacts still have their bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from paglets.digest import Digest
from tests.cli.running import Cli, host

pytestmark = pytest.mark.slow


def put(cli: Cli, data: bytes) -> str:
    """Stores bytes; the artifact's id."""
    (cli.home / "file").write_bytes(data)
    return cli("artifact", "put", "file").out.strip()


def rot(home: Path, data: bytes) -> None:
    """Damages the stored bytes, wherever they are below a folder."""
    (path,) = home.rglob(f"{Digest.of(data).hex}.*")
    path.chmod(0o600)
    path.write_bytes(b"x" * len(data))


def test_verify(tmp_path: Path) -> None:
    """Sound and corrupt artifacts are told apart, line by line and by the exit code; nothing stops the search."""
    with host(Cli(tmp_path), "one") as (address, _):
        cli = Cli(tmp_path, address)
        data = [bytes([number]) * 100_000 for number in range(3)]
        ids = [put(cli, some) for some in data]
        assert cli("artifact", "verify", "--all").code == 0
        rot(tmp_path, data[1])
        found = cli("artifact", "verify", *ids, "--json")
        assert found.code == 79
        assert [(line["artifact_id"], line["sound"]) for line in found.records] == [
            (ids[0], True),
            (ids[1], False),
            (ids[2], True),
        ]
        assert found.records[0]["digest"] == str(Digest.of(data[0]))
        assert '"reason": "STORED_BLOB_CORRUPT"' in found.err
        told = cli("artifact", "verify", "--all")
        assert told.code == 79
        assert {tuple(line.split()[:2]) for line in told.out.splitlines()} == {
            (ids[0], "sound"),
            (ids[1], "corrupt"),
            (ids[2], "sound"),
        }
        assert "1 of 3 artifacts" in told.err
        assert cli("artifact", "verify", ids[0], ids[2]).code == 0
        assert cli("artifact", "stat", ids[1], "--json").record["corrupt"]
        assert [ids[1] in line for line in cli("artifact", "ls").out.splitlines() if line.endswith("corrupt")] == [True]
        assert put(cli, data[1]) != ids[1]
        assert cli("artifact", "verify", "--all").code == 0
        some = cli("artifact", "verify", ids[0], "missing", ids[2])
        assert (some.code, [line.split()[0] for line in some.out.splitlines()]) == (69, [ids[0], ids[2]])
        assert "Error: missing: " in some.err


@pytest.mark.parametrize("arguments", [(), ("an-id", "--all")])
def test_usage(cli: Cli, arguments: tuple[str, ...]) -> None:
    """It wants to be told which, in one way."""
    ran = cli("artifact", "verify", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "--all" in ran.err
