"""The services that a host offers with `--system`."""

from __future__ import annotations

from typing import Final

from paglets.config import ResidentServiceSpec

__all__ = ["SERVER_INFO_ID", "SYSTEM_RESIDENTS"]

SERVER_INFO_ID: Final = "service.server-info"
"""What the id of each host's own begins with."""

SYSTEM_RESIDENTS: Final = (
    ResidentServiceSpec(type="paglets.system.user_info.UserInfo", paglet_id="service.user-info"),
    ResidentServiceSpec(type="paglets.system.server_info.ServerInfo", paglet_id=SERVER_INFO_ID, singleton=False),
    ResidentServiceSpec(type="paglets.system.mesh_info.MeshInfo", paglet_id="service.mesh-info"),
)
"""Notes and the mesh once in the mesh, the machine on each host; all are started when they are first called.

Their ids are short, since people type them.
"""
