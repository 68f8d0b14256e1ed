"""`paglets host serve --system` and `paglets mesh info`: services that start when they are asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.cli.running import Cli, host

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Two hosts that offer the services, and gamma, which does not and is asked."""
    home = tmp_path_factory.mktemp("home")
    with ExitStack() as stack:
        alpha, _ = stack.enter_context(host(Cli(home), "alpha", "--system"))
        stack.enter_context(host(Cli(home), "beta", "--system", "--tag", "gpu", "--join", alpha))
        gamma, _ = stack.enter_context(host(Cli(home), "gamma", "--join", alpha))
        yield Cli(home, gamma)


def test_hosts_are_told_with_their_load(cli: Cli) -> None:
    """Those that tell it, and of the third why not."""
    ran = cli("mesh", "info", "--json")
    assert (ran.code, ran.err) == (0, "")
    told = {record["host"]: record for record in ran.records}
    assert sorted(told) == ["alpha", "beta", "gamma"]
    assert told["alpha"]["cores"] > 0
    assert told["alpha"]["available_memory_bytes"] <= told["alpha"]["memory_bytes"]
    assert "rejected" in told["gamma"]
    ids = [record["paglet_id"] for record in cli("paglet", "ls", "--json").records]
    assert sorted(ids) == ["service.mesh-info", "service.server-info.alpha", "service.server-info.beta"]


def test_people_see_those_that_suit(cli: Cli) -> None:
    """A table, and on stderr who was left out."""
    ran = cli("mesh", "info", "--tag", "gpu", "--min-memory", "1K")
    header, row = ran.out.splitlines()
    assert header.split()[:3] == ["HOST", "SCORE", "LOAD"]
    assert row.startswith("beta ")
    assert "alpha: it lacks the tags gpu" in ran.err
    assert cli("mesh", "info", "--min-memory", "1000000G", "--json").records[0]["rejected"]


def test_notes_are_printed_where_the_service_is(cli: Cli) -> None:
    """By whichever host they are given."""
    note = '{"note": {"severity": "NOTE_SEVERITY_WARNING", "title": "disk", "message": "nearly full"}}'
    ran = cli("op", "call", "service.user-info", "paglet.v1.UserInfoService/Notify", note, "--json")
    assert ran.record == {"number": "1"}
    logs = "".join((cli.home / f"{name}.log").read_text() for name in ("alpha", "beta"))
    assert "WARNING: disk: nearly full" in logs


def test_mesh_without_the_services_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is missing is named."""
    home = tmp_path_factory.mktemp("lonely")
    with host(Cli(home), "lonely") as (address, _):
        ran = Cli(home, address)("mesh", "info")
    assert (ran.code, ran.out) == (69, "")
    assert "paglet.v1.MeshInfoService" in ran.err
