"""Whether something reads all that the configuration file and the environment say, and takes it as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

import click

from paglets.cli.checks.finding import Finding, failed, ok, warning
from paglets.cli.host import default_data, host, serve
from paglets.cli.nouns import check_settings
from paglets.cli.session import Session
from paglets.cli.settings import default_settings
from paglets.cli.store_options import store_settings
from paglets.config import HostSettings
from paglets.errors import PagletError
from paglets.server import require_private

__all__ = ["environment", "refused", "settings", "wanted_host"]

_FAULTS = ("PAGLETS_FAULT", "PAGLETS_FAULT_LOG")
"""Of which the command line knows nothing: see `paglets.faults`."""


def settings(root: click.Context) -> Iterator[Finding]:
    """What the configuration file says that nothing would read, or that it cannot be read."""
    session = root.ensure_object(Session)
    path = session.settings
    if session.wrong_settings is not None:
        yield _wrong(session.wrong_settings)
    elif path is None:
        yield ok("settings", f"there is no {default_settings()}: all options are as told by --help")
    else:
        wrong = [_wrong(error) for context in _contexts(root) if (error := _stray(context))]
        yield from wrong or [ok("settings", f"read from {path}")]


def _wrong(error: click.UsageError) -> Finding:
    return failed("settings", error.format_message(), "Correct that file, or give another one with --config.")


def _stray(context: click.Context) -> click.UsageError | None:
    try:
        check_settings(context)
    except click.UsageError as error:
        return error
    return None


def environment(root: click.Context) -> Iterator[Finding]:
    """Which variables are set that nothing reads, or that are not for everyday use."""
    given = sorted(name for name in os.environ if name.startswith("PAGLETS_"))
    known = {name for context in _contexts(root) for name in _variables(context)}
    for name in given:
        if name in _FAULTS:
            yield warning("environment", f"{name} is set: hosts started here end or stop, for tests", f"unset {name}")
        elif name not in known:
            meant = get_close_matches(name, known, n=1)
            yield warning(
                "environment",
                f"nothing reads {name}",
                f"Set {meant[0]}, if that is meant, or unset it." if meant else f"unset {name}",
            )
    if known.issuperset(given):
        yield ok("environment", f"{', '.join(given) or 'no PAGLETS_ variable'} is set")


def _variables(context: click.Context) -> Iterator[str]:
    """The variables that give the options of a command."""
    for option in context.command.get_params(context):
        if isinstance(option, click.Option) and option.name:
            if isinstance(option.envvar, str):
                yield option.envvar
            if option.allow_from_autoenv:
                yield f"{context.auto_envvar_prefix}_{option.name.upper()}"


def _contexts(context: click.Context) -> Iterator[click.Context]:
    """The command, then all below it: each with what the configuration file says to it."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None:
                below = click.Context(command, parent=context, info_name=name)
                if not isinstance(below.default_map or {}, dict):  # which is told of the command above
                    below.default_map = None
                yield from _contexts(below)


def wanted_host(root: click.Context, options: Sequence[str]) -> HostSettings:
    """What `paglets host serve` would make of these options, the environment and the file, as far as it is looked at.

    Raises UsageError, INVALID_ID, INSECURE_LISTEN.
    """
    noun = click.Context(host, parent=root, info_name="host")
    check_settings(noun)
    context = serve.make_context("serve", list(options), parent=noun)
    given = context.params
    wanted = HostSettings(
        name=given["name"],
        data=given["data"] or default_data(given["name"]),
        listen=given["listen"],
        insecure=given["insecure"],
        max_connections=given["max_connections"],
        store=store_settings(context),
    )
    if not wanted.insecure:
        require_private(wanted)
    return wanted


def refused(error: click.UsageError | PagletError) -> Finding:
    """What a failure of `wanted_host` is told as."""
    why = error.format_message() if isinstance(error, click.UsageError) else error.message
    return failed(
        "settings",
        f"`paglets host serve` would refuse what it is given: {why}",
        "Correct it, then look again: data folder and address were not looked at.",
    )
