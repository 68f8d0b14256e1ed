"""The services that a host offers with `--system`."""

from __future__ import annotations

from typing import Final

from paglets.config import ResidentServiceSpec

__all__ = ["SYSTEM_RESIDENTS"]

SYSTEM_RESIDENTS: Final = (
    ResidentServiceSpec(type="paglets.system.user_info.UserInfo"),
    ResidentServiceSpec(type="paglets.system.server_info.ServerInfo", singleton=False),
    ResidentServiceSpec(type="paglets.system.mesh_info.MeshInfo"),
)
"""Notes and the mesh once in the mesh, the machine on each host; all are started when they are first called."""
