"""The promises of ownership hold in every world within the bounds, and each guard is there for one of them.

The bounds: two or three hosts; up to two faults (a kill, or a stop for longer than a lease) and one write to the
directory or offer without an answer, which lands at any time later or never; one or two operations and request ids.
Epochs need none: they grow with operations and faults. Every host may be started again, which is no fault.
"""

import re
import sys
from pathlib import Path

import pytest

from paglets.host.host import HOST_POINTS
from tests.model.search import DEAD, LOST, NO_COPY, NOT_ITS_OWN, TWICE, TWO_LIVE, UNTRUE, search
from tests.model.world import Model

pytestmark = pytest.mark.slow


def does(*operations: str) -> frozenset[str]:
    """The operations that a model is about."""
    return frozenset(operations)


SMALL = {
    "a journey": Model(reads=True),
    "a journey there and back": Model(operations=2, faults=0),
    "journeys among three": Model(hosts=3, operations=2, faults=0),
    "two hosts create": Model(does=does("create", "dispose")),
    "a clone": Model(does=does("clone"), writes=2),
    "a clone is asked for again": Model(does=does("clone"), operations=2),
    "a clone ends, also on its way": Model(does=does("clone", "dispose"), operations=2),
    "it sleeps and wakes": Model(does=does("deactivate"), operations=2, writes=2),
    "it ends": Model(does=does("dispose"), operations=2, writes=2, reads=True),
    "an operator takes over": Model(does=does("dispatch", "take over")),
    "all of a life": Model(does=does("dispatch", "deactivate", "dispose"), operations=2, faults=0),
}
LARGE = {
    "a journey, two requests": Model(writes=2),
    "journeys among three, with a fault": Model(hosts=3, operations=2, faults=1),
    "journeys among three, with two faults": Model(hosts=3, operations=2, lost=0),
    "all of a life, with a fault": Model(does=does("dispatch", "deactivate", "dispose"), operations=2, faults=1),
}

THERE_AND_BACK = Model(operations=2, faults=0)
GUARDS = [
    ("a running turn ends first", Model(), LOST),
    ("the gate is closed during a journey", Model(), LOST),
    ("reads are interrupted", Model(reads=True), NOT_ITS_OWN),
    ("a reply waits for its commit", Model(), LOST),
    ("state and reply are one commit", Model(), TWICE),
    ("stored replies travel", Model(), TWICE),
    ("an offer needs its intent", Model(), LOST),
    ("a commit needs the seal", Model(), NO_COPY),
    ("giving up is a write", Model(), TWO_LIVE),
    ("giving up raises the epoch", Model(faults=0), DEAD),
    ("an intent freezes", Model(), TWO_LIVE),
    ("forgetting waits for the outcome", Model(), NO_COPY),
    ("forgetting spares a later life", THERE_AND_BACK, NO_COPY),
    ("the directory's word lets arrive", Model(), NOT_ITS_OWN),
    ("the directory's word lets drop", Model(), NO_COPY),
    ("the row is read before the record", Model(), NO_COPY),
    ("an arrival that was told late is loaded", Model(faults=1), DEAD),
    ("an outcome is read, not guessed", Model(), NO_COPY),
    ("a write names the epoch", Model(faults=0), DEAD),
    ("a write names the epoch", Model(does=does("dispose")), NOT_ITS_OWN),
    ("a write names the intent", THERE_AND_BACK, NO_COPY),
    ("a restart raises the epoch", Model(faults=1), DEAD),
    ("a restart raises the epoch", Model(does=does("dispose")), NOT_ITS_OWN),
    ("a fenced raise reads again", Model(does=does("dispose")), DEAD),
    ("who cannot end it lets it go", Model(does=does("create", "dispose")), NOT_ITS_OWN),
    ("a turn that outlives its paglet is fenced", Model(does=does("dispose")), NOT_ITS_OWN),
    ("an insert names the tombstone", Model(does=does("create", "dispose")), NO_COPY),
    ("an insert names the tombstone", Model(does=does("clone")), NO_COPY),
    ("a cut creation is buried", Model(does=does("create")), NO_COPY),
    ("a cut creation is buried", Model(does=does("clone")), NO_COPY),
    ("a cut rest is finished", Model(does=does("deactivate"), faults=1), UNTRUE),
    ("a waking that lands late is taken back", Model(does=does("deactivate"), faults=1), DEAD),
]
"""What is taken away, where, and the promise that is broken then."""

