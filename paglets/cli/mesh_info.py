"""`paglets mesh info`: how busy the hosts are, and which of them suit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from paglets.cli.nouns import Verb
from paglets.cli.output import Record, note, plain, size_text, write_json, write_table
from paglets.cli.session import Session
from paglets.cli.types import size

if TYPE_CHECKING:
    from paglet.v1.mesh_info_pb2 import RankedHost, RankHostsRequest, RankHostsResponse
    from paglets.client.client import Client

__all__ = ["info"]

_COLUMNS = ("host", "score", "load", "cores", "cpu", "memory_free", "disk_free")


@click.command(cls=Verb)
@click.option("--tag", "tags", multiple=True, help="Only hosts with this tag. Repeatable.")
@click.option("--min-memory", type=size, metavar="SIZE", default="0", help="Only hosts where so much can be had.")
@click.option("--min-disk", type=size, metavar="SIZE", default="0", help="Only hosts with so much free on their disk.")
@click.option("--max-load", type=click.FloatRange(0, min_open=True), help="Only hosts with at most this load a core.")
@click.option("--max-cpu", type=click.FloatRange(0, 100, min_open=True), help="Only hosts that are less busy, in %.")
@click.option("--best", type=click.IntRange(1), metavar="N", help="Only so many.")
@click.pass_obj
def info(
    session: Session,
    tags: tuple[str, ...],
    min_memory: int | None,
    min_disk: int | None,
    max_load: float | None,
    max_cpu: float | None,
    best: int | None,
) -> None:
    """Tell how busy the hosts are, the least busy first; with options, of those that meet all of them.

    Hosts that are left out are told on stderr, with why. Needs hosts that were started with `--system`.
    """
    from paglet.v1.mesh_info_pb2 import RankHostsRequest

    request = RankHostsRequest(
        tags=tags,
        min_available_memory_bytes=min_memory or 0,
        min_free_disk_bytes=min_disk or 0,
        max_load_per_core=max_load or 0.0,
        max_cpu_percent=max_cpu or 0.0,
        limit=best or 0,
    )
    found = session.run(lambda client: _ranked(client, request))
    if session.json:
        for host in found.hosts:
            write_json(_record(host))
        for rejected in found.rejected:
            write_json({"host": rejected.host, "rejected": rejected.reason})
        return
    write_table(_COLUMNS, map(_row, found.hosts))
    for rejected in found.rejected:
        note(plain(f"{rejected.host}: {rejected.reason}"))


async def _ranked(client: Client, request: RankHostsRequest) -> RankHostsResponse:
    from paglet.v1 import mesh_info_pb2
    from paglet.v1.mesh_info_pb2_grpc import MeshInfoServiceStub

    service = mesh_info_pb2.DESCRIPTOR.services_by_name["MeshInfoService"]
    proxy = await client.services.require(service, operation="RankHosts")
    return await proxy.stub(MeshInfoServiceStub).RankHosts(request)


def _record(ranked: RankedHost) -> Record:
    load = ranked.snapshot.load
    return {
        "host": ranked.snapshot.host,
        "score": round(ranked.score, 3),
        "load_1m": load.load_1m,
        "cores": load.cores,
        "cpu_percent": load.cpu_percent,
        "memory_bytes": load.memory_bytes,
        "available_memory_bytes": load.available_memory_bytes,
        "free_disk_bytes": load.free_disk_bytes,
    }


def _row(ranked: RankedHost) -> Record:
    load = ranked.snapshot.load
    return {
        "host": ranked.snapshot.host,
        "score": f"{ranked.score:.2f}",
        "load": f"{load.load_1m:.2f}",
        "cores": load.cores,
        "cpu": f"{load.cpu_percent:.0f} %",
        "memory_free": size_text(load.available_memory_bytes),
        "disk_free": size_text(load.free_disk_bytes),
    }
