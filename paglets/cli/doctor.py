"""`paglets doctor`: looks for what keeps hosts and commands from working, and says what to do next.

The checks are in `paglets.cli.checks`; a check is a function that gives findings.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

import click

from paglets.cli.checks.finding import Finding
from paglets.cli.nouns import Verb
from paglets.cli.output import plain, write_json
from paglets.cli.session import Session
from paglets.errors import PagletError
from paglets.loop import run

__all__ = ["doctor"]

_TIMEOUT_S = 5.0


class _Diagnosis:
    """What was found so far, told line by line."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.failed = False

    def tell(self, findings: Iterable[Finding]) -> None:
        for found in findings:
            self.failed |= found.status == "failed"
            if self._as_json:
                write_json({"check": found.check, "status": found.status, "found": found.found, "next": found.remedy})
            else:
                remedy = f". {found.remedy}" if found.remedy else ""
                click.echo(f"{found.status:<7}  {plain(found.check)}: {plain(found.found + remedy)}")

    async def tell_all(self, findings: AsyncGenerator[Finding]) -> None:
        async with aclosing(findings):
            async for found in findings:
                self.tell([found])


@click.command(cls=Verb)
@click.option("--name", help="As of `host serve`; so are the next two.")
@click.option("--data", metavar="DIRECTORY", help="The folder that a host is to keep its things in.")
@click.option("--listen", metavar="ADDRESS", help="Where a host is to listen.")
@click.option("--local", is_flag=True, help="Look at this machine only: ask no host.")
@click.pass_context
def doctor(
    context: click.Context,
    name: str | None,
    data: str | None,
    listen: str | None,
    local: bool,  # noqa: FBT001 - click gives it by name
) -> int:
    """Look for what keeps hosts and commands from working, and say what to do next.

    It looks at this installation, the settings, the data folder and the address that `paglets host serve` would use
    here, then at the host that commands ask, and its mesh. Nothing is changed. Exit code 1 if anything has failed. An
    answer is waited for 5 s, or --timeout. With --json, one object a line.
    """
    given = {"--name": name, "--data": data, "--listen": listen}
    return _diagnose(
        context.find_root(),
        [word for option, value in given.items() if value is not None for word in (option, value)],
        local=local,
    )


def _diagnose(root: click.Context, options: list[str], *, local: bool) -> int:
    from paglets.cli.checks.installation import installation

    session = root.ensure_object(Session)
    diagnosis = _Diagnosis(as_json=session.json)
    diagnosis.tell(installation())
    if not diagnosis.failed:
        timeout_s = session.timeout_s or _TIMEOUT_S
        _look_around(root, options, diagnosis, timeout_s)
        if not local:
            _ask(session.address, diagnosis, timeout_s)
    return 1 if diagnosis.failed else 0


def _look_around(root: click.Context, options: list[str], diagnosis: _Diagnosis, timeout_s: float) -> None:
    """Looks at this machine."""
    from paglets.cli.checks.folder import data_folder
    from paglets.cli.checks.installation import descriptors
    from paglets.cli.checks.port import listening
    from paglets.cli.checks.settings import environment, refused, settings, wanted_host

    diagnosis.tell(settings(root))
    diagnosis.tell(environment(root))
    try:
        wanted = wanted_host(root, options)
    except (click.UsageError, PagletError) as error:
        diagnosis.tell([refused(error)])
        return
    diagnosis.tell([descriptors(wanted.max_connections)])
    diagnosis.tell(data_folder(wanted.data, wanted.store.min_free_bytes))
    run(diagnosis.tell_all(listening(wanted.listen, wanted.name, timeout_s)))


def _ask(address: str, diagnosis: _Diagnosis, timeout_s: float) -> None:
    """Looks at the host that commands ask."""
    from paglets.cli.checks.asked import asked_host, proxies

    diagnosis.tell(proxies(address))
    run(diagnosis.tell_all(asked_host(address, timeout_s)))
