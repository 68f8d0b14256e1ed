"""`paglets host`: runs a host, describes one, lists all."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
from pathlib import Path

import click
import platformdirs

from paglets.cli.host_ls import list_hosts
from paglets.cli.host_record import host_lines, host_record
from paglets.cli.nouns import Noun
from paglets.cli.output import note, write_json, write_record
from paglets.cli.resident_option import RESIDENT_METAVAR, resident
from paglets.cli.session import DEFAULT_ADDRESS, Session
from paglets.cli.store_options import StoreVerb, store_options, store_settings
from paglets.cli.types import address_or_none, label, listening_address, one_of_each, size
from paglets.config import DEFAULT_MAX_CONNECTIONS, HostSettings, ResidentServiceSpec
from paglets.system.residents import SYSTEM_RESIDENTS
from paglets.values import check_id

__all__ = ["default_data", "host", "serve"]

_LEVELS = ("debug", "info", "warning", "error")


@click.group(cls=Noun)
def host() -> None:
    """Run a host, describe one, or list all of the mesh."""


def _default_name() -> str:
    """This machine's name, as far as a host may have it."""
    return re.sub(r"[^a-z0-9._-]+", "-", socket.gethostname().lower()).lstrip("._-")[:128] or "host"


def default_data(name: str) -> Path:
    """Where a host of that name keeps its things if nobody says otherwise. Raises INVALID_ID."""
    return platformdirs.user_state_path("paglets") / check_id(name, "name")


@host.command(cls=StoreVerb)
@click.option("--name", default=_default_name, show_default="this machine's name", help="What the host is called.")
@click.option(
    "--listen",
    type=listening_address,
    metavar="ADDRESS",
    default=DEFAULT_ADDRESS,
    show_default=True,
    help="Port 0: the last, or any.",
)
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Folder of all that the host keeps.")
@click.option(
    "--join",
    type=address_or_none,
    metavar="ADDRESS",
    default="",
    help="Any host of the mesh to join; without it a mesh begins.",
)
@click.option("--allow", metavar="MODULE", multiple=True, help="A module whose paglet types may run here. Repeatable.")
@click.option(
    "--resident",
    "residents",
    type=resident,
    metavar=RESIDENT_METAVAR,
    multiple=True,
    help="A service that the host starts by itself: when it is first called, or at once. Keys are scope (local, mesh),"
    " one-in (mesh, host), id, idle (SPAN after which a lazy one rests), tag, and last state (JSON). Repeatable.",
)
@click.option(
    "--system",
    is_flag=True,
    help="Offer services of its own: notes to people, what machines and the mesh are like.",
)
@click.option(
    "--file-root",
    "file_roots",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    multiple=True,
    help="A folder below which paglets may read and write files. Repeatable.",
)
@click.option(
    "--tag", "tags", multiple=True, help="What the host is good for, e.g. gpu; moves may require it. Repeatable."
)
@click.option(
    "--property",
    "properties",
    type=label,
    metavar="KEY=VALUE",
    multiple=True,
    callback=one_of_each,
    help="What else there is to say of the host. Repeatable.",
)
@click.option(
    "--storage-quota",
    type=size,
    metavar="SIZE",
    default="10M",
    show_default=True,
    help="What each paglet class may keep here beside its states.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(min=1),
    metavar="N",
    default=DEFAULT_MAX_CONNECTIONS,
    show_default=True,
    help="How many may be open at each address of --listen, those of hosts among them.",
)
@click.option("--insecure", is_flag=True, help="Listen beyond this machine, without any encryption.")
@click.option("--until-eof", is_flag=True, help="End with standard input: when whoever started the host is gone.")
@click.option("--log-level", type=click.Choice(_LEVELS), default="warning", show_default=True, help="On stderr.")
@store_options
@click.pass_context
def serve(
    context: click.Context,
    name: str,
    listen: str,
    data: Path | None,
    join: str,
    allow: tuple[str, ...],
    residents: tuple[ResidentServiceSpec, ...],
    system: bool,  # noqa: FBT001 - click gives it by name
    file_roots: tuple[Path, ...],
    tags: tuple[str, ...],
    properties: dict[str, str],
    storage_quota: int | None,
    max_connections: int,
    insecure: bool,  # noqa: FBT001 - click gives it by name
    until_eof: bool,  # noqa: FBT001 - click gives it by name
    log_level: str,
) -> None:
    """Run a host until SIGTERM or Ctrl-C.

    Sizes are bytes, or 512K, 100M, 10G, none; spans are seconds, or 30s, 15m, 12h, 7d. With --json, one line on stdout
    says when the host serves.
    """
    settings = HostSettings(
        name=name,
        data=data or default_data(name),
        listen=listen,
        join=join,
        allow=allow,
        residents=(*residents, *(SYSTEM_RESIDENTS if system else ())),
        file_roots=file_roots,
        tags=tags,
        properties=properties,
        storage_quota_bytes=storage_quota,
        max_connections=max_connections,
        insecure=insecure,
        store=store_settings(context),
    )
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if until_eof:
        threading.Thread(target=_end_with_input, daemon=True).start()
    _serve(context.ensure_object(Session), settings)


def _end_with_input() -> None:
    """Ends this process, as SIGTERM does, once nobody holds the other end of its standard input."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _serve(session: Session, settings: HostSettings) -> None:
    from paglets.server import serve as serve_host

    def ready(address: str) -> None:
        if session.json:
            write_json({"event": "ready", "name": settings.name, "address": address, "pid": os.getpid()})
        else:
            note(f"host {settings.name} serves at {address}; Ctrl-C ends it")

    serve_host(settings, ready)


@host.command()
@click.argument("name", metavar="[NAME]", default="")
@click.pass_obj
def show(session: Session, name: str) -> None:
    """Describe a host of the mesh, or, without NAME, the one that is asked."""
    known = session.run(lambda client: client.host(name))
    write_record(host_record(known) if session.json else host_lines(known), as_json=session.json)


host.add_command(list_hosts)
