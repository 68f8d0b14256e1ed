"""`paglets artifact`: puts bytes into the store of a host, and gets them out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import click

from paglets.arena import use_one_arena
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult
from paglets.cli.artifact_ls import list_artifacts
from paglets.cli.artifact_record import artifact_record, known_record
from paglets.cli.artifact_update import update
from paglets.cli.artifact_uploads import cancel, list_uploads
from paglets.cli.artifact_usage import usage
from paglets.cli.artifact_verify import verify
from paglets.cli.artifact_watch import watch
from paglets.cli.nouns import Noun
from paglets.cli.output import note, size_text, time_text, write_json, write_record
from paglets.cli.progress import byte_bar
from paglets.cli.session import Session
from paglets.cli.stdin import stdin_chunks
from paglets.cli.types import label, span
from paglets.errors import NotFoundError, Resource
from paglets.values import ArtifactRef

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["artifact"]


@click.group(cls=Noun)
def artifact() -> None:
    """Put bytes into a host's store, and get them out."""


artifact.add_command(verify)


@artifact.command()
@click.argument("source", metavar="FILE|-", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--name", help="What people call it; the file's own name if not given.")
@click.option("--owner", default="", help="The id of a paglet, or whoever it belongs to.")
@click.option("--ttl", type=span, metavar="SPAN", help="How long it lives, e.g. 15m, 12h, 7d; else for ever.")
@click.option("--label", "labels", type=label, metavar="KEY=VALUE", multiple=True, help="Repeatable.")
@click.pass_obj
def put(
    session: Session, source: str, name: str | None, owner: str, ttl: float | None, labels: tuple[tuple[str, str], ...]
) -> None:
    """Store a file, or standard input; it is durable and its digest is proven when this ends well."""
    use_one_arena()
    write = ArtifactWrite(name=name or "", owner=owner, ttl_s=ttl, labels=dict(labels))
    result = session.run(lambda client: _put(client, write, source))
    if session.json:
        write_json({**artifact_record(result.ref), "outcome": result.outcome.value})
    else:
        click.echo(result.ref.artifact_id)
        note(f"{result.outcome}: {size_text(result.ref.size_bytes)}, {result.ref.digest}")


async def _put(client: Client, write: ArtifactWrite, source: str) -> ArtifactWriteResult:
    if source == "-":
        with byte_bar("standard input") as advance:
            return await client.artifacts.create_from_chunks(
                write, stdin_chunks(), progress=lambda done: advance(done, None, "")
            )
    size_bytes = (await anyio.Path(source).stat()).st_size
    with byte_bar(source) as advance:
        return await client.artifacts.create_from_path(
            write, Path(source), progress=lambda done: advance(done, size_bytes, "")
        )


@artifact.command()
@click.argument("artifact_id", metavar="ID")
@click.argument("target", metavar="[OUT|-]", required=False)
@click.option("--force", is_flag=True, help="Replace OUT if it is there.")
@click.pass_obj
def get(session: Session, artifact_id: str, target: str | None, force: bool) -> None:  # noqa: FBT001 - click's own
    """Fetch an artifact into the file OUT, by default named as the artifact is.

    OUT appears whole and proven, or not at all. With `-` the bytes go to standard output as they come: trust them when
    the exit code is 0.
    """
    use_one_arena()
    if target == "-":
        session.run(lambda client: _to_stdout(client, artifact_id))
        return

    ref, path = session.run(lambda client: _to_file(client, artifact_id, target, overwrite=force))
    if session.json:
        write_json({**artifact_record(ref), "path": str(path)})
    else:
        note(f"{path}: {size_text(ref.size_bytes)}, {ref.digest}")


async def _to_file(
    client: Client, artifact_id: str, target: str | None, *, overwrite: bool
) -> tuple[ArtifactRef, Path]:
    ref = await client.artifacts.ref(artifact_id)
    path = Path(target or _file_name(ref))
    with byte_bar(str(path)) as advance:
        fetched = await client.artifacts.export_to_path(
            artifact_id, path, overwrite=overwrite, progress=lambda done: advance(done, ref.size_bytes, "")
        )
    return fetched, path


def _file_name(ref: ArtifactRef) -> str:
    """The artifact's name as far as it is a plain file name; its id otherwise. What a host says is not obeyed."""
    is_plain = ref.name.isprintable() and Path(ref.name).name == ref.name and not ref.name.startswith(".")
    return ref.name if ref.name and is_plain else ref.artifact_id


async def _to_stdout(client: Client, artifact_id: str) -> None:
    async with client.artifacts.open_reader(artifact_id) as reader:
        async for data in reader:
            sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


@artifact.command()
@click.argument("artifact_id", metavar="ID")
@click.pass_obj
def stat(session: Session, artifact_id: str) -> None:
    """Describe an artifact, and whether its stored bytes are known to be wrong."""
    ref = session.run(lambda client: client.artifacts.ref(artifact_id))
    health = {"corrupt": ref.corrupt, "verified": time_text(ref.verified_at)}
    write_record({**(artifact_record(ref) if session.json else known_record(ref)), **health}, as_json=session.json)


@artifact.command()
@click.argument("artifact_id", metavar="ID")
@click.option("--missing-ok", is_flag=True, help="An artifact that is not there is a success.")
@click.option("--etag", default="", help="Only if this is its etag still.")
@click.pass_obj
def rm(session: Session, artifact_id: str, missing_ok: bool, etag: str) -> None:  # noqa: FBT001 - click's own
    """Delete an artifact; bytes that others share stay."""
    deleted = session.run(lambda client: client.artifacts.delete(artifact_id, etag=etag))
    if not deleted and not missing_ok:
        raise NotFoundError(
            "ARTIFACT_NOT_FOUND", f"no artifact {artifact_id} on this host", resource=Resource("artifact", artifact_id)
        )
    if session.json:
        write_json({"artifact_id": artifact_id, "deleted": deleted})
    else:
        note(f"{artifact_id} is deleted" if deleted else f"{artifact_id} was not there")


for verb in (list_artifacts, update, watch, usage, list_uploads, cancel):
    artifact.add_command(verb)
