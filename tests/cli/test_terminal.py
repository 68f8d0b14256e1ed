"""What is drawn on a terminal, and never anywhere else."""

from __future__ import annotations

import json
import random
import re

import pytest

from tests.cli.conftest import Mesh

pytestmark = pytest.mark.slow

_BAR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|.*\r(?!\n)")


def test_table_on_a_terminal(mesh: Mesh) -> None:
    """A terminal gets a table with a bold head; what is not a terminal gets none of it."""
    code, drawn = mesh.cli.on_terminal("mesh", "ls")
    assert code == 0
    assert "\x1b[1m" in drawn
    assert mesh.alpha in drawn
    assert "\x1b" not in mesh.cli("mesh", "ls").out


def test_ids_are_never_broken(mesh: Mesh) -> None:
    """On a narrow terminal the id stays whole, so that it can be copied; other columns are folded."""
    artifact_id = mesh.cli.process("artifact", "put", "-", "--name", "narrow", given=b"x").out.strip()
    assert artifact_id
    code, drawn = mesh.cli.on_terminal("artifact", "ls", env={"COLUMNS": "60"})
    assert code == 0
    assert artifact_id in drawn


def test_progress_with_bytes_speed_and_time(mesh: Mesh, seed: int) -> None:
    """A transfer draws how many bytes of how many, how fast, and how long; without a terminal it draws nothing."""
    (mesh.cli.home / "big.bin").write_bytes(random.Random(seed).randbytes(3_000_000))
    code, drawn = mesh.cli.on_terminal("artifact", "put", "big.bin")
    assert code == 0
    assert "2.9/2.9 MiB" in drawn
    assert "B/s" in drawn
    assert "0:00:00" in drawn
    assert "\x1b[3" in drawn
    assert "\x1b" not in mesh.cli("artifact", "put", "big.bin").err


def test_progress_of_several(mesh: Mesh, seed: int) -> None:
    """Several files have a bar for all of them above that of each; what is told stands alone on its lines."""
    for name in ("one.bin", "two.bin"):
        (mesh.cli.home / name).write_bytes(random.Random(seed).randbytes(3_000_000))
    code, drawn = mesh.cli.on_terminal("artifact", "put", "one.bin", "two.bin", "--json")
    assert code == 0
    assert "file 2 of 2" in drawn
    assert "5.7/5.7 MiB" in drawn
    told = [line for line in _BAR.sub("", drawn).splitlines() if line.startswith("{")]
    ids = [json.loads(line)["artifact_id"] for line in told]
    assert len(ids) == 2
    code, drawn = mesh.cli.on_terminal("artifact", "get", *ids, "-o", "fetched")
    assert code == 0
    assert "file 2 of 2" in drawn
    assert "5.7/5.7 MiB" in drawn


def test_no_color_is_obeyed(mesh: Mesh, seed: int) -> None:
    """With NO_COLOR set nothing is coloured, and everything is there."""
    (mesh.cli.home / "plain.bin").write_bytes(random.Random(seed).randbytes(3_000_000))
    code, drawn = mesh.cli.on_terminal("artifact", "put", "plain.bin", env={"NO_COLOR": "1"})
    assert code == 0
    assert "2.9/2.9 MiB" in drawn
    assert "\x1b[3" not in drawn
    assert "\x1b[9" not in drawn


def test_what_hosts_say_is_drawn_as_it_is(mesh: Mesh) -> None:
    """Names are no markup and no commands, on a terminal least of all."""
    (mesh.cli.home / "x.txt").write_text("x")
    assert mesh.cli("artifact", "put", "x.txt", "--name", "[red]a\x1b]0;b", "--owner", "eve").code == 0
    code, drawn = mesh.cli.on_terminal("artifact", "ls", "--owner", "eve")
    assert code == 0
    assert "[red]a" in drawn
    assert "\x1b]0;" not in drawn
