"""`paglets mesh services`: which paglets answer which services, and what becomes of them."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from paglets.cli.nouns import Verb
from paglets.cli.output import Record, plain, time_text, write_json, write_table
from paglets.cli.session import Session
from paglets.discovery import ServiceQuery, ServiceRecord, ServiceScope

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["services"]

_COLUMNS = ("service", "paglet_id", "host", "state", "scope", "operations", "tags", "expires")


@click.command(cls=Verb)
@click.argument("service", metavar="[SERVICE]", default="")
@click.option("--operation", "operations", metavar="RPC", multiple=True, help="Only those that answer it. Repeatable.")
@click.option("--tag", "tags", multiple=True, help="Only those that have the tag. Repeatable.")
@click.option("--local", is_flag=True, help="Only those on the host that is asked.")
@click.option("--watch", is_flag=True, help="Go on telling what becomes of them, until Ctrl-C.")
@click.pass_obj
def services(
    session: Session,
    service: str,
    operations: tuple[str, ...],
    tags: tuple[str, ...],
    local: bool,  # noqa: FBT001 - click gives it by name
    watch: bool,  # noqa: FBT001 - click gives it by name
) -> None:
    """List the services that paglets answer, of a name `pkg.v1.Name` or all, the best choice first.

    The state of a resident service that nobody has started yet is that of the host that starts it.
    """
    query = ServiceQuery(
        service=service,
        operations=operations,
        tags=tags,
        scope=ServiceScope.LOCAL if local else ServiceScope.MESH,
    )
    if watch:
        session.run(lambda client: _watch(client, query, as_json=session.json))
        return
    found = session.run(lambda client: client.services.find(query))
    if not session.json:
        write_table(_COLUMNS, map(_row, found))
        return
    for record in found:
        write_json(_record(record))


async def _watch(client: Client, query: ServiceQuery, *, as_json: bool) -> None:
    async with aclosing(client.services.watch(query)) as notices:
        async for notice in notices:
            if as_json:
                write_json({"change": notice.change.value, "service": _record(notice.record)})
            else:
                told = _row(notice.record)
                cells = (notice.change.value, *(str(told[column]) for column in _COLUMNS[:4]))
                click.echo("  ".join(map(plain, cells)).rstrip())


def _record(found: ServiceRecord) -> Record:
    return {
        "service": found.service,
        "version": found.version,
        "paglet_id": found.paglet_id,
        "host": found.host,
        "state": "online" if found.online else "away",
        "scope": found.scope.value,
        "resident": found.resident,
        "operations": list(found.operations),
        "tags": list(found.tags),
        "expires": time_text(found.expires_at),
    }


def _row(found: ServiceRecord) -> Record:
    return {**_record(found), "operations": " ".join(found.operations), "tags": " ".join(found.tags)}
