"""`paglets task`: starts the task of a paglet, tells how it stands, waits for it, watches it, cancels it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeAlias

import click

from paglets.cli.nouns import Noun
from paglets.cli.output import note, plain, write_json, write_record
from paglets.cli.progress import task_bar
from paglets.cli.session import Session
from paglets.cli.types import read_text_argument
from paglets.errors import DeadlineError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from paglets.cli.task_calls import AnyTask
    from paglets.client.client import Client
    from paglets.client.task_snapshot import TaskSnapshot

__all__ = ["task"]

_Snapshot: TypeAlias = "TaskSnapshot[Message]"


@click.group(cls=Noun)
def task() -> None:
    """Have paglets work in the background: start a task, see how far it is, wait for its end, cancel it."""


@task.command()
@click.argument("paglet_id", metavar="ID")
@click.argument("request", metavar="[JSON|@FILE|-]", default="{}")
@click.option(
    "--request-id", default="", help="Repeats an earlier start: the task is begun once. Without it, a fresh one."
)
@click.option("--wait", "waits", is_flag=True, help="Wait for its end, as `task wait` does.")
@click.option("--watch", "watches", is_flag=True, help="Tell of each change to its end, as `task watch` does.")
@click.pass_obj
def start(session: Session, paglet_id: str, request: str, request_id: str, *, waits: bool, watches: bool) -> None:
    """Begin a task with a request in JSON, by default an empty one.

    It is RUNNING, durably, when this returns, and goes on whatever becomes of hosts and of this command. The paglet
    itself tells what it takes.
    """
    if waits and watches:
        raise click.UsageError("give --wait or --watch, not both")
    text = read_text_argument(request)

    async def started(found: AnyTask) -> None:
        snapshot = await found.start(text, request_id)
        if not (waits or watches):
            await _tell(session, found, snapshot)
            return
        try:
            await (_watch(session, found, 0) if watches else _wait(session, found))
        except asyncio.CancelledError:
            note(f"the task goes on: `paglets task wait {paglet_id}` waits for it, `task cancel` ends it")
            raise

    _run(session, paglet_id, started)


@task.command()
@click.argument("paglet_id", metavar="ID")
@click.pass_obj
def status(session: Session, paglet_id: str) -> None:
    """Tell how a task stands."""

    async def told(found: AnyTask) -> None:
        await _tell(session, found, await found.client.get())

    _run(session, paglet_id, told)


@task.command()
@click.argument("paglet_id", metavar="ID")
@click.pass_obj
def wait(session: Session, paglet_id: str) -> None:
    """Wait for the end of a task, over moves and restarts, and tell how it stands then.

    A task that failed ends this with the code of its error. Without --timeout it waits as long as it takes.
    """
    _run(session, paglet_id, lambda found: _wait(session, found))


@task.command()
@click.argument("paglet_id", metavar="ID")
@click.option(
    "--after", metavar="REVISION", type=click.IntRange(0), default=0, help="Tell only what is newer than this."
)
@click.pass_obj
def watch(session: Session, paglet_id: str, after: int) -> None:
    """Tell how a task stands, and again after each change, until it has ended; a line each.

    It goes on over moves and restarts. A task that failed ends this with the code of its error.
    """
    _run(session, paglet_id, lambda found: _watch(session, found, after))


@task.command()
@click.argument("paglet_id", metavar="ID")
@click.option("--request-id", default="", help="Repeats an earlier cancel: a later run is left alone.")
@click.pass_obj
def cancel(session: Session, paglet_id: str, request_id: str) -> None:
    """End a task that is under way: it has failed with TASK_CANCELLED then. Any other stays as it is."""

    async def cancelled(found: AnyTask) -> None:
        await _tell(session, found, await found.client.cancel(request_id=request_id))

    _run(session, paglet_id, cancelled)


def _run(session: Session, paglet_id: str, body: Callable[[AnyTask], Awaitable[None]]) -> None:
    async def with_client(client: Client) -> None:
        from paglets.cli.task_calls import AnyTask

        await body(AnyTask(client.proxy(paglet_id)))

    session.run(with_client)


async def _wait(session: Session, found: AnyTask) -> None:
    """Waits for the end, on a terminal with a bar. Raises the task's own failure; DEADLINE_EXCEEDED."""
    timeout_s, last = session.move_timeout_s, None
    try:
        async with asyncio.timeout(None if math.isinf(timeout_s) else timeout_s):
            with task_bar(found.client.proxy.paglet_id) as advance:
                async with aclosing(found.client.watch()) as watched:
                    async for last in watched:
                        advance(*_advanced(last))
    except TimeoutError as error:
        raise DeadlineError("DEADLINE_EXCEEDED", f"the task has not ended in {timeout_s:g} s; it goes on") from error
    if last is not None:
        await _tell(session, found, last)
        _raise_failure(last)


async def _watch(session: Session, found: AnyTask, after: int) -> None:
    async with aclosing(found.client.watch(after)) as watched:
        async for snapshot in watched:
            if session.json:
                write_json(await found.record(snapshot))
            else:
                told = (snapshot.revision, snapshot.phase.value, snapshot.host, *await found.words(snapshot))
                click.echo("  ".join(filter(None, map(plain, (*told, snapshot.error)))))
            _raise_failure(snapshot)


def _raise_failure(snapshot: _Snapshot) -> None:
    from paglets.cli.task_calls import failure_of

    failure = failure_of(snapshot)
    if failure is not None:
        raise failure


async def _tell(session: Session, found: AnyTask, snapshot: _Snapshot) -> None:
    record = await found.record(snapshot)
    if session.json:
        write_json(record)
        return
    progress, result = await found.words(snapshot)
    told = {**record, "progress": progress, "result": result}
    write_record({name: value for name, value in told.items() if value not in {None, ""}}, as_json=False)


def _advanced(snapshot: _Snapshot) -> tuple[int, int | None, str]:
    """What a bar shows of a task."""
    progress, where = snapshot.progress, f"{snapshot.phase.value} on {snapshot.host}"
    if progress is None:
        return 0, None, where
    return progress.done, progress.total or None, progress.message or where
