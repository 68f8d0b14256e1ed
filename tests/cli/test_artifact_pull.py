"""`paglets artifact pull`: from host to host."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Mesh


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
