"""What a host's machine is, and how busy: measured by psutil when it is asked for."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from paglet.v1.server_info_pb2 import (
    DESCRIPTOR,
    Disk,
    GetLoadRequest,
    GetLoadResponse,
    GetSummaryRequest,
    GetSummaryResponse,
    ListDisksRequest,
    ListDisksResponse,
    ListProcessesRequest,
    ListProcessesResponse,
    Load,
    ProcessInfo,
)
from paglets.errors import InvalidArgumentError
from paglets.patterns.operations import OperationPaglet
from paglets.system.gpus import read_gpus
from paglets.wire.times import duration_from_message, time_to_message

__all__ = ["ServerInfo", "ServerInfoState"]

_MEASURED_S, _MAX_MEASURED_S = 0.1, 10.0
_PROCESSES, _MAX_PROCESSES = 25, 1000


@dataclass
class ServerInfoState:
    """Nothing is kept."""


class ServerInfo(OperationPaglet[ServerInfoState]):
    """Tells of the machine that it is on. Each operation runs in a thread, and reads."""

    Services = (DESCRIPTOR.services_by_name["ServerInfoService"],)

    def get_load(self, request: GetLoadRequest) -> GetLoadResponse:
        """How busy it is. Raises MALFORMED_REQUEST for an interval out of bounds."""
        interval_s = duration_from_message(request.interval) if request.HasField("interval") else _MEASURED_S
        if not 0.0 <= interval_s <= _MAX_MEASURED_S:
            raise InvalidArgumentError(
                "MALFORMED_REQUEST",
                f"interval is 0 to {_MAX_MEASURED_S:g} seconds, got {interval_s:g}",
                field="interval",
            )
        gpus, gpu_error = read_gpus() if request.with_gpus else ([], "")
        return GetLoadResponse(load=self._load(interval_s), gpus=gpus, gpu_error=gpu_error)

    def list_disks(self, request: ListDisksRequest) -> ListDisksResponse:
        """How full its volumes are."""
        paths = request.paths or sorted({found.mountpoint for found in psutil.disk_partitions()})
        return ListDisksResponse(disks=map(_disk, paths))

    def list_processes(self, request: ListProcessesRequest) -> ListProcessesResponse:
        """What runs there."""
        limit = min(max(request.limit, 1) if request.limit else _PROCESSES, _MAX_PROCESSES)
        found = sorted(_processes(request.text.casefold()), key=lambda each: -each.memory_bytes)
        for process in found:
            if not request.with_arguments:
                del process.arguments[:]
        return ListProcessesResponse(processes=found[:limit], truncated=len(found) > limit)

    def get_summary(self, request: GetSummaryRequest) -> GetSummaryResponse:
        """What it is."""
        own = self.blocking(self.context.host_status(self.context.host))
        return GetSummaryResponse(
            host=self.context.host,
            machine=platform.node(),
            system=f"{platform.system()} {platform.release()}",
            architecture=platform.machine(),
            python=platform.python_version(),
            version="" if own is None else own.version,
            boot_time=time_to_message(psutil.boot_time()),
            load=self._load(),
        )

    def _load(self, interval_s: float = _MEASURED_S) -> Load:
        memory, (minute, five, fifteen) = psutil.virtual_memory(), psutil.getloadavg()
        load = Load(
            load_1m=minute,
            load_5m=five,
            load_15m=fifteen,
            cores=psutil.cpu_count() or 1,
            cpu_percent=psutil.cpu_percent(interval_s),
            memory_bytes=memory.total,
            available_memory_bytes=memory.available,
            free_disk_bytes=psutil.disk_usage(str(self.blocking(self.work_folder()))).free,
        )
        load.time.GetCurrentTime()
        return load


def _disk(path: str) -> Disk:
    try:
        usage = psutil.disk_usage(path)
    except (OSError, ValueError) as error:
        return Disk(path=path, error=getattr(error, "strerror", None) or str(error))
    return Disk(path=path, size_bytes=usage.total, used_bytes=usage.used, free_bytes=usage.free)


def _processes(text: str) -> Iterable[ProcessInfo]:
    """The processes that have a text in their name or command line; one that ends meanwhile is left out."""
    wanted = ("pid", "name", "username", "memory_info", "create_time", "cmdline")
    for process in psutil.process_iter(wanted):
        found = process.info
        arguments = list(found["cmdline"] or ())
        if any(text in part.casefold() for part in (found["name"] or "", " ".join(arguments))):
            yield ProcessInfo(
                pid=found["pid"],
                name=found["name"] or "",
                user=found["username"] or "",
                memory_bytes=found["memory_info"].rss if found["memory_info"] else 0,
                start_time=time_to_message(found["create_time"] or 0.0),
                arguments=[os.fsencode(each).decode(errors="replace") for each in arguments],
            )
