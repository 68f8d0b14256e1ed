"""`paglets artifact`: puts bytes into the store of a host, and gets them out."""

from __future__ import annotations

import click

from paglets.cli.artifact_get import get
from paglets.cli.artifact_ls import list_artifacts
from paglets.cli.artifact_pull import pull
from paglets.cli.artifact_put import put
from paglets.cli.artifact_record import artifact_record, health_record, known_record
from paglets.cli.artifact_update import update
from paglets.cli.artifact_uploads import cancel, list_uploads
from paglets.cli.artifact_usage import usage
from paglets.cli.artifact_verify import verify
from paglets.cli.artifact_watch import watch
from paglets.cli.nouns import Noun
from paglets.cli.output import note, write_json, write_record
from paglets.cli.session import Session
from paglets.errors import NotFoundError, Resource

__all__ = ["artifact"]


@click.group(cls=Noun)
def artifact() -> None:
    """Put bytes into a host's store, and get them out."""


for verb in (put, get, verify):
    artifact.add_command(verb)


@artifact.command()
@click.argument("artifact_id", metavar="ID")
@click.pass_obj
def stat(session: Session, artifact_id: str) -> None:
    """Describe an artifact, and whether its stored bytes are known to be wrong."""
    ref = session.run(lambda client: client.artifacts.ref(artifact_id))
    record = artifact_record(ref) if session.json else known_record(ref)
    write_record({**record, **health_record(ref)}, as_json=session.json)


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


for verb in (list_artifacts, pull, update, watch, usage, list_uploads, cancel):
    artifact.add_command(verb)
