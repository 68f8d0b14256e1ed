"""paglets: a gRPC mesh of hosts on which stateful Python objects live, move with their files, and are called.

These are the names for authors and callers. Each is imported when it is first used: `import paglets` loads no gRPC.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paglets.client.client import Client
    from paglets.client.events import EventClient
    from paglets.client.operations import OperationClient
    from paglets.client.proxy import PagletProxy
    from paglets.client.task_snapshot import TaskSnapshot
    from paglets.client.tasks import TaskClient
    from paglets.core.handlers import operation
    from paglets.core.locking import state_locked
    from paglets.core.paglet import Paglet
    from paglets.core.services import Advertisement
    from paglets.digest import Digest
    from paglets.discovery import ServiceScope
    from paglets.errors import PagletError
    from paglets.operations import ServiceContract
    from paglets.patterns.coordination import CursorDrainMixin
    from paglets.patterns.fanout import MeshFanoutMixin
    from paglets.patterns.fanout_state import MeshFanoutState
    from paglets.patterns.file_mobility import FileMobilityMixin, SingleFileTransferPaglet
    from paglets.patterns.notifications import NotificationMixin
    from paglets.patterns.operations import OperationPaglet
    from paglets.patterns.tasks import TaskPaglet
    from paglets.values import ArtifactRef, FileMode, HostRef, OwnerPolicy, PagletFileRef, PagletProxyRef
    from paglets.version import __version__

__all__ = [
    "Advertisement",
    "ArtifactRef",
    "Client",
    "CursorDrainMixin",
    "Digest",
    "EventClient",
    "FileMobilityMixin",
    "FileMode",
    "HostRef",
    "MeshFanoutMixin",
    "MeshFanoutState",
    "NotificationMixin",
    "OperationClient",
    "OperationPaglet",
    "OwnerPolicy",
    "Paglet",
    "PagletError",
    "PagletFileRef",
    "PagletProxy",
    "PagletProxyRef",
    "ServiceContract",
    "ServiceScope",
    "SingleFileTransferPaglet",
    "TaskClient",
    "TaskPaglet",
    "TaskSnapshot",
    "__version__",
    "operation",
    "state_locked",
]

_ROOMS = {
    "paglets.client.client": ("Client",),
    "paglets.client.events": ("EventClient",),
    "paglets.client.operations": ("OperationClient",),
    "paglets.client.proxy": ("PagletProxy",),
    "paglets.client.task_snapshot": ("TaskSnapshot",),
    "paglets.client.tasks": ("TaskClient",),
    "paglets.core.handlers": ("operation",),
    "paglets.core.locking": ("state_locked",),
    "paglets.core.paglet": ("Paglet",),
    "paglets.core.services": ("Advertisement",),
    "paglets.digest": ("Digest",),
    "paglets.discovery": ("ServiceScope",),
    "paglets.errors": ("PagletError",),
    "paglets.operations": ("ServiceContract",),
    "paglets.patterns.coordination": ("CursorDrainMixin",),
    "paglets.patterns.fanout": ("MeshFanoutMixin",),
    "paglets.patterns.fanout_state": ("MeshFanoutState",),
    "paglets.patterns.file_mobility": ("FileMobilityMixin", "SingleFileTransferPaglet"),
    "paglets.patterns.notifications": ("NotificationMixin",),
    "paglets.patterns.operations": ("OperationPaglet",),
    "paglets.patterns.tasks": ("TaskPaglet",),
    "paglets.values": ("ArtifactRef", "FileMode", "HostRef", "OwnerPolicy", "PagletFileRef", "PagletProxyRef"),
    "paglets.version": ("__version__",),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    """Imports a name of the front door when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = found
    return found
