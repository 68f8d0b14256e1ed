"""Whether paglets is installed as it must be: its packages, SQLite, and how many files it may open.

Packages are tried in another process, since one that is broken may end its own.
"""

from __future__ import annotations

import platform
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from paglets.cli.checks.finding import Finding, failed, ok, warning
from paglets.cli.version import installed
from paglets.version import __version__

__all__ = ["descriptors", "installation"]

_PACKAGES = ("grpcio", "protobuf", "blake3", "msgspec")
_SQLITE = (3, 37, 0)
"""The first that knows STRICT tables."""
_IMPORT_S = 60.0


def installation() -> Iterator[Finding]:
    """What is installed, and whether a host can be made of it. After a failure nothing else can be looked at."""
    error = _import_error()
    if error:
        yield failed(
            "installation",
            f"paglets {__version__} for {sys.executable} cannot be imported: {error}",
            "Install it anew with all that it needs: pip install --force-reinstall paglets-grpc",
        )
        return
    packages = ", ".join(f"{package} {installed(package)}" for package in _PACKAGES)
    loop = f"uvloop {installed('uvloop')}" if find_spec("uvloop") else "asyncio's own loop, without the extra `fast`"
    yield ok("installation", f"paglets {__version__} on Python {platform.python_version()}, {packages}; {loop}")
    yield sqlite(sqlite3.sqlite_version_info)


def _import_error() -> str:
    """Why a host's code cannot be imported, in a line; empty if it can."""
    try:
        tried = subprocess.run(
            [sys.executable, "-c", "import paglets.server"],
            capture_output=True,
            text=True,
            timeout=_IMPORT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it takes longer than {_IMPORT_S:g} s"
    if tried.returncode == 0:
        return ""
    return (tried.stderr.strip().splitlines() or [f"it ends Python with {tried.returncode}"])[-1]


def sqlite(version: tuple[int, ...]) -> Finding:
    """Whether SQLite, which Python brings, is new enough."""
    found, wanted = (".".join(map(str, numbers)) for numbers in (version, _SQLITE))
    if version < _SQLITE:
        return failed("sqlite", f"{found} is too old: hosts need {wanted}", "Use a Python that brings a newer SQLite.")
    return ok("sqlite", found)


def descriptors(max_connections: int) -> Finding:
    """Whether a host may open a file for each of its connections, and as many again for its work."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or allowed >= 2 * max_connections:
        return ok("files", f"{'any number' if allowed == resource.RLIM_INFINITY else allowed} may be open at once")
    return warning(
        "files",
        f"{allowed} may be open at once, too few for {max_connections} connections and a host's work beside them",
        f"Raise the bound with `ulimit -n {2 * max_connections}`, or start hosts with a smaller --max-connections.",
    )
