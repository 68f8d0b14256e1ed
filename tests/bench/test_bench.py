"""`paglets bench` as a whole, with sizes that tell nothing but that it works."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from paglets.bench.settings import SUITES

SIZE, ROUNDS = 3 * 1024 * 1024 + 5, 2


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What one small run says, and the folder that it had."""
    folder = tmp_path_factory.mktemp("bench")
    sizes = ["--size", str(SIZE), "--rounds", str(ROUNDS), "--seconds", "0.05", "--folder", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "paglets", "bench", "--json", *sizes],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder


pytestmark = [pytest.mark.slow, pytest.mark.timeout(620)]


def test_every_row_has_its_reference(ran: tuple[dict[str, Any], Path]) -> None:
    """Every suite has rows, every row references, and both as many samples as there were rounds.

    Actors of other systems are there only where those are installed.
    """
    rows = ran[0]["rows"]
    assert {row["suite"] for row in rows} | {"actors"} == set(SUITES)
    for row in rows:
        assert row["references"], row["name"]
        rounds = 1 if "memory" in row["name"] or "p99" in row["name"] else ROUNDS
        for samples in (row["samples"], *(reference["samples"] for reference in row["references"])):
            assert len(samples) == rounds, row["name"]
            assert min(samples) > 0, row["name"]


def test_counts_are_those_of_equal_work(ran: tuple[dict[str, Any], Path]) -> None:
    """A host and the plain program write the same bytes and wait for the disk as often, and not less than a commit."""
    if ran[0]["counted"] is None:
        pytest.skip("strace is not here, or may not trace")
    counted = {found["work"]: found for found in ran[0]["counted"]}
    for work, least in (("upload", 4), ("download", 2)):
        ours, plain = counted[work], counted[f"{work}, plain socket"]
        assert ours["data_bytes"] == plain["data_bytes"] == SIZE
        for what in ("data_syncs", "folder_syncs", "catalogue_syncs", "syncs"):
            assert ours[what] == plain[what], f"{work}: {what}"
        assert ours["syncs"] >= least
    assert counted["upload"]["catalogue_bytes"] == pytest.approx(
        counted["upload, plain socket"]["catalogue_bytes"], rel=0.5
    )
    assert counted["dispatch with a file"]["data_bytes"] == SIZE // 4


def test_machine_is_named(ran: tuple[dict[str, Any], Path]) -> None:
    """Figures come with what they were taken on."""
    assert {"cpu", "cores", "memory", "kernel", "filesystem", "python", "grpcio", "sqlite"} <= ran[0]["machine"].keys()
    assert ran[0]["settings"]["size_bytes"] == SIZE


def test_folder_is_left_as_it_was(ran: tuple[dict[str, Any], Path]) -> None:
    """Nothing stays behind."""
    assert list(ran[1].iterdir()) == []
