"""What others move files by, where it is installed: nginx with curl, and an rsync daemon.

They get the page cache and loopback as everybody else does. curl and nginx hash nothing, and do not wait for the disk;
rsync checks what it has moved by a digest of its own choice, and waits if it is told to, which it knows from 3.2.4 on.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from paglets.bench.processes import ProgramFailedError
from paglets.bench.rounds import Measure, Say
from paglets.bench.samples import Sample

__all__ = ["Peer", "open_peers"]

_MIB = 1024 * 1024
_START_S, _AGAIN_S = 20.0, 0.05
_NGINX = "nginx and curl, unsynced"
_RSYNC = "rsync daemon"
_FSYNC = "--fsync"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server, and its client's command lines for a file and a URL, there and back; `files` is where it keeps them."""

    name: str
    put: Callable[[Path, str], Sequence[str]]
    get: Callable[[str, Path], Sequence[str]]
    url: str
    files: Path

    def uploads(self, source: Path) -> Measure:
        """MiB/s from a client's file to the server's."""

        async def sample() -> Sample:
            command = self.put(source, f"{self.url}/artifact")
            return await self._timed(command, source, self.files / "artifact")

        return sample

    def downloads(self, source: Path, landed: Path) -> Measure:
        """MiB/s from the server's copy of `source` to a client's file; the copy is made before the clock starts."""

        async def sample() -> Sample:
            await asyncio.to_thread(shutil.copyfile, source, self.files / "artifact")
            try:
                return await self._timed(self.get(f"{self.url}/artifact", landed), source, landed)
            finally:
                await asyncio.to_thread((self.files / "artifact").unlink)

        return sample

    async def _timed(self, command: Sequence[str], source: Path, landed: Path) -> Sample:
        began = time.perf_counter()
        code = await (await asyncio.create_subprocess_exec(*command)).wait()
        seconds = time.perf_counter() - began
        size = await asyncio.to_thread(_size, source)
        if code or await asyncio.to_thread(_size, landed) != size:
            raise ProgramFailedError(f"{' '.join(command)} ended with {code}")
        await asyncio.to_thread(landed.unlink)
        return Sample(size / _MIB / seconds)


@asynccontextmanager
async def open_peers(folder: Path, say: Say) -> AsyncGenerator[list[Peer], None]:
    """Starts the servers that are installed, in `folder`; says which are not."""
    nginx, curl, rsync = (shutil.which(program, path=_path()) for program in ("nginx", "curl", "rsync"))
    async with AsyncExitStack() as stack:
        peers: list[Peer] = []
        if nginx and curl:
            peers.append(await stack.enter_async_context(_nginx(nginx, curl, folder / "nginx")))
        else:
            say("nginx or curl is not here: uploads and downloads are not held against them")
        if rsync:
            peers.append(await stack.enter_async_context(_rsync(rsync, folder / "rsync")))
        else:
            say("rsync is not here: uploads and downloads are not held against it")
        yield peers


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1


def _path() -> str:
    """Where programs are, also those for administrators."""
    return os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))


@asynccontextmanager
async def _nginx(nginx: str, curl: str, folder: Path) -> AsyncGenerator[Peer, None]:
    files, port = _folders(folder), _free_port()
    config = folder / "nginx.conf"
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/temporary;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/log; {user}\nevents {{}}\n"
        f"http {{ access_log off; client_max_body_size 0; sendfile on;\n{temporary}\n"
        f"server {{ listen 127.0.0.1:{port}; root {files}; location / {{ dav_methods PUT; }} }} }}\n"
    )
    command = (nginx, "-p", str(folder), "-e", str(folder / "log"), "-c", str(config))
    async with _serving("nginx", command, port):
        yield Peer(
            name=_NGINX,
            put=lambda source, url: (curl, "-sS", "--fail", "-T", str(source), url),
            get=lambda url, landed: (curl, "-sS", "--fail", "-o", str(landed), url),
            url=f"http://127.0.0.1:{port}",
            files=files,
        )


@asynccontextmanager
async def _rsync(rsync: str, folder: Path) -> AsyncGenerator[Peer, None]:
    files, port = _folders(folder), _free_port()
    config = folder / "rsyncd.conf"
    config.write_text(
        f"use chroot = no\nlog file = {folder}/log\npid file = {folder}/pid\n"
        f"[files]\npath = {files}\nread only = no\nuid = {os.geteuid()}\ngid = {os.getegid()}\n"
    )
    address = (f"--port={port}", "--address=127.0.0.1")
    move = (rsync, "--whole-file", *await _syncing(rsync))
    async with _serving("rsync", (rsync, "--daemon", "--no-detach", f"--config={config}", *address), port):
        yield Peer(
            name=_RSYNC if _FSYNC in move else f"{_RSYNC}, unsynced",
            put=lambda source, url: (*move, str(source), url),
            get=lambda url, landed: (*move, url, str(landed)),
            url=f"rsync://127.0.0.1:{port}/files",
            files=files,
        )


async def _syncing(rsync: str) -> Sequence[str]:
    """What has rsync wait for the disk before it says that it is done; nothing where it knows no such option."""
    asked = await asyncio.create_subprocess_exec(rsync, "--help", stdout=asyncio.subprocess.PIPE)
    told, _ = await asked.communicate()
    return (_FSYNC,) if _FSYNC.encode() in told else ()


def _folders(folder: Path) -> Path:
    files = folder / "files"
    files.mkdir(parents=True)
    return files


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@asynccontextmanager
async def _serving(name: str, command: Sequence[str], port: int) -> AsyncGenerator[None, None]:
    process = await asyncio.create_subprocess_exec(*command, start_new_session=True)

    try:
        async with asyncio.timeout(_START_S):
            while not await _listens(port):
                if process.returncode is not None:
                    raise ProgramFailedError(f"{name} ended with {process.returncode}")
                await asyncio.sleep(_AGAIN_S)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
