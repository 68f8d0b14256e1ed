"""`paglets artifact usage` and `cancel`: how much is taken, and how it is freed."""

from __future__ import annotations

import pytest

from paglets.values import new_id
from tests.cli.conftest import Mesh

pytestmark = pytest.mark.slow


def test_usage(mesh: Mesh) -> None:
    """How much the host and each owner have, in a table and for programs; or one owner alone."""
    cli, owner = mesh.cli, f"o{new_id()}"
    (cli.home / "x").write_text(owner)
    assert cli("artifact", "put", "x", "--owner", owner).code == 0
    found = cli("artifact", "usage", "--json").record
    (own,) = (each for each in found["owners"] if each["owner"] == owner)
    assert own == {"owner": owner, "used_bytes": len(owner), "reserved_bytes": 0, "limit_bytes": None}
    assert found["host"]["used_bytes"] >= len(owner)
    assert found["disk_free_bytes"] > found["disk_floor_bytes"] > 0
    alone = cli("artifact", "usage", "--owner", owner)
    assert [line.split()[0] for line in alone.out.splitlines()] == ["OF", "host", "owner", "disk:"]
    assert f"owner {owner}  33 B" in alone.out
    assert "10.0 GiB" in alone.out


def test_cancel_of_nothing(mesh: Mesh) -> None:
    """An upload that is not there is an error, unless that is allowed."""
    ran = mesh.cli("artifact", "cancel", "no-such")
    assert (ran.code, ran.out) == (69, "")
    assert "paglets artifact uploads" in ran.err
    told = mesh.cli("artifact", "cancel", "no-such", "--missing-ok", "--json").record
    assert told == {"upload_id": "no-such", "cancelled": False}
