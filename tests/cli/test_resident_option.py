"""`paglets host serve --resident`: all that can be said of a service that the host starts by itself."""

from __future__ import annotations

import click
import pytest

from paglets.cli.resident_option import resident
from paglets.config import ResidentLifecycle, ResidentServiceSpec
from paglets.discovery import ServiceScope
from tests.cli.running import Cli, host

_COUNTER = "paglets.examples.counter.Counter"


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("m.C", ResidentServiceSpec(type="m.C")),
        ("m.C=eager", ResidentServiceSpec(type="m.C", lifecycle=ResidentLifecycle.EAGER)),
        (
            "m.C=lazy,scope=local,one-in=host,id=mine,idle=5m,tag=gpu,tag=fast",
            ResidentServiceSpec(
                type="m.C",
                scope=ServiceScope.LOCAL,
                singleton=False,
                paglet_id="mine",
                idle_timeout_s=300.0,
                tags=("gpu", "fast"),
            ),
        ),
        (
            'm.C,id=mine,state={"a": 1, "b": "x,id=y"}',
            ResidentServiceSpec(type="m.C", paglet_id="mine", state_json='{"a": 1, "b": "x,id=y"}'),
        ),
    ],
)
def test_what_is_said_is_had(text: str, spec: ResidentServiceSpec) -> None:
    """Each setting of a resident service has a key; what is not said is as in code."""
    assert resident(text) == spec


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("colour=red", "'colour' says nothing of a resident service; give scope, one-in, id, idle, tag or state"),
        ("scope=all", "'all' is none of local, mesh"),
        ("one-in=town", "'town' is none of mesh, host"),
        ("id=A B", "id must match"),
        ("tag=", "tag must match"),
        ("idle=0", "'0' is not above 0"),
        ("idle=soon", "'soon' is no span of time"),
        ("state={", "is no JSON"),
        ("state=5", "is no JSON object"),
    ],
)
def test_what_says_nothing_is_refused(more: str, told: str) -> None:
    """A mistake is told before the host starts."""
    with pytest.raises(click.BadParameter) as caught:
        resident(f"m.C,{more}")
    assert told in caught.value.message


@pytest.mark.slow
def test_resident_begins_as_it_was_told(cli: Cli) -> None:
    """The service has the id, the tag and the state of the option."""
    given = f'{_COUNTER}=eager,id=tally,tag=fast,one-in=host,state={{"value": 40}}'
    with host(cli, "solo", "--resident", given) as (address, _):
        asked = Cli(cli.home, address)
        (record,) = asked("mesh", "services", "--tag", "fast", "--json").records
        assert record["paglet_id"] == "tally.solo"
        added = asked("op", "call", "tally.solo", "paglet.examples.counter.v1.CounterService/Add", '{"amount": 2}')
        assert '"42"' in added.out
