"""How an error is told: what happened, and what to do next."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click

from paglets.cli.output import plain
from paglets.cli.session import Session
from paglets.errors import Code, PagletError

__all__ = ["hint_for", "show_error", "show_failure"]

_HINTS = {
    "TYPE_NOT_ALLOWED": "Start that host with --allow MODULE, the module of the type; `paglets host ls --json` tells"
    " which types each host has.",
    "PAGLET_NOT_FOUND": "`paglets paglet ls` tells which there are.",
    "HOST_NOT_FOUND": "`paglets host ls` tells which there are.",
    "HOST_UNREACHABLE": "`paglets host ls` tells which are online.",
    "ARTIFACT_NOT_FOUND": "`paglets artifact ls` tells which there are; each host has its own.",
    "DESTINATION_EXISTS": "Give another destination, or --overwrite (--force for `artifact get`).",
    "DESTINATION_UNWRITABLE": "Give another destination, or let that host's user write there.",
    "QUOTA_EXCEEDED": "Delete artifacts with `paglets artifact rm`, or start that host with a larger --artifact-quota.",
    "ARTIFACT_TOO_LARGE": "Start that host with a larger --artifact-max-size.",
    "STORED_BLOB_CORRUPT": "`paglets artifact stat` tells since when; putting the same bytes again heals it.",
    "DATA_FOLDER_LOCKED": "--data names the folder.",
    "HOST_NAME_TAKEN": "Give another name with --name, or wait until the other host's lease has run out.",
    "ARRIVAL_FAILED": "`paglets paglet show` tells where the paglet is; nothing was deleted at the source.",
    "TRANSPORT": "`paglets host ls` tells which hosts are online.",
    "DEADLINE_EXCEEDED": "Give more time with --timeout SECONDS.",
}


def hint_for(error: PagletError) -> str:
    """What to do next; empty when the message says it, or nobody knows."""
    if error.reason == "TRANSPORT" and "host" not in error.metadata:
        return ""  # it is the host itself that was asked
    return _HINTS.get(error.reason, "")


def show_error(session: Session, error: PagletError) -> None:
    """Writes the error to stderr: for people in a sentence or two, for programs as one line of JSON."""
    if session.json:
        _write(error.code.name, error.reason, error.message, error.metadata, hint_for(error))
        return
    click.echo(f"Error: {plain(error.message)} [{error.reason}]", err=True)
    if hint := hint_for(error):
        click.echo(hint, err=True)


def show_failure(error: click.ClickException, *, as_json: bool) -> None:
    """Writes an error of the command line's own to stderr; in JSON, wrong usage is a request that is malformed."""
    if not as_json:
        error.show()
        return
    wrong = isinstance(error, click.UsageError)
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"`{context.command_path} --help` tells the usage." if context else ""
    code, reason = (Code.INVALID_ARGUMENT, "MALFORMED_REQUEST") if wrong else (Code.UNKNOWN, "")
    _write(code.name, reason, error.format_message(), {}, hint)


def _write(code: str, reason: str, message: str, metadata: Mapping[str, str], hint: str) -> None:
    error = {"code": code, "reason": reason, "message": message, "metadata": metadata, "hint": hint}
    click.echo(json.dumps({"error": error}), err=True)
