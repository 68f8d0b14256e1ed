"""A host that the tests fork is what a host is that users start, and does not outlive its tests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from paglets.testing import HostProcess, eventually
from tests import surroundings
from tests.forked import ROOT, ForkServer

pytestmark = pytest.mark.slow

_PROGRAM = (sys.executable, "-m", "paglets")
_TESTER = """
import asyncio
from paglets.testing import HostProcess
from pathlib import Path
from tests.forked import ForkServer

async def main():
    server = ForkServer()
    HostProcess._spawn = server.spawn
    host = HostProcess(name="alpha", data=Path({data!r}))
    await host.start()
    print(host.pid, server.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def _host(folder: Path, name: str = "alpha", *arguments: str) -> HostProcess:
    return HostProcess(name=name, data=folder / name, allow=[surroundings.__name__], arguments=arguments)


async def _surroundings(folder: Path, name: str) -> dict[str, object]:
    """What a host finds around it; its name is taken out, so that two can be compared."""
    file, host = folder / f"{name}.json", _host(folder, name)
    await host.start({surroundings.FILE: str(file)})
    await host.kill()
    found: dict[str, object] = json.loads(file.read_text(encoding="utf-8").replace(name, "NAME"))
    return found


def _never(_: Sequence[str], __: Mapping[str, str]) -> bool:
    return False


async def test_fork_finds_what_a_process_finds(
    fork_server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arguments, environment, folder, paths, streams, signals, group: all but what is drawn is the same."""
    monkeypatch.setenv("ONLY_SINCE", "the server runs")
    monkeypatch.delenv("PATH")
    monkeypatch.chdir(tmp_path)
    forked = await _surroundings(tmp_path, "alpha")
    monkeypatch.setattr(fork_server, "can", _never)
    started = await _surroundings(tmp_path, "omega")
    assert forked.pop("drawn") != started.pop("drawn")
    assert forked == started


async def test_forks_draw_each_their_own(tmp_path: Path) -> None:
    """What is random in one is not in the next."""
    assert (await _surroundings(tmp_path, "alpha"))["drawn"] != (await _surroundings(tmp_path, "beta"))["drawn"]


async def test_server_is_one_thread(fork_server: ForkServer, tmp_path: Path) -> None:
    """What a thread holds when its process is forked, nobody lets go of in the fork."""
    host = _host(tmp_path)
    await host.start()
    server = psutil.Process(fork_server.pid)
    assert psutil.Process(host.pid).ppid() == server.pid
    assert server.num_threads() == 1
    await host.stop()


async def _stop(host: HostProcess) -> int:
    return await host.stop()


async def _interrupt(host: HostProcess) -> int:
    os.kill(host.pid, signal.SIGINT)
    return await host.ended()


async def _kill(host: HostProcess) -> int:
    await host.kill()
    return await host.ended()


@pytest.mark.parametrize(("end", "code"), [(_stop, 0), (_interrupt, 0), (_kill, -signal.SIGKILL)])
async def test_end_is_told(tmp_path: Path, end: Callable[[HostProcess], Awaitable[int]], code: int) -> None:
    """A fork is ended by signals as any process; its exit code is told, and nothing of it is left."""
    host = _host(tmp_path)
    await host.start()
    assert psutil.Process(host.pid).ppid() != os.getpid()
    assert host.running
    assert await end(host) == code
    assert not host.running
    assert not psutil.pid_exists(host.pid)


async def test_refusal_is_told(tmp_path: Path) -> None:
    """One that ends before it serves has its exit code and its last words told."""
    with pytest.raises(RuntimeError, match=r"(?s)ended with 2: .*--no-such-option"):
        await _host(tmp_path, "alpha", "--no-such-option").start()


@pytest.mark.parametrize(
    ("killed", "number"), [("tester", signal.SIGINT), ("tester", signal.SIGKILL), ("server", signal.SIGKILL)]
)
async def test_forks_end_with_their_tester(tmp_path: Path, killed: str, number: signal.Signals) -> None:
    """When their tester is interrupted or killed, its forks end, and the server; when that is killed, its forks do."""
    code = _TESTER.format(data=str(tmp_path / "alpha"))
    tester = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT, stdout=PIPE, stderr=PIPE)
    assert tester.stdout is not None
    pids = [int(word) for word in (await tester.stdout.readline()).split()]
    assert [psutil.Process(pid).is_running() for pid in pids] == [True, True]
    os.kill(tester.pid if killed == "tester" else pids[1], number)

    async def are_gone() -> bool:
        return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)

    await eventually(are_gone, what="the end of the forks")
    with suppress(ProcessLookupError):
        tester.kill()
    await tester.communicate()


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ((sys.executable, "-m", "paglets.bench"), {}),
        (("python", "-m", "paglets"), {}),
        (_PROGRAM, {"PYTHONPATH": "/elsewhere"}),
        (_PROGRAM, {"PYTHONHASHSEED": "0"}),
        (_PROGRAM, {"GRPC_VERBOSITY": "debug"}),
        (_PROGRAM, {"LD_PRELOAD": "x.so"}),
        (_PROGRAM, {"LC_ALL": "tlh"}),
        (_PROGRAM, {"TZ": "Asia/Kathmandu"}),
        (_PROGRAM, {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}),
    ],
)
def test_what_a_fork_cannot_be_is_started(
    fork_server: ForkServer, command: tuple[str, ...], more: dict[str, str]
) -> None:
    """Another program, and what Python or a library reads when it starts."""
    assert fork_server.can(_PROGRAM, os.environ)
    assert not fork_server.can(command, {**os.environ, **more})
