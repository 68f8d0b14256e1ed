"""`paglets op`: lists the operations of a paglet, calls one, or posts one, without having its stub."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from paglets.cli.nouns import Noun
from paglets.cli.op_dead import dead
from paglets.cli.output import Record, write_json, write_table
from paglets.cli.session import Session
from paglets.cli.types import read_text_argument

if TYPE_CHECKING:
    from paglets.client.client import Client
    from paglets.operations import OperationInfo

__all__ = ["op"]

_COLUMNS = ("operation", "request", "reply", "idempotency")


@click.group(cls=Noun)
def op() -> None:
    """List, call or post the operations of paglets."""


op.add_command(dead)


@op.command("ls")
@click.argument("paglet_id", metavar="[ID]", default="")
@click.option("--type", "type_name", default="", metavar="MODULE.CLASS", help="Those of a type of the host instead.")
@click.pass_obj
def list_operations(session: Session, paglet_id: str, type_name: str) -> None:
    """List what a paglet answers, in the order of the names; one that is inactive stays so."""
    if bool(paglet_id) == bool(type_name):
        raise click.UsageError("name a paglet, or give --type")
    found = session.run(lambda client: client.operations(paglet_id, type=type_name))
    if session.json:
        for info in found:
            write_json(_record(info))
    else:
        write_table(_COLUMNS, [_row(info) for info in found])


@op.command()
@click.argument("paglet_id", metavar="ID")
@click.argument("operation", metavar="PKG.SERVICE/METHOD")
@click.argument("request", metavar="[JSON|@FILE|-]", required=False)
@click.option("--lines", is_flag=True, help="Take requests from standard input, one a line, as they come.")
@click.option("--request-id", default="", help="Repeats an earlier call: it is run once. Without it, a fresh one.")
@click.pass_obj
def call(
    session: Session, paglet_id: str, operation: str, request: str | None, *, lines: bool, request_id: str
) -> None:
    """Call an operation with a request in JSON, by default an empty one; the reply is JSON too.

    An operation that takes a stream gets all objects of JSON, one after another, by default none; the replies of one
    that gives a stream are printed as they come, one a line. The paglet itself tells what the operation takes;
    `paglets op ls ID` names its operations.
    """
    from paglets.cli.dynamic import call_operation
    from paglets.cli.json_requests import given_requests, lines_of_stdin

    if lines and request is not None:
        raise click.UsageError("--lines takes the requests from standard input; give no JSON beside it")
    requests = lines_of_stdin() if lines else given_requests(None if request is None else read_text_argument(request))

    async def ask(client: Client) -> None:
        async with aclosing(
            call_operation(client.proxy(paglet_id), operation, requests, request_id, session.timeout_s)
        ) as replies:
            async for reply, of_several in replies:
                compact = session.json or of_several
                click.echo(json.dumps(reply, ensure_ascii=False, indent=None if compact else 2))

    session.run(ask)


@op.command()
@click.argument("paglet_id", metavar="ID")
@click.argument("operation", metavar="PKG.SERVICE/METHOD")
@click.argument("request", metavar="[JSON|@FILE|-]", default="{}")
@click.option("--request-id", default="", help="Repeats an earlier post: it is run once. Without it, a fresh one.")
@click.pass_obj
def post(session: Session, paglet_id: str, operation: str, request: str, request_id: str) -> None:
    """Leave an operation with a paglet, and do not wait for it; what is printed is the id of the post.

    It is durable by then, and run once, whatever becomes of hosts meanwhile and wherever the paglet goes.
    """
    from paglets.cli.dynamic import post_operation

    text = read_text_argument(request)
    post_id = session.run(lambda client: post_operation(client.proxy(paglet_id), operation, text, request_id))
    if session.json:
        write_json({"post_id": post_id})
    else:
        click.echo(post_id)


def _record(info: OperationInfo) -> Record:
    return {
        "operation": info.name,
        "request": info.request_type,
        "reply": info.reply_type,
        "client_streaming": info.client_streaming,
        "server_streaming": info.server_streaming,
        "idempotency": info.idempotency.value,
    }


def _row(info: OperationInfo) -> Record:
    """For people: streams as a proto has them, and nothing where the proto says nothing."""
    return {
        "operation": info.name,
        "request": f"stream {info.request_type}" if info.client_streaming else info.request_type,
        "reply": f"stream {info.reply_type}" if info.server_streaming else info.reply_type,
        "idempotency": "" if info.idempotency == "unspecified" else info.idempotency.value,
    }
