"""Whether a host could listen where it is told to, and who is there already."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncGenerator
from pathlib import Path

from paglets.cli.checks.finding import Finding, failed, ok, reason, warning
from paglets.cli.checks.listener import addresses, explained

__all__ = ["listening"]

_UNIX = "unix:"
_ELSEWHERE = "Give another address with --listen"


async def listening(listen: str, name: str, timeout_s: float) -> AsyncGenerator[Finding]:
    """Takes the address for a moment, without listening; a host of that name may be there."""
    error = await _error(listen, timeout_s)
    if error is None:
        yield ok("port", f"{listen} is free")
    elif error.errno != errno.EADDRINUSE:
        yield failed("port", f"nothing can listen at {listen}: {reason(error)}", f"{_ELSEWHERE}.")
    else:
        yield await _taken(_callable(listen), name, timeout_s)


async def _error(listen: str, timeout_s: float) -> OSError | None:
    """Why nobody could listen there; None if one could, be it at one of several addresses that a name stands for."""
    if listen.startswith(_UNIX):
        return _socket_error(Path(listen.removeprefix(_UNIX)))
    address, _, port = listen.rpartition(":")
    try:
        found = await addresses(address.strip("[]"), int(port), timeout_s)
    except (OSError, ValueError) as error:  # TimeoutError is one
        return OSError(0, f"its name is not known here ({reason(error) or 'nobody answers'})")
    errors = [_bind_error(family, where) for family, where in found]
    taken = [error for error in errors if error is not None and error.errno == errno.EADDRINUSE]
    return next(iter(taken), None if None in errors else errors[0])


def _bind_error(family: socket.AddressFamily, where: tuple[str, int]) -> OSError | None:
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC: connections that have ended do not count
        try:
            trial.bind(where)
        except OSError as error:
            return error
    return None


def _socket_error(path: Path) -> OSError | None:
    """The same of a socket in a folder: what nobody accepts on is replaced."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(0)
        try:
            caller.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            if os.access(path.parent, os.W_OK | os.X_OK):
                return None
            return OSError(0, f"{path.parent} is no folder in which this user may write")
        except BlockingIOError:
            pass
        except OSError as error:
            return error
    return OSError(errno.EADDRINUSE, "")


async def _taken(address: str, name: str, timeout_s: float) -> Finding:
    from paglets.client.client import Client
    from paglets.errors import PagletError

    try:
        async with Client(address, timeout_s=timeout_s) as client:
            found = await client.reach()
    except PagletError:
        told = await explained(address, timeout_s)
        return failed("port", f"{address} is taken: {told}", f"{_ELSEWHERE}, or end what is there (`ss -ltnp`).")
    if found.name == name:
        return ok("port", f"{address} is where host {name} listens")
    return warning("port", f"{address} is taken by host {found.name}", f"{_ELSEWHERE} to start another host here.")


def _callable(listen: str) -> str:
    """Where one can call who listens there."""
    address, _, port = listen.rpartition(":")
    return f"127.0.0.1:{port}" if address in {"", "0.0.0.0", "[::]"} else listen  # noqa: S104 - nothing is bound to it
