"""`paglets mesh`: the rows of a lost directory are registered again."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Mesh
from tests.cli.running import Cli, host

_COUNTER = "paglets.examples.counter.Counter"
_ALLOW = ("--allow", "paglets.examples.counter")


@pytest.mark.slow
def test_rebuild_of_a_healthy_mesh_changes_nothing(mesh: Mesh) -> None:
    """It says so, and says whom it has heard."""
    assert mesh.cli("paglet", "create", _COUNTER, "--id", "sound").code == 0
    told = mesh.cli("mesh", "rebuild", "--json")
    assert told.code == 0
    assert told.record == {"dry_run": False, "paglets": [], "heard": ["alpha", "beta"], "unheard": []}
    assert "nothing is missing" in mesh.cli("mesh", "rebuild").err


@pytest.mark.slow
def test_rebuild_registers_what_was_lost(cli: Cli) -> None:
    """A dry run tells the same and does nothing; a host that is not heard ends it with 1."""
    with host(cli, "solo", *_ALLOW) as (address, process):
        assert Cli(cli.home, address)("paglet", "create", _COUNTER, "--id", "mine", "--state", '{"value": 5}').code == 0
        process.kill()
    for path in (cli.home / "solo").glob("directory.db*"):
        path.unlink()
    with host(cli, "solo", *_ALLOW) as (address, _):
        asked = Cli(cli.home, address)
        assert asked("paglet", "state", "mine").code != 0
        expected = [{"paglet_id": "mine", "outcome": "registered", "hosts": ["solo"], "reason": ""}]
        assert asked("mesh", "rebuild", "--dry-run", "--json").record["paglets"] == expected
        assert asked("paglet", "state", "mine").code != 0
        told = asked("mesh", "rebuild")
        assert (told.code, told.out.splitlines()[1].split()) == (0, ["mine", "registered", "solo"])
        assert "1 paglets registered" in told.err
        assert '"value":5' in asked("paglet", "state", "mine", "--json").out.replace(" ", "")
        with host(cli, "away", "--join", address) as (_, gone):
            gone.kill()
        told = asked("mesh", "rebuild", "--json")
        assert (told.code, told.record["unheard"]) == (1, ["away"])
