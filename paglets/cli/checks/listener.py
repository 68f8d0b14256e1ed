"""What listens at an address where no host answers: gRPC only says that it failed.

It looks by plain sockets, each time for so long at most. This file must never know gRPC.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from typing import TypeVar

from paglets.cli.checks.finding import reason

__all__ = ["addresses", "explained"]

ResultT = TypeVar("ResultT")

_UNIX = "unix:"
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""How HTTP/2 begins, by which gRPC does: the preface and empty settings."""
_SETTINGS, _ALERT = b"\x04", b"\x15\x03"
_SHOWN_BYTES = 24


async def explained(address: str, timeout_s: float) -> str:
    """What is found at `NAME:PORT` or `unix:PATH`, as the end of a sentence."""
    try:
        return await _in_thread(lambda: _explain(address, timeout_s), 4 * timeout_s)
    except TimeoutError:
        return f"its name, or a connection, does not come about within {4 * timeout_s:g} s"


async def addresses(name: str, port: int, timeout_s: float) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """What a name stands for to who listens there, empty for everywhere. Raises `OSError`, ValueError."""
    found = await _in_thread(
        lambda: socket.getaddrinfo(name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE), timeout_s
    )
    return [(family, (str(where[0]), port)) for family, _, _, _, where in found]


async def _in_thread(work: Callable[[], ResultT], timeout_s: float) -> ResultT:
    """Does what nobody can cut short, as the system's resolver, in a thread that no end of the process waits for."""
    begun = Future[ResultT]()

    def run() -> None:
        if begun.set_running_or_notify_cancel():
            try:
                begun.set_result(work())
            except (OSError, ValueError) as error:
                begun.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    async with asyncio.timeout(timeout_s):
        return await asyncio.wrap_future(begun)


def _explain(address: str, timeout_s: float) -> str:
    try:
        connection = _connect(address, timeout_s)
    except ValueError as error:  # of a name that is none, too
        return f"that is no address ({reason(error)})"
    except socket.gaierror as error:
        return f"its name is not known here ({reason(error)})"
    except TimeoutError:
        return f"no connection comes about within {timeout_s:g} s"
    except ConnectionRefusedError:
        return "nothing listens there"
    except OSError as error:
        return f"no connection comes about ({reason(error)})"
    with closing(connection):
        try:
            connection.sendall(_HELLO)
            head = connection.recv(1024)
        except TimeoutError:
            return f"something accepts connections there, but says nothing within {timeout_s:g} s"
        except OSError:
            head = b""
    return _told(head) or _told_of_tls(address, timeout_s)


def _connect(address: str, timeout_s: float) -> socket.socket:
    if not address.startswith(_UNIX):
        name, _, port = address.rpartition(":")
        return socket.create_connection((name.strip("[]"), int(port)), timeout_s)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout_s)
    try:
        connection.connect(address.removeprefix(_UNIX))
    except OSError:
        connection.close()
        raise
    return connection


def _told(head: bytes) -> str:
    """What begins its answer so; empty when there was no answer."""
    if head.startswith(_ALERT):
        return "a server that wants TLS listens there, and paglets speaks plain text"
    if head[3:4] == _SETTINGS:
        return "a server that speaks HTTP/2 listens there, and answers no call in time"
    if head.startswith(b"HTTP/") or b"<html" in head.lower():
        return "a web server that speaks HTTP/1 listens there, no host"
    return f"something else than a host listens there; it says {ascii(head[:_SHOWN_BYTES])[1:]}" if head else ""


def _told_of_tls(address: str, timeout_s: float) -> str:
    """What closes connections without a word: it may have waited for TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with closing(_connect(address, timeout_s)) as connection, context.wrap_socket(connection):
            return _told(_ALERT)
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):  # it speaks TLS, and wants more of it than we have, e.g. a certificate
            return _told(_ALERT)
    except OSError:
        pass
    return "connections are closed at once: by something else than a host, or by one that has too many"
