"""`paglets artifact pull`: from host to host."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.conftest import Mesh
from tests.cli.running import PATIENCE_S, Cli, host, until

pytestmark = pytest.mark.slow


def put(mesh: Mesh, text: bytes) -> str:
    """Stores bytes on alpha; the artifact's id."""
    (mesh.cli.home / "pulled").write_bytes(text)
    return mesh.cli("artifact", "put", "pulled").out.strip()


@pytest.mark.parametrize("by_address", [False, True])
def test_pull(mesh: Mesh, by_address: bool) -> None:  # noqa: FBT001 - a parameter
    """An artifact of alpha, by its name or its address, is on beta afterwards, and the command says which it is."""
    artifact_id = put(mesh, b"from alpha" * (1 + by_address))
    source = mesh.alpha if by_address else "alpha"
    ran = mesh.cli("artifact", "pull", source, artifact_id, "--host", mesh.beta)
    assert ran.code == 0, ran.err
    stat = mesh.cli("artifact", "stat", ran.out.strip(), "--json", "--host", mesh.beta)
    assert (json.loads(stat.out)["host"], json.loads(stat.out)["name"]) == ("beta", "pulled")
    assert "committed: " in ran.err


def test_joins(mesh: Mesh) -> None:
    """With the pull's id the command has what came of it, also when the source has it no more."""
    artifact_id = put(mesh, b"once")
    first = mesh.cli("artifact", "pull", "alpha", artifact_id, "--pull-id", "mine", "--json", "--host", mesh.beta)
    mesh.cli("artifact", "rm", artifact_id)
    again = mesh.cli("artifact", "pull", "alpha", artifact_id, "--pull-id", "mine", "--json", "--host", mesh.beta)
    assert json.loads(first.out) == json.loads(again.out)
    assert json.loads(first.out)["pull_id"] == "mine"


def test_refused(mesh: Mesh) -> None:
    """What is not there cannot be pulled: exit code 64 + NOT_FOUND."""
    assert mesh.cli("artifact", "pull", "alpha", "missing", "--host", mesh.beta).code == 69
    assert mesh.cli("artifact", "pull", "nowhere", "missing", "--host", mesh.beta).code == 69


def test_says_what_it_waits_for(cli: Cli) -> None:
    """While the source is away it says so once, where no bar is drawn; interrupted, it leaves the pull to the host."""
    with ExitStack() as stack:
        address, near = stack.enter_context(host(cli, "near", env={"PAGLETS_FAULT": "pull.plan.after:1:stop"}))
        stack.callback(near.send_signal, signal.SIGCONT)
        source, far = stack.enter_context(host(cli, "far", "--join", address))
        (cli.home / "pulled").write_bytes(b"far away" * 100_000)
        artifact_id = Cli(cli.home, source)("artifact", "put", "pulled").out.strip()
        pull = Cli(cli.home, address).start("artifact", "pull", "far", artifact_id)
        until(lambda: "State:\tT" in Path(f"/proc/{near.pid}/status").read_text(), "the pull to be planned")
        far.kill()
        far.wait(PATIENCE_S)
        near.send_signal(signal.SIGCONT)
        assert pull.stderr is not None
        assert pull.stderr.readline().startswith("pull ")
        assert pull.stderr.readline().startswith("waiting: ")
        pull.send_signal(signal.SIGINT)
        out, err = pull.communicate(timeout=PATIENCE_S)
    assert (pull.returncode, out) == (130, "")
    assert "waiting" not in err