SPARE = [
    ("the source's lease has lapsed", Model(does=does("dispatch", "take over"), faults=1)),
    ("a write names the owner", Model(does=does("dispatch", "deactivate", "dispose"), operations=2, faults=0)),
    ("an activation raises the epoch", Model(does=does("deactivate"), operations=2)),
    ("a deactivation raises the epoch", Model(does=does("dispatch", "deactivate"), operations=2, faults=0)),
]
"""What may go: a lease says when to look, an epoch has one owner; a rest and a waking raise the epoch both."""

LEFT_OUT = {
    "journey.prepare",  # the source hears of an offer, and of pushed files: nothing of ownership
    "journey.push",
    "journey.forget.sources",
    "arrival.turn",  # nothing is durable until it is settled
    "post.keep",  # posts are rows of the journal that go where the paglet goes
    "post.run",
    "post.fail",
    "post.drop",
    "post.replay",
    "outbox.send",  # so are those that a paglet made, until they are acknowledged
    "outbox.drop",
    "clone.journal",  # a clone is a paglet that is inserted and has one journey: what follows is a journey's
    "clone.intent",
    "clone.commit",
    "clone.forget",
    "clone.abort",
    "clone.abort.directory",
}


@pytest.mark.parametrize("name", SMALL)
def test_the_promises_hold(name: str) -> None:
    """No interleaving within the bounds breaks a promise, and from each a live owner can be reached."""
    found = search(SMALL[name])
    assert not found.broken, str(found)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", LARGE)
def test_the_promises_hold_in_larger_worlds(name: str) -> None:
    """No interleaving within the wider bounds breaks a promise."""
    found = search(LARGE[name])
    assert not found.broken, str(found)


@pytest.mark.parametrize(
    ("guard", "model", "promise"),
    [pytest.param(*found, id=f"{found[0]}, {'+'.join(sorted(found[1].does))}: {found[2]}") for found in GUARDS],
)
def test_each_guard_is_needed(guard: str, model: Model, promise: str) -> None:
    """Without the guard there is a shortest trace to a broken promise."""
    found = search(model._replace(without=guard))
    sys.stdout.write(f"without {guard!r}: {found}\n")
    assert found.broken == promise, str(found)


@pytest.mark.parametrize(("guard", "model"), [pytest.param(*found, id=found[0]) for found in SPARE])
def test_nothing_depends_on_what_is_spare(guard: str, model: Model) -> None:
    """Without it every promise holds all the same."""
    found = search(model._replace(without=guard))
    assert not found.broken, str(found)


def test_every_guard_is_taken_away_once() -> None:
    """The model asks for no guard that no test takes away."""
    texts = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py")]
    asked = set(re.findall(r'model\.has\("([^"]+)"\)', "".join(texts)))
    assert asked == {guard for guard, *_ in [*GUARDS, *SPARE]}


def test_the_steps_are_those_of_the_code() -> None:
    """Every named point of a host is one of a step that the model takes, but for those that decide nothing."""
    models = (Model(faults=1), Model(does=does("create", "dispose", "deactivate"), operations=2, faults=1))
    taken = frozenset[str]().union(*(search(model).names for model in models))
    points = {re.sub(r"\.(before|after)$", "", point) for point in HOST_POINTS}
    assert points - {re.sub(r"\.before$", "", name) for name in taken} == LEFT_OUT
