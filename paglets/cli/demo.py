"""`paglets demo`: two hosts, a paglet that counts and moves, a file that travels; nothing is left behind."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

from paglets.cli.demo_hosts import HostEndedError
from paglets.cli.nouns import Verb
from paglets.cli.session import Session
from paglets.errors import PagletError
from paglets.loop import run

__all__ = ["demo"]


@click.command(cls=Verb)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path))
@click.pass_context
def demo(context: click.Context, file: Path | None) -> None:
    """Show in a few seconds what paglets are: two hosts on this machine, a counter, and FILE on a journey.

    Without FILE the running Python's standard library is packed and sent. All happens in a temporary folder; when this
    ends, by itself or by a signal, no process, port or file is left; SIGKILL alone leaves the folder.
    """
    session = context.ensure_object(Session)
    stopped_by = run(_until_signal(_tell(file, as_json=session.json)))
    if stopped_by is not None:
        context.exit(128 + stopped_by)


async def _tell(file: Path | None, *, as_json: bool) -> None:
    from paglets.cli.demo_story import DemoError, tell

    with tempfile.TemporaryDirectory(prefix="paglets-demo-") as folder:
        try:
            await tell(Path(folder), file, as_json=as_json)
        except (DemoError, HostEndedError, PagletError) as error:
            raise click.ClickException(f"the demo failed: {error}") from error


async def _until_signal(story: Coroutine[Any, Any, None]) -> int | None:
    """Runs the story to its end, or until a signal that asks for that, which is returned.

    In any case its clean-up is run to the end. Signals after the first change nothing: the clean-up is bounded.
    """
    received: list[int] = []
    task = asyncio.create_task(story)

    def stop(number: int) -> None:
        if not received:
            task.cancel()
        received.append(number)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not received:
            raise
    return received[0] if received else None
