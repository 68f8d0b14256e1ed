"""`paglets host`: a host that is started, says so, ends; the hosts of a mesh."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from tests.cli.conftest import Mesh
from tests.cli.running import PATIENCE_S, Cli, host, until


@pytest.mark.slow
def test_ready_line_is_the_only_one_on_stdout(cli: Cli) -> None:
    """With --json one line says name, address and process; the host answers there, and ends well on SIGTERM."""
    process = cli.start("host", "serve", "--name", "solo", "--data", "data", "--listen", "127.0.0.1:0", "--json")
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert (ready["event"], ready["name"], ready["pid"]) == ("ready", "solo", process.pid)
    asked = Cli(cli.home, ready["address"])("mesh", "ls", "--json")
    assert [found["name"] for found in asked.records] == ["solo"]
    process.terminate()
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (0, "", "")
    assert (cli.home / "data").is_dir()


@pytest.mark.slow
def test_people_are_told_on_stderr(cli: Cli) -> None:
    """Without --json a sentence on stderr says where the host serves, and stdout stays empty; Ctrl-C ends it."""
    process = cli.start("host", "serve", "--name", "solo", "--data", "data", "--listen", "127.0.0.1:0")
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "host solo serves at 127.0.0.1:" in line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.slow
def test_default_folder_is_among_the_users_own(cli: Cli) -> None:
    """Without --data a host keeps its things in the user's state folder, under its name."""
    process = cli.start("host", "serve", "--name", "solo", "--listen", "127.0.0.1:0", "--json")
    with process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["name"] == "solo"
        process.terminate()
    assert (cli.home / "state" / "paglets" / "solo").is_dir()


@pytest.mark.slow
def test_host_takes_as_many_connections_as_it_was_told_to(cli: Cli) -> None:
    """The option, or the configuration file, bounds them; a command that is refused says that no host answers."""
    config = cli.home / "config" / "paglets" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("[host.serve]\nmax_connections = 1\n")
    with host(cli, "solo") as (address, _):
        asking = Cli(cli.home, address)
        name, port = address.split(":")
        with socket.create_connection((name, int(port)), PATIENCE_S) as only:
            assert only.recv(1)
            refused = asking("mesh", "ls")
        assert (refused.code, refused.out) == (78, "")
        assert f"no host answers at {address}" in refused.err
        until(lambda: asking("mesh", "ls").code == 0, "the host to see that the connection is closed")


@pytest.mark.slow
def test_tags_and_properties_from_the_configuration_file(cli: Cli) -> None:
    """The file says them as lists; what the command line gives takes the place of the list."""
    config = cli.home / "config" / "paglets" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[host.serve]\ntags = ["gpu", "fast"]\nproperties = ["rack=7", "site=lab"]\n')
    with host(cli, "solo", "--tag", "slow") as (address, _):
        told = Cli(cli.home, address)("host", "show", "--json").record
    assert (told["tags"], told["properties"]) == (["slow"], {"rack": "7", "site": "lab"})


def test_property_that_the_configuration_file_gives_twice(cli: Cli) -> None:
    """It is refused as on the command line."""
    config = cli.home / "config.toml"
    config.write_text('[host.serve]\nproperties = ["rack=7", "rack=8"]\n')
    ran = cli("--config", str(config), "host", "serve", "--name", "solo")
    assert (ran.code, "'rack' is given twice" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--listen", "0.0.0.0:0"], 71, "--insecure"),
        (["--listen", "nowhere"], 2, "--listen"),
        (["--name", "No Good"], 67, "name"),
        (
            ["--allow", "no.such.module"],
            67,
            "module no.such.module cannot be imported: No module named 'no'; install it",
        ),
        (["--allow", ".."], 67, "identifiers"),
        (["--file-root", "/nowhere"], 2, "/nowhere"),
        (["--max-connections", "0"], 2, "--max-connections"),
        (["--tag", "No Tag"], 67, "host.tags"),
        (["--property", "rack"], 2, "KEY=VALUE"),
        (["--property", "rack=7", "--property", "rack=8"], 2, "--property': 'rack' is given twice"),
        (["--property", "No Key=7"], 67, "host.properties"),
    ],
)
def test_refusal_to_start_says_what_to_change(cli: Cli, options: list[str], code: int, told: str) -> None:
    """A host that cannot be started as asked ends with a sentence that names the option."""
    ran = cli("host", "serve", "--name", "solo", "--data", "data", "--listen", "127.0.0.1:0", *options)
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err
    assert "Traceback" not in ran.err


