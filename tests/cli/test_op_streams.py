"""`paglets op call` of streams: requests as they are given or as they come, replies as they come."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.cli.running import Cli, host
from tests.host.streamer import SERVICE, STREAMER_MODULE, STREAMER_TYPE

pytestmark = pytest.mark.slow

ID = "streamer"


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Asks a host that knows nothing of the streamer, which is on another one."""
    home = tmp_path_factory.mktemp("home")
    with (
        host(Cli(home), "alpha", "--allow", STREAMER_MODULE) as (alpha, _),
        host(Cli(home), "gamma", "--join", alpha) as (gamma, _),
    ):
        assert Cli(home, alpha)("paglet", "create", STREAMER_TYPE, "--id", ID).code == 0
        yield Cli(home, gamma)


def _replies(out: str) -> list[str]:
    return [json.loads(line) for line in out.splitlines()]


def test_replies_are_printed_one_a_line(cli: Cli) -> None:
    """With --json and without."""
    for options in ([], ["--json"]):
        ran = cli("op", "call", ID, f"{SERVICE}/Write", '"3"', *options)
        assert (ran.code, ran.err, _replies(ran.out)) == (0, "", ["0", "1", "2"])


@pytest.mark.parametrize(
    ("argument", "given", "count"),
    [(['"a" "b"\n"c"'], b"", 3), (["-"], b'"a"\n\n"b"', 2), ([], b"", 0), (["--lines"], b'"a"\n\n"b"', 2)],
)
def test_requests_of_a_stream_are_all_that_are_given(cli: Cli, argument: list[str], given: bytes, count: int) -> None:
    """One JSON value after another, from the command line, a file or standard input; by default none."""
    ran = cli.process("op", "call", ID, f"{SERVICE}/Collect", *argument, given=given)
    assert (ran.code, ran.err, json.loads(ran.out)) == (0, "", f"alpha:{count}")


def test_lines_are_sent_as_they_come(cli: Cli) -> None:
    """Each is answered before the next one is there, and Ctrl-C ends the call."""
    process = subprocess.Popen(
        cli.command("op", "call", ID, f"{SERVICE}/Chat", "--lines"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=cli.environment(None),
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text in ("a", "b"):
            process.stdin.write(f"{json.dumps(text)}\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == f"alpha:{text}"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


@pytest.mark.parametrize(
    ("name", "arguments", "given", "told"),
    [
        ("Collect", ['"a" {"b": 1}'], b"", "does not fit google.protobuf.StringValue"),
        ("Collect", ["--lines"], b'"a"\n{"b": 1}\n"c"\n', "does not fit google.protobuf.StringValue"),
        ("Collect", ["--lines"], b"\xff\n", "no text in UTF-8"),
        ("Collect", ['"a"', "--lines"], b"", "give no JSON beside it"),
        ("Collect", ["--request-id", "r"], b"", "cannot be run once"),
        ("Follow", ['"0" "1"'], b"", "takes one request, 2 are given"),
        ("Follow", ["--lines"], b'"0"\n', "takes one request, and no --lines"),
        ("Hold", ["--lines"], b'"0"\n', "takes one request, and no --lines"),
    ],
)
def test_what_does_not_fit_is_wrong_usage(cli: Cli, name: str, arguments: list[str], given: bytes, told: str) -> None:
    """It is said what was expected; nothing was added."""
    before = cli("paglet", "state", ID, "--json").out
    ran = cli.process("op", "call", ID, f"{SERVICE}/{name}", *arguments, given=given)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert "Traceback" not in ran.err
    assert cli("paglet", "state", ID, "--json").out == before


def test_stream_is_not_posted(cli: Cli) -> None:
    """By the command, and by any other client."""
    ran = cli("op", "post", ID, f"{SERVICE}/Collect", '"a"')
    assert ran.code == 2
    assert "is a stream, which cannot be posted" in ran.err


def test_error_of_a_stream_comes_after_its_replies(cli: Cli) -> None:
    """With the exit code of its status."""
    ran = cli("op", "call", ID, f"{SERVICE}/Fail", '"not there"')
    assert (ran.code, _replies(ran.out)) == (69, ["first"])
    assert "not there" in ran.err


def test_stream_takes_as_long_as_it_takes_unless_it_is_said(cli: Cli) -> None:
    """--timeout bounds it."""
    ran = cli("op", "call", ID, f"{SERVICE}/Follow", '"100000"', "--timeout", "0.5")
    assert (ran.code, ran.out) == (68, "")
