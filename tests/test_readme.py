"""The README's code, done as it stands: every block from top to bottom, with real hosts in processes of their own.

A reader differs from a person in one way only: the hosts listen on free ports, so the README's addresses stand for the
real ones. What a line says that it `# prints` must be in what it printed.
"""

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
COUNTER_PROTO = ROOT / "protos" / "paglet" / "examples" / "counter" / "v1" / "counter.proto"
PATIENCE_S = 60.0

_BLOCK = re.compile(r"(?P<prose>.*?)^```(?P<kind>\w+)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
_PRINTS = re.compile(r"# prints (.+)$", re.MULTILINE)
_SERVE = re.compile(r"^[^#]*paglets host serve [^#]*&$")


@dataclass(frozen=True, slots=True)
class Block:
    """One block of code, and what is said right before it."""

    prose: str
    kind: str
    code: str

    @property
    def commands(self) -> list[str]:
        """The lines of a shell, those that are continued made one."""
        return re.sub(r"\\\n\s*", "", self.code).splitlines()


def blocks(kind: str = "") -> list[Block]:
    """The README's blocks, of one kind if it is given."""
    found = [Block(**match.groupdict()) for match in _BLOCK.finditer(README.read_text(encoding="utf-8"))]
    return [block for block in found if kind in ("", block.kind)]


@dataclass(slots=True)
class Reader:
    """Somebody who does what the README says, in a folder with nothing in it."""

    folder: Path
    hosts: list[Process] = field(default_factory=list[Process])
    stands_for: dict[str, str] = field(default_factory=dict[str, str])

    async def follow(self, block: Block) -> None:
        """Does what one block says."""
        if block.kind == "python":
            await self._python(block)
        elif block.kind == "bash":
            await self._shell(block)

    async def end_hosts(self) -> list[int]:
        """Ends the hosts as Ctrl-C does; how they ended."""
        for host in self.hosts:
            os.killpg(host.pid, signal.SIGINT)
        return [await asyncio.wait_for(host.wait(), PATIENCE_S) for host in self.hosts]

    async def _python(self, block: Block) -> None:
        """A module is saved under the name that it is given; anything else is a program."""
        named = re.search(r"`(\w+\.py)`", block.prose)
        path = self.folder / (named[1] if named else "program.py")
        path.write_text(self._real(block.code), encoding="utf-8")
        if not named:
            await self._run(block.code, f"{shlex.quote(sys.executable)} {path.name}")

    async def _shell(self, block: Block) -> None:
        """Lines one after the other, in one shell for those between two hosts."""
        waiting: list[str] = []
        for command in block.commands:
            if _SERVE.match(command):
                await self._run_all(waiting)
                await self._serve(command.removesuffix("&"))
            elif command.startswith("buildscripts/"):
                assert os.access(ROOT / command.split()[0], os.X_OK)
            elif not command.startswith("grpcurl"):  # it is not everywhere; its twin is run
                waiting.append(command)
        await self._run_all(waiting)

    async def _run_all(self, commands: list[str]) -> None:
        text = "\n".join(commands)
        commands.clear()
        await self._run(text, self._real(text))

    async def _run(self, text: str, script: str) -> None:
        """Runs a script, and looks for what `text` says that it prints."""
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", script),
            cwd=self.folder,
            env=self._environment(),
            stdout=PIPE,
            stderr=STDOUT,
        )
        printed = (await asyncio.wait_for(process.communicate(), PATIENCE_S))[0].decode()
        assert process.returncode == 0, f"{script}\n{printed}"
        rest = printed
        for expected in _PRINTS.findall(text):
            assert expected in rest, f"{script}\n{printed}"
            rest = rest.partition(expected)[2]

    async def _serve(self, command: str) -> None:
        """Starts a host on a free port, and learns where it is."""
        found = re.search(r"--listen (\S+)", command)
        named = found[1] if found else "127.0.0.1:7600"
        script = f"{self._real(command)} --json --until-eof --listen 127.0.0.1:0"
        with (self.folder / "hosts.log").open("ab") as log:
            host = await asyncio.create_subprocess_exec(
                *("bash", "-c", script),
                cwd=self.folder,
                env=self._environment(),
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                start_new_session=True,
            )
        self.hosts.append(host)
        assert host.stdout is not None
        ready = await asyncio.wait_for(host.stdout.readline(), PATIENCE_S)
        assert ready, (self.folder / "hosts.log").read_text(encoding="utf-8")
        self.stands_for[named] = json.loads(ready)["address"]

    def _real(self, text: str) -> str:
        """The text with the addresses of this reader's hosts, and the environment that the tests are run in."""
        for named, real in self.stands_for.items():
            text = text.replace(named, real)
        return text.replace("source .venv/bin/activate", f"source {shlex.quote(f'{sys.prefix}/bin/activate')}")

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PAGLETS_", "XDG_"))}
        address = self.stands_for.get("127.0.0.1:7600", "")
        path = f"{Path(sys.prefix, 'bin')}{os.pathsep}{own['PATH']}"
        return {**own, "HOME": str(self.folder / "home"), "PATH": path, "PAGLETS_HOST": address}


@asynccontextmanager
async def reader(folder: Path) -> AsyncGenerator[Reader]:
    """A reader, of whose hosts nothing is left when the block has ended, whatever happened."""
    made = Reader(folder)
    try:
        yield made
    finally:
        for host in made.hosts:
            if host.returncode is None:
                os.killpg(host.pid, signal.SIGKILL)
                await host.wait()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_every_block_does_what_it_says(tmp_path: Path) -> None:
    """Who follows the README from top to bottom gets what it says, and can end the hosts in the end."""
    async with reader(tmp_path) as somebody:
        for block in blocks():
            await somebody.follow(block)
        assert await somebody.end_hosts() == [0, 0, 0, 0, 0, 0]


def test_it_shows_all_kinds_of_code() -> None:
    """There is something to follow: commands, a program, a paglet and its proto."""
    assert {"bash", "proto", "python"} == {block.kind for block in blocks()}


def test_grpcurl_and_buf_make_the_same_call() -> None:
    """The grpcurl line asks what the line below it asks, which is run."""
    (commands,) = [block.commands for block in blocks("bash") if "grpcurl" in block.code]
    grpcurl, buf = (shlex.split(command, comments=True) for command in commands)
    *_, address, operation = grpcurl
    assert ["grpcurl", "-plaintext", "-H", "paglet-id: counter", address, operation] == grpcurl
    shared = ["--protocol", "grpc", "--http2-prior-knowledge", "-H", "paglet-id: counter"]
    assert ["buf", "curl", *shared, f"http://{address}/{operation}"] == buf


def test_the_proto_is_the_examples() -> None:
    """What the README shows of the counter's proto is what it says."""
    (shown,) = blocks("proto")
    assert _is_part(_statements(shown.code), _statements(COUNTER_PROTO.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name: str) -> None:
    """Every link to a file of the project finds it."""
    links = _LINK.findall((ROOT / name).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


def _statements(proto: str) -> list[str]:
    return [line.strip() for line in proto.splitlines() if line.strip() and not line.strip().startswith("//")]


def _is_part(lines: list[str], whole: list[str]) -> bool:
    """Whether the lines are in the whole, one after the other."""
    return any(whole[start : start + len(lines)] == lines for start in range(len(whole)))
