"""`paglets mesh`: the hosts of a mesh, who comes and goes, and the rows of a lost directory."""

from __future__ import annotations

import json
import signal

import pytest

from tests.cli.conftest import Mesh
from tests.cli.running import PATIENCE_S, Cli, host, until

pytestmark = pytest.mark.slow

_COUNTER = "paglets.examples.counter.Counter"
_ALLOW = ("--allow", "paglets.examples.counter")


def test_ls_for_people_and_programs(mesh: Mesh) -> None:
    """All hosts in the order of their names: aligned columns where no terminal is, without colour, or JSON lines."""
    ran = mesh.cli("mesh", "ls")
    head, *lines = ran.out.splitlines()
    assert (ran.code, ran.err) == (0, "")
    assert head.split() == ["NAME", "ADDRESS", "STATE", "PAGLETS", "TYPES", "TAGS", "PROPERTIES", "VERSION", "SEEN"]
    assert [line.split()[:3] for line in lines] == [["alpha", mesh.alpha, "online"], ["beta", mesh.beta, "online"]]
    assert [line.split()[:3] for line in mesh.cli("host", "ls").out.splitlines()[1:]] == [
        line.split()[:3] for line in lines
    ]
    records = mesh.cli("--json", "mesh", "ls").records
    assert [record["name"] for record in mesh.cli("host", "ls", "--json").records] == ["alpha", "beta"]
    assert lines[1].split()[4:9] == [str(len(records[1]["types"])), "fast", "gpu", "rack=7", "site=lab"]
    assert [record["address"] for record in records] == [mesh.alpha, mesh.beta]
    assert [record["tags"] for record in records] == [[], ["fast", "gpu"]]
    assert [record["properties"] for record in records] == [{}, {"rack": "7", "site": "lab"}]
    assert all("paglets.examples.counter.Counter" in record["types"] for record in records)


def test_ls_tells_who_has_left_and_who_is_lost(cli: Cli) -> None:
    """A host that said farewell is told apart from one that was killed, once its lease is over."""
    with host(cli, "solo") as (address, _):
        asked = Cli(cli.home, address)
        with host(cli, "polite", "--join", address):
            pass
        with host(cli, "killed", "--join", address) as (_, process):
            process.kill()

        def states() -> dict[str, str]:
            return {record["name"]: record["state"] for record in asked("mesh", "ls", "--json").records}

        until(lambda: states() == {"killed": "lost", "polite": "left", "solo": "online"}, "the lease to end")


def test_watch_for_people_and_programs(cli: Cli) -> None:
    """A line for each host that is there, joins and leaves, as it happens; Ctrl-C ends it, with 130."""
    with host(cli, "solo", "--tag", "home") as (solo, _):
        watches = [Cli(cli.home, solo).start("mesh", "watch", *options) for options in ((), ("--json",))]
        for_people, in_json = (watch.stdout for watch in watches)
        assert for_people is not None
        assert in_json is not None
        try:
            assert for_people.readline() == f"present  solo  {solo}  home\n"
            assert json.loads(in_json.readline())["change"] == "present"
            said = ("--tag", "gpu", "--tag", "fast", "--property", "rack=7")
            with host(cli, "guest", "--join", solo, *said) as (guest, _):
                assert for_people.readline() == f"joined  guest  {guest}  fast gpu\n"
                told = json.loads(in_json.readline())
                assert (told["change"], told["host"]["state"]) == ("joined", "online")
                assert (told["host"]["properties"], told["host"]["paglets"]) == ({"rack": "7"}, None)
            assert for_people.readline().split()[:2] == ["left", "guest"]
            assert json.loads(in_json.readline())["host"]["state"] == "left"
        finally:
            for watch in watches:
                watch.send_signal(signal.SIGINT)
            ended = [(*watch.communicate(timeout=PATIENCE_S), watch.returncode) for watch in watches]
    assert [(out, err.strip(), code) for out, err, code in ended] == [("", "", 130)] * 2


def test_rebuild_of_a_healthy_mesh_changes_nothing(mesh: Mesh) -> None:
    """It says so, and says whom it has heard."""
    assert mesh.cli("paglet", "create", _COUNTER, "--id", "sound").code == 0
    told = mesh.cli("mesh", "rebuild", "--json")
    assert told.code == 0
    assert told.record == {"dry_run": False, "heard": ["alpha", "beta"], "unheard": []}
    assert "nothing is missing" in mesh.cli("mesh", "rebuild").err


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
        assert asked("mesh", "rebuild", "--dry-run", "--json").records[1:] == expected
        assert asked("paglet", "state", "mine").code != 0
        told = asked("mesh", "rebuild")
        assert (told.code, told.out.splitlines()[1].split()) == (0, ["mine", "registered", "solo"])
        assert "1 paglets registered" in told.err
        assert '"value":5' in asked("paglet", "state", "mine", "--json").out.replace(" ", "")
        with host(cli, "away", "--join", address) as (_, gone):
            gone.kill()
        told = asked("mesh", "rebuild", "--json")
        assert (told.code, told.record["unheard"]) == (1, ["away"])