_BROKEN = ("host", "serve", "--name", "solo", "--data", "data", "--listen", "127.0.0.1:0", "--allow", "broken_shop")
_COUNTER = "from paglets.examples.counter import Counter\n\n"
_PAGLET = "from paglets.core.paglet import Paglet\n\n"
_TILL = "def open_till():\n    return {}['money']\n\nopen_till()\n"
_ADD = "Shop must answer paglet.examples.counter.v1.CounterService/Add by"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (f"{_COUNTER}class Shop(Counter):\n    add = None\n", f"TypeError: {_ADD} `def add("),
        (f"{_COUNTER}class Shop(Counter):\n    add = None\n", "it has no such method, at {path}:3;"),
        (f"{_COUNTER}class Shop(Counter):\n    State = dict\n", "class dict must be a dataclass, at {path}:3;"),
        (_TILL, "KeyError: 'money', at {path}:2;"),
        ("import no_such_till\n", "No module named 'no_such_till', at {path}:1;"),
        ("class Shop\n", "SyntaxError: expected ':' (broken_shop.py, line 1);"),
        ("import sys\nsys.exit('closed')\n", "SystemExit: closed, at {path}:2;"),
        ("raise ValueError('two\\nlines')\n", r"ValueError: two\nlines, at {path}:1;"),
        (_COUNTER, "defines no paglet type; allow the module"),
        (f"{_PAGLET}class Shop(Paglet):\n    pass\n", "class Shop says no state: write class Shop(Paglet[ShopState])"),
    ],
)
def test_module_that_cannot_be_allowed_is_told(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, source: str, told: str
) -> None:
    """What is wrong with it, and where: in a line, whatever its author's code raises."""
    path = cli.home / "broken_shop.py"
    path.write_text(source)
    monkeypatch.setattr(sys, "path", [str(cli.home), *sys.path])
    monkeypatch.delitem(sys.modules, "broken_shop", raising=False)
    importlib.invalidate_caches()
    ran = cli(*_BROKEN)
    assert (ran.code, ran.out, ran.err.count("\n")) == (67, "", 1)
    assert "module broken_shop" in ran.err
    assert told.format(path=path) in ran.err


@pytest.mark.slow
def test_module_that_cannot_be_allowed_is_told_to_programs(cli: Cli) -> None:
    """As any other refusal: with its reason, and which module it is."""
    (cli.home / "broken_shop.py").write_text(_TILL)
    ran = cli.process(*_BROKEN, "--json", env={"PYTHONPATH": str(cli.home)})
    error = json.loads(ran.err)["error"]
    assert (ran.code, error["reason"], error["metadata"]) == (67, "MALFORMED_REQUEST", {"module": "broken_shop"})
    assert "KeyError: 'money'" in error["message"]


@pytest.mark.slow
def test_traceback_of_a_module_is_in_the_debug_log(cli: Cli) -> None:
    """For what the place of an error does not explain."""
    (cli.home / "broken_shop.py").write_text(_TILL)
    ran = cli.process(*_BROKEN, "--log-level", "debug", env={"PYTHONPATH": str(cli.home)})
    assert ran.code == 67
    assert "Traceback" in ran.err
    assert ", in open_till" in ran.err


def test_taken_port_is_told(cli: Cli) -> None:
    """A port where another process listens is an error that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ran = cli("host", "serve", "--name", "solo", "--data", "data", "--listen", address)
    assert ran.code == 78
    assert address in ran.err


@pytest.mark.slow
def test_taken_data_folder_is_told(cli: Cli) -> None:
    """A second host on the same folder is refused, with what to do."""
    with host(cli, "solo"):
        ran = cli("host", "serve", "--name", "solo", "--data", "solo", "--listen", "127.0.0.1:0")
    assert ran.code == 73
    assert "--data" in ran.err


@pytest.mark.slow
def test_host_started_by_a_program_ends_with_it(cli: Cli) -> None:
    """With --until-eof a host ends by itself when the other end of its standard input is closed."""
    with subprocess.Popen(
        cli.command(
            "host", "serve", "--name", "solo", "--data", "data", "--listen", "127.0.0.1:0", "--json", "--until-eof"
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=cli.environment(None),
        cwd=cli.home,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert b"ready" in process.stdout.readline()
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.slow
def test_show_for_people_and_programs(mesh: Mesh) -> None:
    """A host with all that it says of itself; without a name the one that is asked."""
    told = mesh.cli("host", "show", "beta", "--json").record
    assert (told["name"], told["address"], told["state"]) == ("beta", mesh.beta, "online")
    assert (told["tags"], told["properties"]) == (["fast", "gpu"], {"rack": "7", "site": "lab"})
    assert "paglets.examples.counter.Counter" in told["types"]
    lines = mesh.cli("host", "show", "beta").out.splitlines()
    assert "tags        fast gpu" in lines
    assert "properties  rack=7 site=lab" in lines
    assert mesh.cli("host", "show", "--json").record["name"] == "alpha"
    absent = mesh.cli("host", "show", "gamma")
    assert (absent.code, absent.out, "paglets mesh ls" in absent.err) == (69, "", True)


@pytest.mark.slow
def test_ctrl_c_is_130(mesh: Mesh) -> None:
    """A command that is interrupted while it waits ends with 130, says nothing more, and leaves no process."""
    stopped = host(Cli(mesh.cli.home), "stopped", "--join", mesh.alpha)
    with stopped as (address, process):
        os.kill(process.pid, signal.SIGSTOP)
        try:
            asking = Cli(mesh.cli.home, address).start("mesh", "ls")
            until(lambda: _connected(asking.pid, address), "a connection to the stopped host")
            asking.send_signal(signal.SIGINT)
            out, err = asking.communicate(timeout=PATIENCE_S)
        finally:
            os.kill(process.pid, signal.SIGCONT)
    assert (asking.returncode, out, err.strip()) == (130, "", "")


def _connected(pid: int, address: str) -> bool:
    port = int(address.rpartition(":")[2])
    return any(found.raddr and found.raddr.port == port for found in psutil.Process(pid).net_connections())
