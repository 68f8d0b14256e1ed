"""Counting what is asked of the disk, and finding out when two programs do not ask for the same."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from paglets.bench.counted import unequal
from paglets.bench.counting import Trace, can_count, count
from paglets.bench.samples import Counted

PROGRAM = """
import os, sqlite3, sys
folder = sys.argv[1]
file = os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o600)
os.pwrite(file, b"x" * 3000, 0)
os.write(file, b"y" * 500)
os.fdatasync(file)
os.fsync(os.open(folder, os.O_RDONLY))
rows = sqlite3.connect(folder + "/rows.db", isolation_level=None)
rows.execute("PRAGMA journal_mode=WAL")
rows.execute("PRAGMA synchronous=FULL")
rows.execute("CREATE TABLE t (x)")
print("ready", flush=True)
sys.stdin.readline()
for number in range(5):
    rows.execute("INSERT INTO t VALUES (?)", (number,))
print("done", flush=True)
sys.stdin.readline()
os._exit(0)
"""


def test_lines_are_added_up_by_kind(tmp_path: Path) -> None:
    """Whole and interrupted calls count once each, on files below the folder only, also on those without a name."""
    (tmp_path / "blobs").mkdir()
    lines = [
        f'10 pwrite64(7<{tmp_path}/part>, ""..., 1000, 0) = 1000',
        f'11 pwrite64(7<{tmp_path}/part>, ""..., 24, 1000 <unfinished ...>',
        "11 <... pwrite64 resumed>) = 24",
        f"10 fdatasync(7<{tmp_path}/part>) = 0",
        f'11 write(6<{tmp_path}/#4711>(deleted), ""..., 76) = 76',
        f"11 fsync(6<{tmp_path}/#4711>(deleted)) = 0",
        f"12 fdatasync(9<{tmp_path}/rows.db-wal> <unfinished ...>",
        f"10 fsync(8<{tmp_path}/blobs>) = 0",
        "12 <... fdatasync resumed>) = 0",
        f'12 pwrite64(9<{tmp_path}/rows.db-wal>, ""..., 4096, 32) = 4096',
        "10 fsync(5</elsewhere/file>) = 0",
        '10 write(1<pipe:[4711]>, ""..., 7) = 7',
    ]
    expected = Counted(
        work="w",
        units=1,
        data_bytes=1100,
        data_syncs=2,
        folder_syncs=1,
        catalogue_bytes=4096,
        catalogue_syncs=1,
    )
    assert expected == count("w", 1, lines, [tmp_path])
    assert expected.syncs == 4


async def test_kernel_account_of_a_program(tmp_path: Path) -> None:
    """The syncs of Python and of SQLite are all seen, and a mark tells those before from those after."""
    if not await can_count():
        pytest.skip("strace is not here, or may not trace")
    folder, trace = tmp_path / "files", Trace(tmp_path / "trace")
    folder.mkdir()
    process = await asyncio.create_subprocess_exec(
        *trace.prefix(),
        *(sys.executable, "-c", PROGRAM, str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    before = count("before", 1, trace.since(0), [folder])
    mark = trace.mark()
    process.stdin.write(b"go\n")
    assert await process.stdout.readline() == b"done\n"
    after = count("after", 1, trace.since(mark), [folder])
    process.stdin.write(b"end\n")
    assert await process.wait() == 0
    assert (before.data_bytes, before.data_syncs) == (3500, 1)
    assert (after.data_bytes, after.data_syncs, after.folder_syncs, after.catalogue_syncs) == (0, 0, 0, 5)


def test_equal_work_is_fair() -> None:
    """As many bytes, and at least as many syncs of each kind: nothing to say. Bytes of the catalogue may differ."""
    assert unequal([UPLOAD, replace(PLAIN, catalogue_bytes=1)]) == []
    assert unequal([replace(UPLOAD, data_syncs=4, catalogue_syncs=6), PLAIN]) == []


@pytest.mark.parametrize("what", ["data_bytes", "data_syncs", "folder_syncs", "catalogue_syncs"])
def test_other_work_is_unfair(what: str) -> None:
    """Where a host does less than the program it is held against, it is said what."""
    found = unequal([UPLOAD, replace(PLAIN, **{what: getattr(PLAIN, what) + 1})])
    assert len(found) == 1
    assert what in found[0]


UPLOAD = Counted(
    work="upload", units=1, data_bytes=100, data_syncs=1, folder_syncs=1, catalogue_bytes=50, catalogue_syncs=3
)
PLAIN = replace(UPLOAD, work="upload, plain socket")
