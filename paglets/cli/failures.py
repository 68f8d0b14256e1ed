"""How an error is told: what happened, and what to do next."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

import click

from paglets.cli.output import plain
from paglets.cli.session import Session
from paglets.errors import Code, PagletError

__all__ = ["exit_code", "hint_for", "show_error", "show_failure"]

_FAILURE, _RPC_FAILURE = 1, 64

_HINTS = {
    "TYPE_NOT_ALLOWED": "Start that host with --allow MODULE, the module of the type; `paglets host show NAME`"
    " tells which types a host has.",
    "PAGLET_NOT_FOUND": "`paglets paglet ls` tells which there are.",
    "HOST_NOT_FOUND": "`paglets mesh ls` tells which there are.",
    "HOST_UNREACHABLE": "`paglets mesh ls` tells which are online.",
    "ARTIFACT_NOT_FOUND": "`paglets artifact ls` tells which there are; each host has its own. To put again what was"
    " deleted since it was put, give --no-resume.",
    "DESTINATION_EXISTS": "Give another destination, or --overwrite (--force for `artifact get`).",
    "DESTINATION_UNWRITABLE": "Give another destination, or let that host's user write there.",
    "QUOTA_EXCEEDED": "Delete artifacts with `paglets artifact rm`, or start that host with a larger --artifact-quota;"
    " `paglets artifact usage` tells who has how much, `paglets artifact uploads` what unfinished uploads hold.",
    "ARTIFACT_TOO_LARGE": "Start that host with a larger --artifact-max-size.",
    "STORED_BLOB_CORRUPT": "`paglets artifact stat` tells since when; putting the same bytes again heals it.",
    "PREFIX_MISMATCH": "The file was changed without its size or time being changed. Put it back as it was, or give"
    " --no-resume, which drops what was sent of it and begins anew.",
    "WRITER_FENCED": "Let the other writer end, or give --no-resume to store another artifact beside it.",
    "UPLOAD_CANCELLED": "Give the same command again to begin anew; a pull, with another --pull-id or none.",
    "UPLOAD_NOT_FOUND": "`paglets artifact uploads` tells which are unfinished.",
    "UPLOAD_IN_PROGRESS": "Wait until the other is done; `paglets artifact uploads` tells how far it is.",
    "UPLOAD_STALLED": "Nothing came through for too long. Give the same command again to go on where it was.",
    "REQUEST_ID_REUSED": "Give another --request-id; for `artifact put`, --no-resume stores another artifact.",
    "ARTIFACT_EXISTS": "Give another --id, or delete the artifact with `paglets artifact rm`.",
    "ETAG_MISMATCH": "`paglets artifact stat` tells what it is now, and its etag.",
    "CURSOR_EXPIRED": "Look at `paglets paglet ls`, or `paglets artifact ls`, and watch without --cursor; a host's"
    " --artifact-keep-events says how many changes of artifacts are kept.",
    "RANGE_NOT_SATISFIABLE": "`paglets artifact stat` tells how many bytes there are.",
    "DATA_FOLDER_LOCKED": "--data names the folder.",
    "HOST_NAME_TAKEN": "Give another name with --name, or wait until the other host's lease has run out.",
    "ARRIVAL_FAILED": "`paglets paglet show` tells where the paglet is; nothing was deleted at the source.",
    "TRANSPORT": "`paglets mesh ls` tells which hosts are online.",
    "TASK_RUNNING": "`paglets task wait` waits for its end, `paglets task cancel` ends it.",
    "TASK_ON_ITS_WAY": "`paglets paglet show` tells how far the paglet is.",
    "DEADLINE_EXCEEDED": "Give more time with --timeout SECONDS.",
}


def hint_for(error: PagletError) -> str:
    """What to do next; empty when the message says it, or nobody knows."""
    if error.reason == "TRANSPORT" and "host" not in error.metadata:
        return "`paglets doctor` looks for the cause."  # it is the host itself that was asked
    kind, _, owner = error.metadata.get("subject", "").partition(":")
    if error.reason == "QUOTA_EXCEEDED" and kind == "owner":
        named = shlex.quote(plain(owner))
        return (
            f"Delete some that `paglets artifact ls --owner {named}` lists, or start that host with a larger"
            f" --artifact-owner-quota; `paglets artifact usage --owner {named}` tells how much there is."
        )
    return _HINTS.get(error.reason, "")


def exit_code(error: PagletError | OSError) -> int:
    """What a command ends with because of an error."""
    return _RPC_FAILURE + error.code if isinstance(error, PagletError) else _FAILURE


def show_error(session: Session, error: PagletError | OSError, *, about: str = "") -> None:
    """Writes the error to stderr: for people in a sentence or two, for programs as one line of JSON.

    `about` is the one of several things that it is about.
    """
    if isinstance(error, OSError):
        show_failure(click.ClickException(str(error)), as_json=session.json)
        return
    if session.json:
        _write(error.code.name, error.reason, error.message, error.metadata, hint_for(error), about)
        return
    click.echo(f"Error: {plain(f'{about}: ' if about else '')}{plain(error.message)} [{error.reason}]", err=True)
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


def _write(code: str, reason: str, message: str, metadata: Mapping[str, str], hint: str, about: str = "") -> None:
    error = {"code": code, "reason": reason, "message": message, "metadata": metadata, "hint": hint}
    click.echo(json.dumps({"error": {**error, **({"about": about} if about else {})}}), err=True)
