"""Peers move the same file where they are installed, and are told of where they are not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from paglets.bench.peers import open_peers

_SIZE = 3 * 1024 * 1024 + 5


def _nothing(_program: str, *, path: str) -> None:
    """No program is found in `path`."""
    assert path


async def test_nobody_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without them measures nothing of theirs, and says so."""
    monkeypatch.setattr(shutil, "which", _nothing)
    said: list[str] = []
    async with open_peers(tmp_path / "peers", said.append) as peers:
        assert peers == []
    assert [line.split()[0] for line in said] == ["nginx", "rsync"]


@pytest.mark.slow
async def test_each_moves_the_file(tmp_path: Path) -> None:
    """To the server and back, whole, and nothing is left of it on either side."""
    source, landed = tmp_path / "source", tmp_path / "landed"
    source.write_bytes(os.urandom(_SIZE))
    said: list[str] = []
    async with open_peers(tmp_path / "peers", said.append) as peers:
        if not peers:
            pytest.skip(f"none of them is here: {said}")
        for peer in peers:
            for measure in (peer.uploads(source), peer.downloads(source, landed)):
                assert (await measure()).value > 0
                assert list(peer.files.iterdir()) == []
    assert not landed.exists()
