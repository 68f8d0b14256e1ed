"""The services that a host offers with `--system`: how they are called, and when they run."""

from __future__ import annotations

import pytest

from paglets.config import ResidentLifecycle, ResidentServiceSpec
from paglets.discovery import ServiceScope
from paglets.system.mesh_info import server_info_id
from paglets.system.residents import SYSTEM_RESIDENTS

BY_TYPE = {spec.type: spec for spec in SYSTEM_RESIDENTS}


def _spec(type_name: str, paglet_id: str, *, singleton: bool = True) -> ResidentServiceSpec:
    """A service that the whole mesh finds, which starts when it is called and rests when it was idle for 30 s."""
    return ResidentServiceSpec(
        type=f"paglets.system.{type_name}",
        scope=ServiceScope.MESH,
        lifecycle=ResidentLifecycle.LAZY,
        paglet_id=paglet_id,
        singleton=singleton,
        idle_timeout_s=30.0,
    )


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(_spec("user_info.UserInfo", "service.user-info"), id="UI-1"),
        pytest.param(_spec("server_info.ServerInfo", "service.server-info", singleton=False), id="SI-1"),
        pytest.param(_spec("mesh_info.MeshInfo", "service.mesh-info"), id="MI-1"),
    ],
)
def test_ui_1_ids_and_lives(spec: ResidentServiceSpec) -> None:
    """Each has a short id and is found by all; one in the mesh, but for the machine's, of which each host has one."""
    assert BY_TYPE[spec.type] == spec


def test_machines_are_found_by_their_hosts() -> None:
    """Who wants the load of a host calls that host's own."""
    assert server_info_id("alpha") == "service.server-info.alpha"
