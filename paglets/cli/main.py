"""The command `paglets`: its nouns, and how errors end it. Importing it imports no gRPC, so that `--help` is quick."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import ClassVar, NoReturn

import click

from paglets.cli.failures import exit_code, show_error, show_failure
from paglets.cli.nouns import Nouns, check_settings
from paglets.cli.session import Session
from paglets.cli.settings import config_option
from paglets.errors import PagletError
from paglets.loop import interrupt

__all__ = ["main", "run"]

_INTERRUPTED, _TERMINATED = 130, 143


class _Paglets(Nouns):
    """All that `paglets` can do."""

    places: ClassVar = {
        "host": "paglets.cli.host:host",
        "mesh": "paglets.cli.mesh:mesh",
        "paglet": "paglets.cli.paglet:paglet",
        "op": "paglets.cli.op:op",
        "task": "paglets.cli.task:task",
        "artifact": "paglets.cli.artifact:artifact",
        "file": "paglets.cli.file:file",
        "search": "paglets.cli.search:search",
        "demo": "paglets.cli.demo:demo",
        "bench": "paglets.cli.bench:bench",
        "doctor": "paglets.cli.doctor:doctor",
        "version": "paglets.cli.version:version",
    }


@click.command(cls=_Paglets, params=[config_option()])
@click.pass_context
def root(context: click.Context) -> None:
    """A mesh of hosts on which paglets live: stateful Python objects that move with their files.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 64 + gRPC's status code for what a host refused, 130 interrupted, 143
    ended by SIGTERM.
    """
    if context.invoked_subcommand == "doctor":  # which tells what is wrong with the settings among other things
        return
    wrong = context.ensure_object(Session).wrong_settings
    if wrong is not None:
        raise wrong
    check_settings(context)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line, by default the process's own; returns the exit code."""
    # gRPC writes its own lines to stderr otherwise. It looks when it is imported, which is later.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    session = Session()
    try:
        code = root.main(
            args=arguments, prog_name="paglets", standalone_mode=False, auto_envvar_prefix="PAGLETS", obj=session
        )
    except click.ClickException as error:
        # An option that there is not is found before --json is read.
        given = sys.argv[1:] if arguments is None else arguments
        show_failure(error, as_json=session.json or "--json" in given)
        return error.exit_code
    except UnicodeEncodeError as error:  # what is sent to a host is text, and an argument may be any bytes
        wrong = click.UsageError(f"an argument holds bytes that are no UTF-8 text: {error.object!a}")
        show_failure(wrong, as_json=session.json)
        return wrong.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except (PagletError, OSError) as error:
        show_error(session, error)
        return exit_code(error)
    return code if isinstance(code, int) else 0


def main() -> NoReturn:
    """Runs the process's command line and ends the process with its exit code.

    SIGTERM interrupts a command as Ctrl-C does, so that it ends what it began; also one that a shell started in the
    background, where Ctrl-C is ignored. Those that run hosts have their own way.
    """
    terminated = False

    def terminate(_number: int, _frame: FrameType | None) -> None:
        nonlocal terminated
        terminated = True
        if not interrupt():
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    code = run()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what has ended cannot be interrupted any more
    sys.exit(_TERMINATED if terminated and code == _INTERRUPTED else code)
