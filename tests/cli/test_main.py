"""What holds for every command: help, versions, settings, exit codes, and how errors are told."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.running import Cli, environment

NOUNS = ("host", "mesh", "paglet", "op", "task", "artifact", "file", "demo", "doctor", "version")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], *([noun, "--help"] for noun in NOUNS), ["host", "serve", "--help"]])
def test_help_imports_no_grpc(tmp_path: Path, arguments: list[str]) -> None:
    """Help is told without gRPC, protobuf or rich being imported."""
    code = (
        "import sys; from paglets.cli.main import run; "
        f"code = run({arguments!r}); "
        "found = {name.partition('.')[0] for name in sys.modules} & {'grpc', 'google', 'rich', 'paglet'}; "
        "sys.exit(code or str(found) if found else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(tmp_path), check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: paglets" in done.stdout


def test_help_lists_every_command(cli: Cli) -> None:
    """All commands have a line in the help, with what they are for."""
    ran = cli("--help")
    assert ran.code == 0
    listed = {line.split()[0]: line.split(maxsplit=1)[1] for line in ran.out.splitlines() if line.startswith("  ")}
    assert all(listed[noun] for noun in NOUNS)


def test_version(cli: Cli) -> None:
    """The version is that of the installed package; JSON has one object."""
    ran = cli("version", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.record["paglets"] == version("paglets-grpc")
    assert ran.record["protocol"] == "paglet.v1"
    assert version("paglets-grpc") in cli("version").out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nope"], "No such command 'nope'"),
        (["paglet", "nope"], "No such command 'nope'"),
        (["paglet", "show"], "Missing argument 'ID'"),
        (["paglet", "show", "x", "--nope"], "No such option '--nope'"),
        (["--timeout", "0", "mesh", "ls"], "0"),
        (["--timeout", "nan", "mesh", "ls"], "'nan' is not above 0"),
        (["mesh", "ls", "--timeout", "inf"], "'inf' is not above 0"),
        (["mesh", "ls", "--timeout", "soon"], "'soon' is no span of time"),
        (["artifact", "put", "-", "--ttl", "99999999999999w"], "too long"),
        (["host", "serve", "--artifact-quota", "much"], "'much' is no size"),
        (["artifact", "put", "/nowhere"], "does not exist"),
        (["artifact", "put", "-", "--ttl", "soon"], "'soon' is no span of time"),
        (["artifact", "put", "-", "--label", "x"], "'x' is no label"),
        (["--config", "/nowhere.toml", "mesh", "ls"], "does not exist"),
        (["--host", "127.0.0.1:99999", "mesh", "ls"], "port"),
        (["mesh", "ls", "--host", "127.0.0.1:0"], "port"),
        (["mesh", "ls", "--host", "127.0.0.1"], "port"),
        (["mesh", "ls", "--host", ":7600"], "NAME:PORT"),
        (["host", "serve", "--join", "127.0.0.1:65536"], "--join"),
        (["host", "serve", "--listen", "127.0.0.1:65536"], "--listen"),
        (["host", "serve", "--listen", "7600"], "--listen"),
        (["op", "call", "x", "y/z", "@not-utf8"], "not-utf8 is no text in UTF-8"),
        (["op", "call", "x", "y/z", "-"], "standard input is no text in UTF-8"),
    ],
)
def test_wrong_usage_is_2(cli: Cli, arguments: list[str], told: str) -> None:
    """Wrong usage ends with 2, says what is wrong on stderr, and leaves stdout alone."""
    (cli.home / "not-utf8").write_bytes(b'"\xff"')
    ran = cli(*arguments, given=b'"\xff"')
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert "Traceback" not in ran.err
    in_json = cli(*arguments, "--json", given=b'"\xff"')
    error = json.loads(in_json.err)["error"]
    assert (in_json.code, in_json.out, error["code"], error["reason"]) == (
        2,
        "",
        "INVALID_ARGUMENT",
        "MALFORMED_REQUEST",
    )
    assert told in error["message"]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["op", "call", "x", "y/z", "-"], ["paglet", "create", "x.Y", "--state", "-"]])
def test_closed_standard_input_is_wrong_usage(cli: Cli, arguments: list[str]) -> None:
    """A command that is to read standard input and has none says so."""
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *cli.command(*arguments)],
        capture_output=True,
        text=True,
        env=cli.environment(None),
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "standard input is closed" in done.stderr
    assert "Traceback" not in done.stderr


def test_failure_of_the_machine_is_json_too(cli: Cli) -> None:
    """A file that cannot be read ends with 1; with --json, in JSON."""
    ran = cli("op", "call", "x", "y/z", "@nowhere", "--json")
    assert (ran.code, ran.out) == (1, "")
    assert "nowhere" in json.loads(ran.err)["error"]["message"]


def test_no_host_is_told_with_what_to_do(cli: Cli) -> None:
    """Where no host is, the command ends at once with 64 + UNAVAILABLE and says how to start one."""
    ran = cli("--host", "127.0.0.1:1", "mesh", "ls")
    assert (ran.code, ran.out) == (78, "")
    assert "no host answers at 127.0.0.1:1" in ran.err
    assert "paglets host serve" in ran.err
    assert "PAGLETS_HOST" in ran.err
    assert ran.err.endswith("\n`paglets doctor` looks for the cause.\n")


def test_error_is_json_where_json_is_asked_for(cli: Cli) -> None:
    """With --json an error is one object on stderr, and stdout stays empty."""
    ran = cli("mesh", "ls", "--json", env={"PAGLETS_HOST": "127.0.0.1:1"})
    assert (ran.code, ran.out) == (78, "")
    error = json.loads(ran.err)["error"]
    assert (error["code"], error["reason"]) == ("UNAVAILABLE", "TRANSPORT")


def test_argument_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    """The address is taken from the first place that gives one; the error names it."""
    config = tmp_path / "config" / "paglets" / "config.toml"
    config.parent.mkdir(parents=True)
    cli = Cli(tmp_path)
    assert "[default: 127.0.0.1:7600]" in cli("--help").out
    config.write_text('[client]\nhost = "127.0.0.1:2"\n')
    assert "at 127.0.0.1:2" in cli("mesh", "ls").err
    assert "at 127.0.0.1:3" in cli("mesh", "ls", env={"PAGLETS_HOST": "127.0.0.1:3"}).err
    assert "at 127.0.0.1:4" in cli("--host", "127.0.0.1:4", "mesh", "ls", env={"PAGLETS_HOST": "127.0.0.1:3"}).err
    assert "at 127.0.0.1:5" in cli("--host", "127.0.0.1:4", "mesh", "ls", "--host", "127.0.0.1:5").err
    other = tmp_path / "other.toml"
    other.write_text('[client]\nhost = "127.0.0.1:6"\njson = true\n')
    assert "at 127.0.0.1:6" in json.loads(cli("mesh", "ls", env={"PAGLETS_CONFIG": str(other)}).err)["error"]["message"]


def test_settings_of_one_command_come_from_its_table(tmp_path: Path) -> None:
    """A table named after a command gives its options; the environment gives them too."""
    config = tmp_path / "config.toml"
    config.write_text('[host.serve]\nlisten = "192.0.2.1:7600"\n')
    cli = Cli(tmp_path)
    assert "192.0.2.1:7600" in cli("--config", str(config), "host", "serve", "--name", "a").err
    listen = {"PAGLETS_HOST_SERVE_LISTEN": "192.0.2.2:7600"}
    assert "192.0.2.2:7600" in cli("--config", str(config), "host", "serve", "--name", "a", env=listen).err


@pytest.mark.parametrize(
    ("text", "arguments", "told"),
    [
        ("host = ", ["version"], "cannot be read"),
        ('host = "x"', ["version"], "outside of a table"),
        ("[client]\nhots = 1\n", ["version"], "hots"),
        ("[paglet.shwo]\n", ["paglet", "ls"], "shwo"),
        ("[host.serve]\nlissten = 1\n", ["host", "serve"], "lissten"),
        ("[host]\nserve = 1\n", ["host", "serve"], "it is a table: the options of `paglets host serve`"),
        ("[client]\nversion = 1\n", ["version"], "it is a table"),
        (
            "[client]\nhots = 1\n",
            ["version"],
            "which knows artifact, bench, config, demo, doctor, file, host, json, mesh",
        ),
    ],
)
def test_setting_that_nothing_would_read_is_refused(cli: Cli, text: str, arguments: list[str], told: str) -> None:
    """A mistake in the configuration file is wrong usage that names it, not silence."""
    config = cli.home / "config.toml"
    config.write_text(text)
    ran = cli("--config", str(config), *arguments)
    assert ran.code == 2
    assert told in ran.err


@pytest.mark.slow
def test_grpc_is_kept_quiet_unless_told_otherwise(cli: Cli) -> None:
    """GRPC's own log lines do not reach stderr; GRPC_VERBOSITY of the user's wins."""
    code = "import os; from paglets.cli.main import run; run(['version']); print(os.environ['GRPC_VERBOSITY'])"
    for given, wanted in ((None, "NONE"), ("debug", "debug")):
        env = environment(cli.home, **({"GRPC_VERBOSITY": given} if given else {}))
        if given is None:
            env.pop("GRPC_VERBOSITY", None)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
        assert done.stdout.splitlines()[-1] == wanted


def test_argument_that_is_no_text_is_wrong_usage(cli: Cli) -> None:
    """What is sent to a host is text: bytes that are none are told as wrong usage, before anything is done."""
    ran = cli.process("demo", "--json", "nowhere\udcff")
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err
