"""`paglets task`: a task from its start to its end, without its classes, as people and programs see it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import Cli, host, until

pytestmark = pytest.mark.slow

STEPPER = "tests.host.stepper.Stepper"
ADD = "paglet.examples.counter.v1.CounterService/Add"
ONCE = "6a2f41a3-c54c-4c6c-9b5e-0c0f3f1d2b11"
_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A host that has the stepper."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(_ROOT))
        with host(Cli(home), "alpha", "--allow", "tests.host.stepper") as (address, _):
            yield Cli(home, address)


def _create(task: Cli, name: str) -> str:
    assert task("paglet", "create", STEPPER, "--id", name).code == 0
    return name


def test_life_of_a_task(task: Cli) -> None:
    """Started with a request in JSON, asked, stepped, waited for; each told as JSON."""
    name = _create(task, "life")
    new = task("task", "status", name, "--json").record
    assert (new["phase"], new["done"], new["revision"], new["progress"], new["result"]) == ("new", False, 1, None, None)
    started = task("task", "start", name, '"2"', "--json").record
    assert (started["phase"], started["host"], started["revision"]) == ("running", "alpha", 2)
    again = task("task", "start", name, '"2"')
    assert (again.code, "[TASK_RUNNING]" in again.err, "task cancel" in again.err) == (73, True, True)
    task("op", "call", name, ADD, '{"amount": 1}')
    detail = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "alpha"}
    progress = task("task", "status", name, "--json").record["progress"]
    assert (progress["done"], progress["total"], progress["detail"]) == (1, 0, detail)
    task("op", "call", name, ADD, '{"amount": 1}')
    ended = task("task", "wait", name, "--json").record
    assert (ended["phase"], ended["done"], ended["result"]["value"]) == ("completed", True, "2")
    shown = task("task", "status", name).out.splitlines()
    assert "phase      completed" in shown
    assert any(line.startswith("progress   2 {") for line in shown)


def test_watch_is_a_line_for_each_change(task: Cli) -> None:
    """A watch tells how the task stands and ends with it; another one may go on after a revision."""
    name = _create(task, "watched")
    with task.start("task", "watch", name, "--json") as watching:
        assert watching.stdout is not None
        assert '"phase": "new"' in watching.stdout.readline()
        assert task("task", "start", name, '"0"', "--request-id", ONCE).code == 0
        task("op", "call", name, ADD, '{"amount": 1}')
        assert '"phase": "completed"' in watching.stdout.read().splitlines()[-1]
        assert watching.wait() == 0
    (last,) = task("task", "watch", name, "--after", "2").out.splitlines()
    assert last.startswith(("3  completed  alpha", "4  completed  alpha"))
    revision = last.split()[0]
    assert task("task", "watch", name, "--after", revision, "--json").out == ""
    repeated = task("task", "start", name, '"0"', "--request-id", ONCE, "--json")
    assert repeated.record["phase"] == "running", "what was answered first"


def test_cancelled_task_ends_who_waits_with_its_error(task: Cli) -> None:
    """Cancelling is no failure of the command that does it, but of the commands that wait for the task's result."""
    name = _create(task, "cancelled")
    waiting = task.start("task", "start", name, '"9"', "--wait", "--json")
    until(lambda: task("task", "status", name, "--json").record["phase"] == "running", "the start")
    cancelled = task("task", "cancel", name, "--json")
    assert (cancelled.code, cancelled.record["cancelled"], cancelled.record["phase"]) == (0, True, "failed")
    out, err = waiting.communicate(timeout=30)
    assert (waiting.returncode, '"cancelled": true' in out, "TASK_CANCELLED" in err) == (65, True, True)
    watched = task("task", "watch", name)
    assert (watched.code, "failed  alpha" in watched.out, "[TASK_CANCELLED]" in watched.err) == (65, True, True)
    assert task("task", "cancel", name).code == 0


def test_ctrl_c_leaves_the_task_alone(task: Cli) -> None:
    """Who is interrupted while waiting for a task is told that it goes on, and how to come back to it."""
    name = _create(task, "interrupted")
    waiting = task.start("task", "start", name, '"9"', "--watch")
    assert waiting.stdout is not None
    assert "running  alpha" in waiting.stdout.readline()
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=30)
    assert (waiting.returncode, "the task goes on" in err, "Traceback" in err) == (130, True, False)
    assert task("task", "status", name, "--json").record["phase"] == "running"
    late = task("task", "wait", name, "--timeout", "200ms")
    assert (late.code, late.out, "has not ended in 0.2 s" in late.err) == (68, "", True)


def test_what_does_not_fit_is_said(task: Cli) -> None:
    """A request that is none, two ways to wait, and a paglet that has no task are told apart."""
    name = _create(task, "wrong")
    for arguments, code, said in (
        (("start", name, '{"amount": 1}'), 2, "does not fit google.protobuf.StringValue"),
        (("start", name, '"1"', "--wait", "--watch"), 2, "not both"),
        (("watch", name, "--after", "-1"), 2, "-1"),
        (("status", "nobody"), 69, "PAGLET_NOT_FOUND"),
        (("watch", "nobody"), 69, "PAGLET_NOT_FOUND"),
    ):
        ran = task("task", *arguments)
        assert (ran.code, ran.out, said in ran.err) == (code, "", True), ran.err
    assert task("task", "status", name, "--json").record["phase"] == "new"


def test_bar_on_a_terminal(task: Cli) -> None:
    """On a terminal a wait shows how far the task is, in the task's own measure."""
    name = _create(task, "drawn")
    assert task("task", "start", name, '"3"').code == 0
    task("op", "call", name, ADD, '{"amount": 2}')
    with task.start("op", "call", name, ADD, '{"amount": 1}') as stepping:
        code, drawn = task.on_terminal("task", "wait", name)
        assert stepping.wait() == 0
    assert (code, " on alpha" in drawn, "/?" in drawn, "completed" in drawn) == (0, True, True, True)
