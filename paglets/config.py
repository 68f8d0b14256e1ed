"""Settings: frozen, with their defaults; argument beats environment beats file, which `paglets.cli` sees to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from paglets.discovery import ServiceScope
from paglets.members import require_member

__all__ = [
    "DEFAULT_MAX_CONNECTIONS",
    "DEFAULT_PORT",
    "DirectorySettings",
    "HostSettings",
    "MailboxSettings",
    "PostSettings",
    "ResidentLifecycle",
    "ResidentServiceSpec",
    "StoreSettings",
]

DEFAULT_PORT = 7600
DEFAULT_MAX_CONNECTIONS = 500
"""Half of the files that a process may have open, where nobody says otherwise: the rest is for databases and blobs."""

_GIB = 1024**3
_MIB = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Bounds of an artifact store, in bytes; None means unlimited. Reads are counted where others drive them.

    Uploads of up to `inline_bytes` become blobs inside the catalogue, 0 for none; those of a batch do if
    they want no file, and what is there stays there.

    `quota_bytes` is for what is on the disk, `owner_quota_bytes` for the artifacts of each owner, shared bytes or not.
    Uploads are open while somebody writes them; partials are kept for `partial_ttl_s` after that, in seconds. Every
    `sync_step_bytes` of an upload survive a loss of power, whatever survives a killed host. There may be as many
    watches as reads; the last `keep_events` changes, at least 1, are kept for them. In the background every blob is
    re-read once in `scrub_period_s`, at `scrub_bytes_per_s`; None means never.
    """

    inline_bytes: int = 16 * 1024
    max_artifact_bytes: int | None = _GIB
    quota_bytes: int | None = 10 * _GIB
    owner_quota_bytes: int | None = None
    min_free_bytes: int = 64 * _MIB
    reserve_step_bytes: int = 64 * _MIB
    sync_step_bytes: int = 256 * _MIB
    max_open_uploads: int = 64
    max_partials: int = 1024
    partial_ttl_s: float = 24 * 3600.0
    max_open_reads: int = 128
    keep_events: int = 10_000
    scrub_bytes_per_s: float | None = 20.0 * _MIB
    scrub_period_s: float = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySettings:
    """What a directory keeps of what happened: the last `keep_events` writes, none older than `keep_events_s` seconds.

    What is too much is forgotten as others come, a thousandth of `keep_events` at once.

    A watch that has nothing to tell says where it is every `bookmark_s` seconds.
    """

    keep_events: int = 200_000
    keep_events_s: float = 30 * 24 * 3600.0
    bookmark_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxSettings:
    """How many calls, and bytes of calls, may wait for one paglet."""

    max_calls: int = 1000
    max_bytes: int = 16 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class PostSettings:
    """How many posts, and bytes of posts, are kept for one paglet, and how long one is tried that finds UNAVAILABLE.

    Dead letters count. `patience_s` is in seconds.
    """

    max_posts: int = 1000
    max_bytes: int = 16 * _MIB
    patience_s: float = 3600.0


class ResidentLifecycle(StrEnum):
    """When a resident service runs: from its first call on until it is idle, or as long as its host."""

    LAZY = "lazy"
    EAGER = "eager"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentServiceSpec:
    """A service that a host starts by itself: a paglet of `type`, `module.Class`, found before it runs.

    Its id is `paglet_id`, or `service.` and the name of its service. A `singleton` is one in the whole mesh, however
    many hosts declare it, though `on_creation` may run at several that start it at once; else the id ends with the
    host's name. A LAZY one rests on the disk when nobody has used it for `idle_timeout_s` seconds, and is brought back
    by the next call. `state_json` is what it begins with.
    """

    type: str
    scope: ServiceScope = ServiceScope.MESH
    lifecycle: ResidentLifecycle = ResidentLifecycle.LAZY
    paglet_id: str = ""
    singleton: bool = True
    idle_timeout_s: float = 30.0
    state_json: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises TypeError for a scope or a lifecycle by its text."""
        require_member(self.scope, ServiceScope, "scope")
        require_member(self.lifecycle, ResidentLifecycle, "lifecycle")

    @property
    def module(self) -> str:
        """The module of the type, which may run on the host by being named here."""
        return self.type.rpartition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSettings:
    """How many events, and bytes of events, are kept for one paglet; the last one always is."""

    max_events: int = 1000
    max_bytes: int = _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """Everything a host is started with. Durations are in seconds.

    `listen` is `address:port` (port 0: the port the host had last, or a free one) or `unix:PATH`; `join` is the address
    of any host of a mesh, empty to begin one; `allow` names the modules whose paglet types may run here, beside
    those of `residents`, the services that the host starts by itself; files of the file patterns stay below
    `file_roots`. Of `tags` the mesh is told each once, in lower case. `max_watches` of paglets and hosts may be open.
    `max_pulls` may be unfinished; one that got no further for `pull_patience_s` is given up. An encoded state has
    `max_state_bytes` at most if every turn is kept, `max_saved_state_bytes` if it is saved now and then;
    `storage_quota_bytes` is for what each class keeps beside its states, None for no bound. A turn that ends more than
    `stuck_after_s` after its deadline is rolled back. `max_connections` may be open at each address that a host listens
    on, other hosts' among them; one more is closed at once. Of the `max_concurrent_rpcs` of a host one connection gets
    `max_rpcs_of_connection`; at one paglet `max_calls_of_paglet` may be under way, `max_calls_of_caller` of each
    caller.
    """

    name: str
    data: Path
    listen: str = f"127.0.0.1:{DEFAULT_PORT}"
    join: str = ""
    allow: tuple[str, ...] = ()
    residents: tuple[ResidentServiceSpec, ...] = ()
    file_roots: tuple[Path, ...] = ()
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict[str, str])
    insecure: bool = False
    store: StoreSettings = field(default_factory=StoreSettings)
    mailbox: MailboxSettings = field(default_factory=MailboxSettings)
    posts: PostSettings = field(default_factory=PostSettings)
    events: EventSettings = field(default_factory=EventSettings)
    directory: DirectorySettings = field(default_factory=DirectorySettings)
    lease_s: float = 10.0
    drain_s: float = 10.0
    shutdown_budget_s: float = 10.0
    quiesce_s: float = 30.0
    unary_deadline_s: float = 30.0
    stuck_after_s: float = 300.0
    dedupe_keep_s: float = 24 * 3600.0
    dedupe_max_replies: int = 1000
    dedupe_max_bytes: int = _MIB
    max_state_bytes: int = _MIB
    max_saved_state_bytes: int = 64 * _MIB
    storage_quota_bytes: int | None = 10 * _MIB
    max_connections: int = DEFAULT_MAX_CONNECTIONS
    max_concurrent_rpcs: int = 4096
    max_watches: int = 128
    max_rpcs_of_connection: int = 1024
    max_calls_of_paglet: int = 2000
    max_calls_of_caller: int = 500
    max_pulls: int = 1024
    pull_patience_s: float = 3600.0
