"""What a machine's GPUs are, and how busy: `nvidia-smi` tells, where it is installed."""

from __future__ import annotations

import csv
import shutil
import subprocess

from paglet.v1.server_info_pb2 import Gpu

__all__ = ["read_gpus"]

_QUERY = ("--query-gpu=name,utilization.gpu,memory.total,memory.used", "--format=csv,noheader,nounits")
_PATIENCE_S = 2.0
_MIB = 1024 * 1024


def read_gpus() -> tuple[list[Gpu], str]:
    """The GPUs, and why there is nothing to tell of them; blocking, for 2 seconds at most."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return [], "nvidia-smi is not installed"
    try:
        told = subprocess.run(  # noqa: S603 - nothing in the command is anybody else's
            (program, *_QUERY), capture_output=True, timeout=_PATIENCE_S, check=True, text=True, errors="replace"
        )
        return [_gpu(*row) for row in csv.reader(told.stdout.splitlines(), skipinitialspace=True)], ""
    except subprocess.TimeoutExpired:
        return [], f"nvidia-smi did not answer within {_PATIENCE_S:g} s"
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip()
        return [], f"nvidia-smi failed: {said or error}"
    except (OSError, TypeError, ValueError) as error:
        return [], f"nvidia-smi could not be understood: {error}"


def _gpu(name: str, percent: str, memory: str, used: str) -> Gpu:
    gpu = Gpu(name=name)
    if _is_told(percent):
        gpu.percent = float(percent)
    if _is_told(memory):
        gpu.memory_bytes = int(memory) * _MIB
    if _is_told(used):
        gpu.used_memory_bytes = int(used) * _MIB
    return gpu


def _is_told(text: str) -> bool:
    return not text.startswith("[")  # as [N/A]
