"""Runs the command line and shows what its users see: what is on stdout, what on stderr, and the exit code.

`Cli.process` and `Cli.start` make a process of it, as users do; calling a `Cli` runs the same function in this process,
which is much quicker. Hosts are always processes.
"""

from __future__ import annotations

import errno
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from paglets.cli.main import run

PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def record(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        (line,) = self.out.splitlines()
        found: dict[str, Any] = json.loads(line)
        return found

    @property
    def records(self) -> list[dict[str, Any]]:
        """The JSON objects on stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment with nothing of the user's own, and more."""
    foreign = ("PAGLETS_", "NO_COLOR", "FORCE_COLOR")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    folders = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "XDG_STATE_HOME": str(home / "state")}
    return {**own, **folders, "COLUMNS": "120", **more}


@dataclass(frozen=True, slots=True)
class Cli:
    """The command `paglets`, run at home in `home`, asking `address` unless told otherwise."""

    home: Path
    address: str = ""

    def __call__(self, *arguments: str, given: str | bytes = b"", env: Mapping[str, str] | None = None) -> Ran:
        """Runs one command to its end, in this process."""
        wanted = self.environment(env)
        changes = {**{name: None for name in os.environ if name not in wanted}, **wanted}
        with CliRunner().isolation(given, env=changes) as (out, err, _), chdir(self.home):
            code = run(arguments)
        return Ran(code, out.getvalue().decode(), err.getvalue().decode())

    def process(self, *arguments: str, given: bytes = b"", env: Mapping[str, str] | None = None) -> Ran:
        """Runs one command to its end, as a process."""
        done = subprocess.run(
            self.command(*arguments),
            input=given,
            capture_output=True,
            env=self.environment(env),
            cwd=self.home,
            timeout=PATIENCE_S,
            check=False,
        )
        return Ran(done.returncode, done.stdout.decode(errors="surrogateescape"), done.stderr.decode())

    def on_terminal(self, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Runs one command with a terminal as its standard streams; the exit code, and all that was drawn."""
        master, slave = pty.openpty()
        process = subprocess.Popen(
            self.command(*arguments),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**self.environment(env), "TERM": "xterm-256color"},
            cwd=self.home,
        )
        os.close(slave)
        drawn = bytearray()
        try:
            while piece := os.read(master, 65536):
                drawn += piece
        except OSError as error:
            if error.errno != errno.EIO:  # how a terminal says that nobody is there any more
                raise
        finally:
            os.close(master)
        return process.wait(PATIENCE_S), drawn.decode()

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Starts one command."""
        return subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(env),
            cwd=self.home,
            text=True,
        )

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "paglets", *arguments]

    def environment(self, env: Mapping[str, str] | None) -> dict[str, str]:
        """What the command finds in its environment."""
        asked = {"PAGLETS_HOST": self.address} if self.address else {}
        return environment(self.home, **{**asked, **(env or {})})


@contextmanager
def host(
    cli: Cli, name: str, *options: str, env: Mapping[str, str] | None = None
) -> Generator[tuple[str, subprocess.Popen[str]]]:
    """A host of its own process; yields where it listens, and ends it."""
    data = str(cli.home / name)
    with (cli.home / f"{name}.log").open("a") as log:
        process = subprocess.Popen(
            cli.command("host", "serve", "--name", name, "--data", data, "--listen", "127.0.0.1:0", "--json", *options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=cli.environment(env),
            text=True,
        )
    with process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            assert ready["event"] == "ready"
            yield ready["address"], process
        finally:
            process.terminate()


def until(holds: Callable[[], object], what: str) -> None:
    """Waits until something holds; fails when it does not for too long."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"waited {PATIENCE_S} s in vain for {what}"
        time.sleep(0.01)
