"""One malloc arena, however many threads there are."""

from __future__ import annotations

import subprocess
import sys

import pytest

from paglets.arena import use_one_arena

_COUNT = """
import ctypes, os, tempfile, threading
from paglets.arena import use_one_arena

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.fopen.restype = ctypes.c_void_p, ctypes.c_void_p
if {keep}:
    use_one_arena()
meet = threading.Barrier(4)

def take() -> None:
    meet.wait()
    libc.malloc(ctypes.c_size_t(100_000))
    meet.wait()

threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "arenas")
    stream = ctypes.c_void_p(libc.fopen(path.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(open(path).read().count("<heap nr="))
"""


def _arenas(*, keep: bool) -> int:
    done = subprocess.run(
        (sys.executable, "-c", _COUNT.format(keep=keep)), stdout=subprocess.PIPE, text=True, check=True
    )
    return int(done.stdout)


def test_one_arena() -> None:
    """A process that asked for it has one arena where others have one a thread; to ask again changes nothing."""
    if sys.platform != "linux" or "musl" in sys.version:
        pytest.skip("only glibc has arenas")
    assert _arenas(keep=False) > 1
    assert _arenas(keep=True) == 1
    use_one_arena()
