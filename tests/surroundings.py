"""Writes down what a process finds around it, for a host that is told to allow this module: `tests/test_forked.py`."""

from __future__ import annotations

import json
import locale
import os
import random
import signal
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

from paglets.core.paglet import Paglet

__all__ = ["FILE", "Surrounded"]

FILE = "SURROUNDINGS_FILE"
"""The variable that names the file, which is of JSON."""


@dataclass
class SurroundedState:
    """Nothing."""


class Surrounded(Paglet[SurroundedState]):
    """Does nothing; a host allows only modules that have a paglet."""


def _found() -> dict[str, object]:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "arguments": sys.argv,
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "paths": list(dict.fromkeys(str(Path(path).resolve()) for path in sys.path)),
        "descriptors": sorted(int(path.name) for path in Path("/proc/self/fd").iterdir())[:-1],
        "streams": [
            (stream.fileno(), stream.encoding, stream.errors, stream.line_buffering, stream.isatty(), stream.newlines)
            for stream in (sys.stdin, sys.stdout, sys.stderr)
        ],
        "handlers": [str(signal.getsignal(number)).split(" at 0x")[0] for number in sorted(signal.valid_signals())],
        "status": {name: status[name] for name in ("Umask", "Threads", "SigBlk", "SigIgn", "SigCgt", "CapEff")},
        "group": (os.getpgid(0), os.getsid(0)),
        "flags": list(sys.flags),
        "locale": locale.setlocale(locale.LC_ALL),
        "warnings": len(warnings.filters),
        "threads": threading.active_count(),
        "drawn": random.random(),
    }


if FILE in os.environ:
    Path(os.environ[FILE]).write_text(json.dumps(_found()), encoding="utf-8")
