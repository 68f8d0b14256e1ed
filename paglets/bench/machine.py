"""What the figures were taken on: nobody can read them without."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path

import psutil

__all__ = ["describe_machine"]

_PACKAGES = ("paglets-grpc", "grpcio", "protobuf", "blake3", "msgspec")
_GIB = 1024**3


def describe_machine(folder: Path) -> dict[str, object]:
    """The machine, the file system that `folder` is on, and the versions of what does the work."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": f"{psutil.virtual_memory().total / _GIB:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "filesystem": _filesystem(folder),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
        "sqlite": sqlite3.sqlite_version,
    }


def _cpu_model() -> str:
    """As the kernel names it; x86 does, others may not."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _filesystem(folder: Path) -> str:
    """The type of the file system with the longest mount point above the folder, and how it is mounted."""
    resolved = folder.resolve()
    above = [part for part in psutil.disk_partitions(all=True) if resolved.is_relative_to(part.mountpoint)]
    found = max(above, key=lambda part: len(part.mountpoint), default=None)
    return "unknown" if found is None else f"{found.fstype} ({found.opts})"
