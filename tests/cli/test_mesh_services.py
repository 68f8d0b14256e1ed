"""`paglets mesh services` and `host serve --resident`: which paglets answer which services."""

from __future__ import annotations

import json
import signal

import pytest

from tests.cli.running import PATIENCE_S, Cli, host, until

pytestmark = pytest.mark.slow

_COUNTER = "paglets.examples.counter.Counter"
_SERVICE = "paglet.examples.counter.v1.CounterService"
_ID = "service.paglet.examples.counter.v1.counter-service"


def test_services_for_people_and_programs(cli: Cli) -> None:
    """A resident service is listed before it runs, called without being created, and found by what it answers."""
    with host(cli, "solo", "--resident", _COUNTER) as (address, _):
        asked = Cli(cli.home, address)
        ran = asked("mesh", "services")
        head, line = ran.out.splitlines()
        assert (ran.code, ran.err) == (0, "")
        assert " ".join(head.split()) == "SERVICE PAGLET ID HOST STATE SCOPE OPERATIONS TAGS EXPIRES"
        assert line.split()[:7] == [_SERVICE, _ID, "solo", "online", "mesh", "Add", "Get"]
        assert [one["operation"] for one in asked("op", "ls", _ID, "--json").records][:1] == [f"{_SERVICE}/Add"]
        assert asked("paglet", "ls").out.splitlines()[1:] == []
        assert asked("op", "call", _ID, f"{_SERVICE}/Add", '{"amount": 5}', "--json").records == [{"value": "5"}]
        (record,) = asked("mesh", "services", _SERVICE, "--operation", "Add", "--local", "--json").records
        assert (record["paglet_id"], record["version"], record["operations"]) == (_ID, "v1", ["Add", "Get"])
        assert (record["resident"], record["expires"]) == (True, None)
        for wanted in (("no.such.Service",), (_SERVICE, "--operation", "Sub"), (_SERVICE, "--tag", "gpu")):
            assert asked("mesh", "services", *wanted, "--json").records == []


def test_services_watch(cli: Cli) -> None:
    """A line for each service that is there, comes, or whose host goes; Ctrl-C ends it, with 130."""
    mover = "paglets.patterns.file_mobility.SingleFileTransferPaglet"
    with host(cli, "solo", "--resident", mover) as (address, _):
        watches = [Cli(cli.home, address).start("mesh", "services", "--watch", *more) for more in ((), ("--json",))]
        for_people, in_json = (watch.stdout for watch in watches)
        assert for_people is not None
        assert in_json is not None
        try:
            assert for_people.readline().split()[:2] == ["present", "paglet.v1.TaskService"]
            assert json.loads(in_json.readline())["change"] == "present"
            with host(cli, "guest", "--join", address, "--resident", f"{_COUNTER}=eager"):
                assert for_people.readline().split() == ["advertised", _SERVICE, _ID, "guest", "online"]
                assert json.loads(in_json.readline())["service"]["host"] == "guest"
            assert for_people.readline().split() == ["changed", _SERVICE, _ID, "guest", "away"]
            told = json.loads(in_json.readline())
            assert (told["change"], told["service"]["state"]) == ("changed", "away")
        finally:
            for watch in watches:
                watch.send_signal(signal.SIGINT)
            ended = [(*watch.communicate(timeout=PATIENCE_S), watch.returncode) for watch in watches]
        assert [code for *_, code in ended] == [130, 130]


@pytest.mark.parametrize("given", ["Counter", f"{_COUNTER}=soon", f"{_COUNTER}=", ""])
def test_no_resident_service(cli: Cli, given: str) -> None:
    """What names no class, or no way to start it, is a usage error that shows the form."""
    ran = cli("host", "serve", "--resident", given)
    assert ran.code == 2
    assert "give MODULE.CLASS, and =lazy or =eager" in ran.err


def test_eager_resident_is_there_from_the_start_on(cli: Cli) -> None:
    """It runs without being called."""
    with host(cli, "solo", "--resident", f"{_COUNTER}=eager") as (address, _):
        asked = Cli(cli.home, address)
        until(lambda: [one["paglet_id"] for one in asked("paglet", "ls", "--json").records] == [_ID], "the service")
