"""`paglets artifact uploads` and `cancel`: uploads that were begun and not finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from paglets.artifacts.store import UploadInfo
from paglets.cli.nouns import Verb
from paglets.cli.output import Record, note, plain, size_text, time_text, write_json, write_table
from paglets.cli.session import Session
from paglets.errors import NotFoundError, Resource

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["cancel", "list_uploads"]

_COLUMNS = ("upload_id", "name", "owner", "here", "of", "reserved", "state", "expires")


@click.command("uploads", cls=Verb)
@click.pass_obj
def list_uploads(session: Session) -> None:
    """List the uploads that were begun and not finished; each is kept for a day after its last writer, by default."""
    rows = session.run(lambda client: _listed(client, as_json=session.json))
    if not session.json:
        write_table(_COLUMNS, rows)


@click.command(cls=Verb)
@click.argument("upload_id", metavar="UPLOAD_ID")
@click.option("--missing-ok", is_flag=True, help="An upload that is not there is a success.")
@click.pass_obj
def cancel(session: Session, upload_id: str, missing_ok: bool) -> None:  # noqa: FBT001 - click's own
    """Drop an unfinished upload, or pull, and what it has reserved; whoever writes or pulls is told."""
    cancelled = session.run(lambda client: client.artifacts.cancel_upload(upload_id))
    if not cancelled and not missing_ok:
        raise NotFoundError(
            "UPLOAD_NOT_FOUND",
            f"no unfinished upload {upload_id} on this host",
            resource=Resource("upload", upload_id),
        )
    if session.json:
        write_json({"upload_id": upload_id, "cancelled": cancelled})
    else:
        note(f"{plain(upload_id)} {'is cancelled' if cancelled else 'was not there'}")


async def _listed(client: Client, *, as_json: bool) -> list[Record]:
    """The rows of a table; as JSON each page is written when it is there, and nothing is left."""
    rows, token = list[Record](), ""
    while True:
        page = await client.artifacts.uploads(page_size=1000, page_token=token)
        for info in page.uploads:
            if as_json:
                write_json(_record(info))
            else:
                rows.append(_row(info))
        token = page.next_token
        if not token:
            return rows


def _record(info: UploadInfo) -> Record:
    return {
        "upload_id": info.upload_id,
        "artifact_id": info.artifact_id,
        "name": info.name,
        "owner": info.owner,
        "state": info.state.value,
        "writing": info.writing,
        "committed_bytes": info.committed_size,
        "expected_bytes": info.expected_size,
        "reserved_bytes": info.reserved_bytes,
        "created": time_text(info.created_at),
        "expires": time_text(info.expires_at),
    }


def _row(info: UploadInfo) -> Record:
    return {
        **_record(info),
        "here": size_text(info.committed_size),
        "of": "" if info.expected_size is None else size_text(info.expected_size),
        "reserved": size_text(info.reserved_bytes),
        "state": "writing" if info.writing else info.state.value,
    }
