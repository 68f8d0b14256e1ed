"""`paglets search`: looks for files, or for lines in them, on many hosts at once."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from paglets.cli.nouns import Noun
from paglets.cli.output import note, plain, size_text, write_json
from paglets.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from paglet.examples.mesh_search.v1.mesh_search_pb2 import Found, SearchRequest, SearchResponse
    from paglets.client.client import Client

__all__ = ["search"]

_SEARCHER = "paglets.examples.mesh_search.MeshSearch"
_TIMEOUT_S = 30.0


@click.group(cls=Noun)
def search() -> None:
    """Search the files of many hosts; each needs `--allow paglets.examples.mesh_search` and a `--file-root`."""


@search.command()
@click.argument("pattern")
@click.argument("path", default="")
@click.option("--on", "hosts", metavar="HOST", multiple=True, help="A host to look on; may be repeated. Else all.")
@click.option("--name", metavar="GLOB", default="", help="Only in files with such names, e.g. '*.log'.")
@click.option("-i", "--ignore-case", is_flag=True, help="Take upper and lower case for the same.")
@click.option("--max", "most", metavar="N", type=click.IntRange(1), default=1000, show_default=True, help="Per host.")
@click.pass_obj
def grep(
    session: Session,
    pattern: str,
    path: str,
    hosts: tuple[str, ...],
    name: str,
    ignore_case: bool,  # noqa: FBT001 - click gives it by name
    most: int,
) -> int:
    """Show the lines that have PATTERN, a regular expression, in files at or below PATH.

    They come as they are found. Ends with 1 when a host could not look.
    """
    from paglet.examples.mesh_search.v1.mesh_search_pb2 import SearchRequest

    return _show(
        session,
        SearchRequest(hosts=hosts, path=path, name=name, text=pattern, ignore_case=ignore_case, max_found=most),
    )


@search.command()
@click.argument("name", metavar="GLOB")
@click.argument("path", default="")
@click.option("--on", "hosts", metavar="HOST", multiple=True, help="A host to look on; may be repeated. Else all.")
@click.option("--max", "most", metavar="N", type=click.IntRange(1), default=1000, show_default=True, help="Per host.")
@click.pass_obj
def find(session: Session, name: str, path: str, hosts: tuple[str, ...], most: int) -> int:
    """Show the files at or below PATH with names that fit GLOB, e.g. '*.log'.

    They come as they are found. Ends with 1 when a host could not look.
    """
    from paglet.examples.mesh_search.v1.mesh_search_pb2 import SearchRequest

    return _show(session, SearchRequest(hosts=hosts, path=path, name=name, max_found=most))


def _show(session: Session, request: SearchRequest) -> int:
    """Makes the search; the exit code."""
    request.timeout.FromNanoseconds(int((session.timeout_s or _TIMEOUT_S) * 1e9))
    return 1 if session.run(lambda client: _search(client, request, session)) else 0


async def _search(client: Client, request: SearchRequest, session: Session) -> Sequence[str]:
    """Prints what is found; the hosts that could not look."""
    failed: list[str] = []
    async with aclosing(_responses(client, request)) as responses:
        async for response in responses:
            for found in response.found:
                _print(response.host, found, session)
            if response.error:
                failed.append(response.host)
                if session.json:
                    write_json({"host": response.host, "error": response.error})
                else:
                    note(f"{response.host}: {plain(response.error)}")
    return failed


async def _responses(client: Client, request: SearchRequest) -> AsyncGenerator[SearchResponse]:
    """A search by a paglet that is made for it, and ended with it."""
    from paglet.examples.mesh_search.v1.mesh_search_pb2_grpc import MeshSearchServiceStub
    from paglets.client.calls import errors_of_calls

    proxy = await client.create(_SEARCHER)
    try:
        call = proxy.stub(MeshSearchServiceStub).Search(request)
        try:
            with errors_of_calls():
                async for response in call:
                    yield response
        finally:
            call.cancel()
    finally:
        await proxy.dispose()


def _print(host: str, found: Found, session: Session) -> None:
    if session.json:
        record: dict[str, object] = {"host": host, "path": found.path, "size_bytes": found.size_bytes}
        if found.line_number:
            record |= {"line_number": found.line_number, "line": found.line}
        write_json(record)
    elif found.line_number:
        click.echo(plain(f"{host}:{found.path}:{found.line_number}: {found.line}"))
    else:
        click.echo(plain(f"{host}:{found.path} {size_text(found.size_bytes)}"))
