"""`paglets file`: has a paglet carry a file from one host to another."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from paglets.cli.nouns import Noun
from paglets.cli.output import note, plain, size_text, write_json
from paglets.cli.progress import journey_bar
from paglets.cli.session import Session
from paglets.errors import DeadlineError, PagletError, error_for

if TYPE_CHECKING:
    from paglet.v1.file_transfer_pb2 import FileTransferRequest, FileTransferResult
    from paglets.client.client import Client
    from paglets.client.proxy import PagletProxy
    from paglets.client.task_snapshot import TaskSnapshot

__all__ = ["CARRIER", "carry", "file", "has_arrived_at"]

CARRIER = "paglets.patterns.file_mobility.SingleFileTransferPaglet"
_DISPOSAL_S = 5.0
_LOOK_S = 2.0


@click.group(cls=Noun)
def file() -> None:
    """Move files between hosts. Paths are those of the host that reads or writes."""


class _Asked(TypedDict):
    """What both ways of a transfer are told."""

    dest: str
    mode: str
    overwrite: bool
    dry_run: bool
    check_target: bool


def _transfer_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--check-target",
            is_flag=True,
            help="With --dry-run: ask the other end whether it would take the file.",
        ),
        click.option("--dry-run", is_flag=True, help="Only tell what would be done."),
        click.option("--overwrite", is_flag=True, help="Replace the destination if it is there."),
        click.option(
            "--mode", type=click.Choice(("copy", "move")), default="copy", show_default=True, help="What of SRC."
        ),
        click.option("--dest", metavar="PATH", default="", help="Where it goes; a folder puts it inside."),
    ):
        command = option(command)
    return command


@file.command()
@click.argument("source", metavar="SRC")
@click.option("--to", "target", metavar="HOST", required=True, help="The name of the host to bring it to.")
@_transfer_options
@click.pass_obj
def push(session: Session, source: str, target: str, **asked: Unpack[_Asked]) -> None:
    """Bring the file SRC of the host that is asked to another host; whole and proven, or not at all.

    Both hosts need a `--file-root` that the path is in.
    """
    request = _request(source, target, asked)
    _tell(session, session.run(lambda client: _transfer(client, request, session)))


@file.command()
@click.argument("source", metavar="SRC")
@click.option("--from", "origin", metavar="HOST", required=True, help="The name of the host to fetch it from.")
@_transfer_options
@click.pass_obj
def pull(session: Session, source: str, origin: str, **asked: Unpack[_Asked]) -> None:
    """Fetch the file SRC of another host to the host that is asked; whole and proven, or not at all.

    Both hosts need a `--file-root` that the path is in.
    """

    async def fetch(client: Client) -> FileTransferResult:
        request = _request(source, (await client.host()).name, asked)
        return await _transfer(client, request, session, origin)

    _tell(session, session.run(fetch))


def _request(source: str, target: str, asked: _Asked) -> FileTransferRequest:
    from paglet.v1.file_transfer_pb2 import FileTransferRequest
    from paglets.values import FileMode
    from paglets.wire.files import file_mode_to_message

    if asked["check_target"] and not asked["dry_run"]:
        raise click.UsageError("--check-target goes with --dry-run; without that the other end is asked in any case")
    return FileTransferRequest(
        source_path=source,
        destination_path=asked["dest"],
        target_host=target,
        mode=file_mode_to_message(FileMode(asked["mode"])),
        dry_run=asked["dry_run"],
        overwrite=asked["overwrite"],
        check_target=asked["check_target"],
    )


def _tell(session: Session, result: FileTransferResult) -> None:
    if session.json:
        write_json(_record(result))
    else:
        click.echo(_sentence(result))


async def _transfer(
    client: Client, request: FileTransferRequest, session: Session, origin: str = ""
) -> FileTransferResult:
    """Makes a paglet, has it carry the file, from `origin` if it is not here, and disposes of it whatever came of that.

    Raises a failure with the paglet's own words, code and reason; DEADLINE_EXCEEDED when the time is over, and
    the transfer goes on.
    """
    proxy, timeout_s = await client.create(CARRIER), session.move_timeout_s
    try:
        if origin:
            await proxy.dispatch(origin, timeout_s=timeout_s)
        snapshot = await carry(proxy, request, timeout_s)
    except BaseException:
        # In a task of its own: in one that is being cancelled, timeouts of Python before 3.11.4 end as cancellations.
        await asyncio.create_task(_interrupt(session, client, proxy, request))
        raise
    if snapshot is not None and (problem := await _dispose(proxy)):
        _tell_left_behind(session, proxy.paglet_id, problem)
    if snapshot is None:
        raise DeadlineError(
            "DEADLINE_EXCEEDED",
            f"the transfer has not ended in {timeout_s:g} s and goes on: see `paglets paglet show {proxy.paglet_id}`",
        )
    if snapshot.result is None:
        raise error_for(snapshot.error_code)(
            snapshot.error_reason or "HANDLER_FAILED",
            f"{request.source_path} was not brought to {request.target_host}: {snapshot.error}",
        )
    return snapshot.result


async def carry(
    proxy: PagletProxy, request: FileTransferRequest, timeout_s: float
) -> TaskSnapshot[FileTransferResult] | None:
    """Has a paglet carry the file, and waits for its end; on a terminal, with a bar. None when the time is over."""
    from paglet.v1.file_transfer_pb2 import FileTransferRequest, FileTransferResult
    from paglets.client.journeys import journey_progress
    from paglets.client.tasks import TaskClient

    task = TaskClient(proxy, FileTransferRequest, FileTransferResult)
    try:
        async with asyncio.timeout(None if math.isinf(timeout_s) else timeout_s):
            with journey_bar(request.source_path) as progress:
                async with journey_progress(proxy.info, progress):
                    return await task.start_and_wait(request)
    except TimeoutError:
        return None


async def _interrupt(session: Session, client: Client, proxy: PagletProxy, request: FileTransferRequest) -> None:
    """Ends a transfer that is under way, and tells of what that came too late for.

    A paglet on a journey answers when that is over; one that was not committed by a while after the disposal was asked
    for is given up, and the file stays where it was.
    """
    looking = asyncio.create_task(_result(proxy))
    try:
        await asyncio.wait([looking], timeout=_LOOK_S)
        if problem := await _dispose(proxy):
            _tell_going_on(session, proxy.paglet_id, request, problem)
        elif looking.done() and (result := looking.result()):
            _warn(session, proxy.paglet_id, f"it was too late to stop the transfer: {_sentence(result)}")
        elif await has_arrived_at(client, proxy.paglet_id, request.target_host):
            look = f"look whether the file is at {request.target_host}, where it had come to"
            _warn(session, proxy.paglet_id, f"it was too late to stop the transfer: {look}")
    finally:
        looking.cancel()


async def _result(proxy: PagletProxy) -> FileTransferResult | None:
    """What a transfer came to; None when it brought nothing, or nobody knows."""
    from paglet.v1.file_transfer_pb2 import FileTransferRequest, FileTransferResult
    from paglets.client.tasks import TaskClient

    try:
        return (await TaskClient(proxy, FileTransferRequest, FileTransferResult).get()).result
    except PagletError:
        return None


async def has_arrived_at(client: Client, paglet_id: str, host: str) -> bool:
    """Whether a paglet that has ended had come to a host before; False when nobody knows."""
    try:
        return any(event.cause == "commit" and event.host == host for event in await client.history(paglet_id))
    except PagletError:
        return False


async def _dispose(proxy: PagletProxy) -> str:
    """Ends the paglet that carries the file; says why that was not done, empty when it is done."""
    try:
        async with asyncio.timeout(_DISPOSAL_S):
            await proxy.dispose()
    except TimeoutError:
        return f"it did not answer within {_DISPOSAL_S:g} s"
    except PagletError as error:
        return error.message
    return ""


def _tell_going_on(session: Session, paglet_id: str, request: FileTransferRequest, problem: str) -> None:
    """Whoever interrupts a transfer must know when it was not stopped by that, or not yet."""
    from paglet.v1.transfer_pb2 import FILE_MODE_MOVE

    source_goes = request.mode == FILE_MODE_MOVE and not request.dry_run
    _warn(
        session,
        paglet_id,
        f"the transfer is not stopped yet: paglet {paglet_id} was not seen to end ({problem}); until it does its"
        f" journey to {request.target_host} goes on{', after which the source is deleted' if source_goes else ''}."
        f" `paglets paglet show {paglet_id}` tells how far it is, `paglets paglet dispose {paglet_id}` ends it",
    )


def _tell_left_behind(session: Session, paglet_id: str, problem: str) -> None:
    _warn(
        session,
        paglet_id,
        f"the transfer has ended, but paglet {paglet_id} is left behind ({problem});"
        f" `paglets paglet dispose {paglet_id}` ends it",
    )


def _warn(session: Session, paglet_id: str, message: str) -> None:
    if session.json:
        note(json.dumps({"warning": {"message": message, "paglet_id": paglet_id}}))
    else:
        note(f"Warning: {plain(message)}")


def _record(result: FileTransferResult) -> dict[str, object]:
    from paglets.wire.files import file_mode_from_message

    return {
        "transfer_id": result.transfer_id,
        "mode": file_mode_from_message(result.mode, "mode").value,
        "dry_run": result.dry_run,
        "source": {"host": result.source.host, "path": result.source.path},
        "destination": {"host": result.destination.host, "path": result.destination.path},
        "file_name": result.file_name,
        "size_bytes": result.size_bytes,
    }


def _sentence(result: FileTransferResult) -> str:
    from paglets.wire.files import file_mode_from_message

    mode = file_mode_from_message(result.mode, "mode")
    verb = {"copy": ("copied", "would copy"), "move": ("moved", "would move")}[mode][result.dry_run]
    source, destination = result.source, result.destination
    return plain(
        f"{verb} {source.host}:{source.path} to {destination.host}:{destination.path}, {size_text(result.size_bytes)}"
    )
