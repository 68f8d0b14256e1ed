"""The configuration file: what options are when neither the command line nor the environment gives them.

[client]                       # what stands before the noun
host = "127.0.0.1:7600"

[host.serve]                   # the options of one command
allow = ["shop.paglets"]
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click
import platformdirs

from paglets.cli.session import Session

__all__ = ["config_option", "default_settings"]

_CLIENT = "client"


def config_option() -> click.Option:
    """`--config FILE`, read before all other options."""
    return click.Option(
        ["--config"],
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Settings in TOML; by default paglets/config.toml among the user's, if there.",
        is_eager=True,
        expose_value=False,
        callback=_load,
    )


def _load(context: click.Context, _parameter: click.Parameter, given: Path | None) -> None:
    path = given or default_settings()
    if given is None and not path.is_file():
        return
    session = context.ensure_object(Session)
    session.settings = path
    try:
        context.default_map = _read(path, context)
    except click.UsageError as error:  # told once it is known which command is asked for
        session.wrong_settings = error


def default_settings() -> Path:
    """Where the configuration file is if nobody says otherwise."""
    return platformdirs.user_config_path("paglets") / "config.toml"


def _read(path: Path, context: click.Context) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.UsageError(f"the configuration file {path} cannot be read: {error}", context) from error
    stray = [name for name, value in tables.items() if not isinstance(value, dict)]
    if stray:
        raise click.UsageError(
            f"the configuration file {path} sets {', '.join(stray)} outside of a table;"
            " [client] takes host, timeout and json",
            context,
        )
    client = dict(tables.pop(_CLIENT, {}))
    if "host" in client:
        client["address"] = client.pop("host")
    return {**tables, **client}
