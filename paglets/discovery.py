"""Services that paglets answer: what is known of one, what is asked for, and whether the one fits the other.

Pure, and without protobuf, which the command line loads late. This file must never know where records are kept, or who
asks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from paglets.errors import InvalidArgumentError, NotFoundError, Resource
from paglets.members import require_member

__all__ = [
    "ServiceChange",
    "ServiceKey",
    "ServiceNotice",
    "ServiceQuery",
    "ServiceRecord",
    "ServiceScope",
    "check_advertised",
    "no_service",
    "package_version",
]

_MAX_TTL_S = 366 * 24 * 3600.0


def package_version(package: str) -> str:
    """The version of a proto package, its last part if that is one, e.g. `v1`; else empty."""
    last = package.rpartition(".")[2]
    return last if re.fullmatch(r"v\d+\w*", last) else ""


class ServiceScope(StrEnum):
    """From where a service is found, and how far one looks: on one host, or in the whole mesh."""

    LOCAL = "local"
    MESH = "mesh"


class ServiceKey(NamedTuple):
    """What there is one record of: a service of a paglet, once as that advertises it, and once for each declaration."""

    service: str
    paglet_id: str
    declared_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecord:
    """A paglet answers a service, wherever it is: the record names it, and no place.

    `host` is where it is now, or, if it was not started yet, who starts it; `advertiser` is the host where it was
    advertised, and the only one that tells of a LOCAL record. `operations` are names of rpcs. `expires_at` is seconds
    since the epoch by the directory's clock, None for never. A `resident` is declared by its advertiser, and started
    by the first call. `online` is whether `host` was there when a host was asked.
    """

    service: str
    paglet_id: str
    operations: tuple[str, ...]
    scope: ServiceScope = ServiceScope.MESH
    host: str = ""
    advertiser: str = ""
    tags: tuple[str, ...] = ()
    expires_at: float | None = None
    resident: bool = False
    online: bool = False

    def __post_init__(self) -> None:
        """Raises TypeError for a scope by its text."""
        require_member(self.scope, ServiceScope, "scope")

    @property
    def key(self) -> ServiceKey:
        """What a later record replaces this one by."""
        return ServiceKey(self.service, self.paglet_id, self.advertiser if self.resident else "")

    @property
    def version(self) -> str:
        """The last part of the service's package, e.g. `v1`; empty for a package without a version."""
        return package_version(self.service.rpartition(".")[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceQuery:
    """What is wanted of a service; empty fields want nothing.

    The name of a service has its major version in it; what a minor version adds is more operations. So a service fits
    whoever needs no operation that it does not have, also one who was built with an older proto.
    """

    service: str = ""
    operations: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    scope: ServiceScope = ServiceScope.MESH

    def __post_init__(self) -> None:
        """Raises TypeError for a scope by its text."""
        require_member(self.scope, ServiceScope, "scope")

    def takes(self, record: ServiceRecord, here: str) -> bool:
        """Whether a record fits, for who asks the host `here`; with LOCAL it has to be on that host."""
        return (
            self.service in {"", record.service}
            and set(self.operations) <= set(record.operations)
            and set(self.tags) <= set(record.tags)
            and (self.scope is ServiceScope.MESH or record.host == here)
        )


class ServiceChange(StrEnum):
    """Why a watch of services tells of one."""

    PRESENT = "present"
    ADVERTISED = "advertised"
    CHANGED = "changed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class ServiceNotice:
    """What became of a service, which is as told now, or was so when it went."""

    change: ServiceChange
    record: ServiceRecord


def check_advertised(ttl_s: float | None) -> None:
    """Refuses a time, None for any, that is over at once, or longer than anybody means. Raises MALFORMED_REQUEST."""
    if ttl_s is not None and not 0 < ttl_s <= _MAX_TTL_S:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST",
            f"a service is advertised for more than 0 seconds and at most a year, got {ttl_s}",
            field="ttl",
        )


def no_service(query: ServiceQuery, found: Sequence[ServiceRecord] = ()) -> NotFoundError:
    """What is said when nobody answers who is there; `found` are those who would, but whose hosts are away."""
    version = package_version(query.service.rpartition(".")[0])
    operations = ", ".join(query.operations)
    tags = f", tagged {', '.join(query.tags)}" if query.tags else ""
    away = f"; it is on hosts that are away: {', '.join(sorted({record.host for record in found}))}" if found else ""
    return NotFoundError(
        "SERVICE_NOT_FOUND",
        f"no paglet answers {query.service} (version {version or 'none'}) with {operations or 'any operation'}{tags},"
        f" scope {query.scope}{away}",
        resource=Resource("service", query.service),
        metadata={"service": query.service, "version": version, "operations": operations, "scope": query.scope.value},
    )
