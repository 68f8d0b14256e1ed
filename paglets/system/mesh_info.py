"""How busy the hosts of the mesh are, and which of them suits best."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from paglet.v1.mesh_info_pb2 import (
    DESCRIPTOR,
    GetLandscapeRequest,
    GetLandscapeResponse,
    HostSnapshot,
    RankedHost,
    RankHostsRequest,
    RankHostsResponse,
    RejectedHost,
)
from paglet.v1.server_info_pb2 import GetLoadRequest, Load
from paglet.v1.server_info_pb2_grpc import ServerInfoServiceStub
from paglets.core.context import Context
from paglets.core.turn import StateCell
from paglets.errors import InvalidArgumentError, PagletError
from paglets.patterns.operations import OperationPaglet
from paglets.system.residents import SERVER_INFO_ID
from paglets.values import HostRef, tidy_tags
from paglets.wire.times import duration_from_message

__all__ = ["MeshInfo", "MeshInfoState", "rank"]

_MAX_AGE_S = 20.0
_ASKED_S = 1.0


@dataclass
class MeshInfoState:
    """Nothing is kept that a restart would want back."""


class MeshInfo(OperationPaglet[MeshInfoState]):
    """Asks the `ServerInfo` of each host, and remembers what it heard for a while."""

    Services = (DESCRIPTOR.services_by_name["MeshInfoService"],)

    def __init__(self, context: Context, cell: StateCell[MeshInfoState]) -> None:
        super().__init__(context, cell)
        self._heard: dict[str, tuple[float, HostSnapshot]] = {}

    async def get_landscape(self, request: GetLandscapeRequest) -> GetLandscapeResponse:
        """The load of all hosts that are online."""
        hosts = await self.available_hosts()
        return GetLandscapeResponse(hosts=await self._snapshots(hosts, _max_age_s(request)))

    async def rank_hosts(self, request: RankHostsRequest) -> RankHostsResponse:
        """Those that suit, the least busy first."""
        _check_bounds(request)
        hosts = await self.available_hosts()
        tags = {host.name: frozenset(host.tags) for host in hosts}
        ranked, rejected = rank(await self._snapshots(hosts, _max_age_s(request)), tags, request)
        return RankHostsResponse(hosts=ranked, rejected=rejected)

    async def _snapshots(self, hosts: Sequence[HostRef], max_age_s: float) -> list[HostSnapshot]:
        """One of each host, those that are too old anew."""
        self._heard = {host.name: self._heard[host.name] for host in hosts if host.name in self._heard}
        return list(await asyncio.gather(*(self._snapshot(host.name, max_age_s) for host in hosts)))

    async def _snapshot(self, host: str, max_age_s: float) -> HostSnapshot:
        when, known = self._heard.get(host, (0.0, None))
        if known is not None and time.monotonic() - when < max_age_s:
            return known
        stub = self.stub(server_info_id(host), ServerInfoServiceStub)
        try:
            reply = await stub.GetLoad(GetLoadRequest(), timeout=_ASKED_S)
        except PagletError as error:
            return HostSnapshot(host=host, error=error.message)
        snapshot = HostSnapshot(host=host, load=reply.load)
        self._heard[host] = time.monotonic(), snapshot
        return snapshot


def rank(
    snapshots: Sequence[HostSnapshot], tags: dict[str, frozenset[str]], request: RankHostsRequest
) -> tuple[list[RankedHost], list[RejectedHost]]:
    """Those that meet all that is asked for, the least busy first, as many as are wanted; and the others with why."""
    ranked: list[RankedHost] = []
    rejected: list[RejectedHost] = []
    for snapshot in snapshots:
        reason = snapshot.error or _lacks(snapshot.load, tags[snapshot.host], request)
        if reason:
            rejected.append(RejectedHost(host=snapshot.host, reason=reason))
        else:
            ranked.append(RankedHost(snapshot=snapshot, score=_score(snapshot.load)))
    ranked.sort(key=lambda found: (found.score, found.snapshot.host))
    return ranked[: request.limit or None], rejected


def _lacks(load: Load, tags: frozenset[str], request: RankHostsRequest) -> str:
    """What of all that is asked for a host does not have; empty for nothing."""
    missing = [tag for tag in tidy_tags(request.tags) if tag not in tags]
    per_core = load.load_1m / max(1, load.cores)
    checks = (
        (bool(missing), f"it lacks the tags {', '.join(missing)}"),
        (load.available_memory_bytes < request.min_available_memory_bytes, "too little memory can be had"),
        (load.free_disk_bytes < request.min_free_disk_bytes, "too little of its disk is free"),
        (0 < request.max_load_per_core < per_core, f"its load a core is {per_core:.2f}"),
        (0 < request.max_cpu_percent < load.cpu_percent, f"its cores are busy to {load.cpu_percent:.0f} %"),
    )
    return "; ".join(reason for fails, reason in checks if fails)


def _score(load: Load) -> float:
    memory = 1 - load.available_memory_bytes / max(1, load.memory_bytes)
    return load.load_1m / max(1, load.cores) + load.cpu_percent / 100 + memory


def _check_bounds(request: RankHostsRequest) -> None:
    """Refuses what no host can be held to: it would be no filter."""
    for name in ("min_available_memory_bytes", "min_free_disk_bytes", "max_load_per_core", "max_cpu_percent", "limit"):
        value: float = getattr(request, name)
        if not value >= 0:
            raise InvalidArgumentError("MALFORMED_REQUEST", f"{name} is 0 or more, got {value}", field=name)


def _max_age_s(request: GetLandscapeRequest | RankHostsRequest) -> float:
    return duration_from_message(request.max_age) if request.HasField("max_age") else _MAX_AGE_S


def server_info_id(host: str) -> str:
    """The id of the `ServerInfo` of a host, of which each has its own."""
    return f"{SERVER_INFO_ID}.{host}"
