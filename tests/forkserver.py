"""A process that has imported all that `python -m paglets` may need, and forks one for each request: `tests/forked.py`.

It has one thread and has used nothing of what it imported, no event loop, no gRPC: so a fork of it is what a process of
its own is after its imports. It must never know what a request is for.

A request is one packet on the control socket: arguments, folder and environment, and four descriptors, one of a socket
for the answers, and standard input, output and error. The answers are the pid and, after the end, the exit code, one a
line.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import paglets.__main__ as program
import paglets.cli

__all__ = ["main"]

_AS_IT_RUNS = ("paglets.server", "paglets.client.client")
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_PACKET_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class _Request:
    """One `python -m paglets ARGUMENTS`, the socket where is told how that goes, and its standard streams."""

    arguments: Sequence[str]
    folder: str
    environment: Mapping[str, str]
    answers: int
    streams: Sequence[int]


def main(control: int) -> None:
    """Forks for whoever holds the other end of the control socket; a fork goes on as `python -m paglets` does.

    Ends when the other end is closed, whoever closes it, and ends all that it forked.
    """
    for module in pkgutil.iter_modules(paglets.cli.__path__, "paglets.cli."):
        importlib.import_module(module.name)
    for name in _AS_IT_RUNS:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # who is forked need not look at it again, and thereby copy it
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # that is for the tester, and for who is forked
    with socket.socket(fileno=control) as tester:
        request = _serve(tester)
    _become(request)
    program.main()


def _serve(tester: socket.socket) -> _Request:
    """Returns in a fork, with the request for it. Raises SystemExit when the tester is gone."""
    forks: dict[int, tuple[int, int]] = {}  # by what can be read when it has ended: its pid, and where that is told
    poll = select.poll()
    poll.register(tester, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready != tester.fileno():
                poll.unregister(ready)
                os.close(ready)
                _has_ended(*forks.pop(ready))
                continue
            request = _next(tester)
            if request is None:
                _end(pid for pid, _ in forks.values())
            pid = os.fork()
            if pid == 0:
                return request
            for stream in request.streams:
                os.close(stream)
            _tell(request.answers, pid)
            end = os.pidfd_open(pid)
            poll.register(end, select.POLLIN)
            forks[end] = (pid, request.answers)


def _next(tester: socket.socket) -> _Request | None:
    """The request that comes next; None when there will be none any more."""
    packet, descriptors, _, _ = socket.recv_fds(tester, _PACKET_BYTES, 4)
    if not packet:
        return None
    answers, *streams = descriptors
    arguments, folder, environment = json.loads(packet)
    return _Request(arguments=arguments, folder=folder, environment=environment, answers=answers, streams=streams)


def _has_ended(pid: int, answers: int) -> None:
    """Tells how a fork has ended."""
    _, status = os.waitpid(pid, 0)
    _tell(answers, os.waitstatus_to_exitcode(status))
    os.close(answers)


def _tell(answers: int, number: int) -> None:
    with suppress(OSError):  # who asked need not wait for it
        os.write(answers, b"%d\n" % number)


def _end(pids: Iterable[int]) -> NoReturn:
    """Ends all forks, then this process."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    sys.exit()


def _become(request: _Request) -> None:
    """Makes of a fork what `python -m paglets` finds when it is started by its tester; it outlives its server never."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    for number, stream in enumerate(request.streams):
        os.dup2(stream, number)
    for descriptor in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if descriptor >= len(request.streams):
            with suppress(OSError):  # that of the listing itself
                os.close(descriptor)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [request.folder, *(path for path in paths if path and path not in sys.path)]
    sys.argv = [str(program.__file__), *request.arguments]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


if __name__ == "__main__":
    main(int(sys.argv[1]))
