"""What every command is given: which host to ask, how long to wait, and how to say what came of it.

It imports no gRPC before a host is asked.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from paglets.config import DEFAULT_PORT
from paglets.errors import UnavailableError
from paglets.loop import run

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["DEFAULT_ADDRESS", "Session"]

ResultT = TypeVar("ResultT")

DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"
_TIMEOUT_S = 30.0


@dataclass(kw_only=True)
class Session:
    """One run of the command line. `timeout_s` is None unless the user gave one.

    `settings` is the configuration file, None if there is none; `wrong_settings` is why it cannot be read.
    """

    address: str = DEFAULT_ADDRESS
    timeout_s: float | None = None
    json: bool = False
    settings: Path | None = None
    wrong_settings: click.UsageError | None = None

    @property
    def move_timeout_s(self) -> float:
        """How long to wait for what takes as long as it takes: for ever, unless the user says otherwise."""
        return math.inf if self.timeout_s is None else self.timeout_s

    def run(self, body: Callable[[Client], Awaitable[ResultT]]) -> ResultT:
        """Runs `body` with a client of the host, which is known to be there. Ctrl-C cancels it, and so does SIGTERM."""
        return run(self._with_client(body))

    async def _with_client(self, body: Callable[[Client], Awaitable[ResultT]]) -> ResultT:
        from paglets.client.client import Client

        timeout_s = _TIMEOUT_S if self.timeout_s is None else self.timeout_s
        async with Client(self.address, timeout_s=timeout_s) as client:
            await self._reach(client)
            return await body(client)

    async def _reach(self, client: Client) -> None:
        """Fails at once where no host is, instead of waiting for one to come."""
        try:
            await client.reach()
        except UnavailableError as error:
            if error.reason != "TRANSPORT":
                raise
            raise UnavailableError(
                "TRANSPORT",
                f"no host answers at {self.address}: start one with `paglets host serve`, or name another with"
                f" --host ADDRESS or PAGLETS_HOST ({error.message})",
            ) from error
