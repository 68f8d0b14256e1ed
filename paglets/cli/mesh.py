"""`paglets mesh`: the mesh as a whole, from any of its hosts."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from paglets.cli.host_ls import list_hosts
from paglets.cli.host_record import host_record
from paglets.cli.mesh_info import info
from paglets.cli.mesh_services import services
from paglets.cli.nouns import Noun
from paglets.cli.output import Record, note, plain, write_json, write_table
from paglets.cli.session import Session

if TYPE_CHECKING:
    from paglet.v1 import rebuild_pb2
    from paglets.client.client import Client

__all__ = ["mesh"]

_REBUILT = ("paglet_id", "outcome", "hosts", "reason")


@click.group(cls=Noun)
def mesh() -> None:
    """Tell of the mesh as a whole, and look after it."""


mesh.add_command(list_hosts)
mesh.add_command(services)
mesh.add_command(info)


@mesh.command()
@click.pass_obj
def watch(session: Session) -> None:
    """Tell which hosts there are, and which join, leave, are lost or change, until Ctrl-C.

    A host is lost when its lease ends. When the host that is asked goes away and comes back, all are told anew.
    """

    async def told(client: Client) -> None:
        async with aclosing(client.watch_hosts()) as notices:
            async for notice in notices:
                if session.json:
                    write_json({"change": notice.change.value, "host": {**host_record(notice.host), "paglets": None}})
                else:
                    cells = (notice.change.value, notice.host.name, notice.host.address, " ".join(notice.host.tags))
                    click.echo("  ".join(map(plain, cells)).rstrip())

    session.run(told)


@mesh.command()
@click.option("--dry-run", is_flag=True, help="Only tell what would be registered.")
@click.pass_obj
def rebuild(session: Session, dry_run: bool) -> int:  # noqa: FBT001 - click gives it by name
    """Register again what a directory that was lost knew, from the journals of all hosts that answer.

    Nothing that a host keeps is deleted; repeat it at will. Exit code 1 when something is in conflict or undecided, or
    a host of the mesh was not heard. With --json the first line tells of the hosts, each further one of a paglet.
    """

    async def rebuilt(client: Client) -> rebuild_pb2.RebuildDirectoryResponse:
        from paglets.client.rebuild import RebuildPeer

        return await RebuildPeer(client.channel).rebuild(dry_run=dry_run, timeout_s=session.timeout_s)

    reply = session.run(rebuilt)
    records = [_record(found) for found in reply.paglets]
    registered = sum(record["outcome"] == "registered" for record in records)
    if session.json:
        write_json({"dry_run": dry_run, "heard": list(reply.heard), "unheard": list(reply.unheard)})
        for record in records:
            write_json(record)
    else:
        if records:
            write_table(
                _REBUILT,
                [
                    {**record, "hosts": " ".join(found.hosts)}
                    for record, found in zip(records, reply.paglets, strict=True)
                ],
            )
        note(_summary(reply, registered, dry_run=dry_run))
    return 0 if registered == len(records) and not reply.unheard else 1


def _summary(reply: rebuild_pb2.RebuildDirectoryResponse, registered: int, *, dry_run: bool) -> str:
    done = "would be registered" if dry_run else "registered"
    text = f"{registered} paglets {done}, {len(reply.paglets) - registered} left as they are"
    if not reply.paglets:
        text = "nothing is missing: nothing was changed"
    return f"{text}; not heard: {', '.join(reply.unheard)}" if reply.unheard else text


def _record(found: rebuild_pb2.RebuiltPaglet) -> Record:
    from paglet.v1 import rebuild_pb2 as pb

    outcome = pb.RebuildOutcome.Name(found.outcome).removeprefix("REBUILD_OUTCOME_").lower()
    return {"paglet_id": found.paglet_id, "outcome": outcome, "hosts": list(found.hosts), "reason": found.reason}
