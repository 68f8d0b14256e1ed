"""The house keeps its floors, and a house that does not is found out."""

from pathlib import Path

import pytest

import paglets
from tests.layers import HOUSE, findings

# What users may rely on. A name more or less here is a change of its own, with a line in CHANGELOG.md.
FRONT_DOOR = frozenset(
    {
        "__version__",
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
        "operation",
        "state_locked",
    }
)

SOUND = {
    "__init__.py": 'from paglets.core.paglet import Paglet\n\n__all__ = ["Paglet"]\n',
    "__main__.py": "from paglets.cli.main import main\n",
    "errors.py": "import enum\n",
    "values.py": "from paglets import errors\n",
    "sqlite.py": "import sqlite3\nimport os\nos.fsync(0)\n",
    "artifacts/__init__.py": "",
    "artifacts/local.py": "from paglets.artifacts.store import Store\nfrom paglets.sqlite import Writer\n",
    "artifacts/store.py": "import paglets.values\n",
    "directory/__init__.py": "",
    "directory/sqlite.py": "from paglets.sqlite import Writer\n",
    "wire/__init__.py": "",
    "wire/frames.py": "import grpc\n\nfrom paglets.artifacts.store import Store\nfrom paglets.wire import status\n",
    "wire/status.py": "from ..errors import PagletError\n",
    "core/__init__.py": "",
    "core/context.py": "from paglets.artifacts.store import Store\nfrom paglets.values import Ref\n",
    "core/paglet.py": "from . import context\n",
    "client/__init__.py": "",
    "client/proxy.py": "from paglet.v1 import mesh_pb2_grpc\n\nfrom paglets.core.paglet import Paglet\n",
    "patterns.py": "import paglets.core.paglet as paglet\n",
    "blocking.py": "from paglets.client.proxy import Proxy\n",
    "cli/__init__.py": "",
    "cli/main.py": "import tempfile\nfrom paglets.blocking import Client\n",
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small house that keeps every rule."""
    for name, text in SOUND.items():
        room = tmp_path / "paglets" / name
        room.parent.mkdir(parents=True, exist_ok=True)
        room.write_text(text)
    return tmp_path / "paglets"


def plant(house: Path, name: str, text: str) -> None:
    """Add lines to one of its modules, or a module."""
    with (house / name).open("a") as module:
        module.write(text)


@pytest.mark.slow
def test_house_keeps_its_rules() -> None:
    """Every import under paglets/ runs down the floors, and the front door offers what is listed."""
    found = findings(HOUSE, FRONT_DOOR)
    assert not found, "\n".join(found)


def test_front_door_names_are_there() -> None:
    """Whatever the front door offers can be had from it."""
    assert [name for name in sorted(FRONT_DOOR) if not hasattr(paglets, name)] == []


def test_sound_house_has_no_findings(house: Path) -> None:
    """A house that keeps the rules is left in peace."""
    assert findings(house, {"Paglet"}) == []


@pytest.mark.parametrize(
    ("module", "planted", "found"),
    [
        pytest.param(
            "wire/status.py",
            "from paglets.core.paglet import Paglet\n",
            "paglets.wire.status:2 imports paglets.core.paglet: wire is on floor 4, core on floor 5",
            id="upward",
        ),
        pytest.param(
            "wire/status.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from paglets.core.paglet import Paglet\n",
            "paglets.wire.status:4 imports paglets.core.paglet: wire is on floor 4, core on floor 5",
            id="typing-only",
        ),
        pytest.param(
            "wire/status.py",
            "def late() -> None:\n    import paglets.core.paglet\n",
            "paglets.wire.status:3 imports paglets.core.paglet: wire is on floor 4, core on floor 5",
            id="in-function",
        ),
        pytest.param(
            "wire/status.py",
            "from ..core import paglet\n",
            "paglets.wire.status:2 imports paglets.core.paglet: wire is on floor 4, core on floor 5",
            id="relative",
        ),
        pytest.param(
            "artifacts/local.py",
            "from paglets.wire import status\n",
            "paglets.artifacts.local:3 imports paglets.wire.status: artifacts is on floor 4, wire on floor 4",
            id="neighbour",
        ),
        pytest.param(
            "patterns.py",
            "from paglets.client import proxy\n",
            "paglets.patterns:2 imports paglets.client.proxy: patterns is on floor 6, client on floor 6",
            id="peers",
        ),
        pytest.param(
            "core/context.py",
            "from paglets.artifacts import local\n",
            "paglets.core.context:3 imports paglets.artifacts.local: "
            "core knows only artifacts.kept, artifacts.store, digest, discovery, errors, offloop, operations, state, "
            "values, wire.artifact, wire.stubs",
            id="past-the-contract",
        ),
        pytest.param(
            "host.py",
            "from paglets.directory.sqlite import SqliteDirectory\n",
            "paglets.host:1 imports paglets.directory.sqlite: host knows only artifacts.store, client, config, core, "
            "digest, directory.contract, discovery, errors, faults, offloop, operations, sqlite, state, values, "
            "wire.channel_options, wire.digest, wire.files, wire.policy, wire.states, wire.status, wire.stubs, "
            "wire.ticket",
            id="past-the-other-contract",
        ),
        pytest.param(
            "wire/status.py",
            "from paglets.artifacts.local import LocalStore\n",
            "paglets.wire.status:2 imports paglets.artifacts.local: wire is on floor 4, artifacts on floor 4",
            id="neighbour-past-the-contract",
        ),
        pytest.param(
            "wire/status.py",
            "from paglets.wire.frames import Frame\n",
            "circle: paglets.wire.frames -> paglets.wire.status -> paglets.wire.frames",
            id="circle",
        ),
        pytest.param(
            "core/context.py",
            "def late() -> None:\n    from paglets.core.paglet import Paglet\n",
            "circle: paglets.core.context -> paglets.core.paglet -> paglets.core.context",
            id="circle-in-function",
        ),
        pytest.param(
            "core/context.py",
            "from paglets import Paglet\n",
            "paglets.core.context:3 imports paglets.Paglet by the front door, which is for users",
            id="name-by-front-door",
        ),
        pytest.param(
            "core/context.py",
            "import paglets\n",
            "paglets.core.context:3 imports paglets by the front door, which is for users",
            id="front-door",
        ),
        pytest.param(
            "__init__.py",
            '__all__ += ["helper"]\n',
            "the front door offers helper, which is not listed",
            id="unlisted-name",
        ),
        pytest.param(
            "__init__.py",
            '_ROOMS = {"paglets.values": ("Ref",)}\n',
            "the front door offers Ref, which is not listed",
            id="name-in-the-table",
        ),
        pytest.param(
            "__init__.py",
            "from paglets.values import Ref\n",
            "the front door offers Ref, which is not listed",
            id="imported-name",
        ),
        pytest.param(
            "__init__.py",
            "def helper() -> None: ...\n",
            "the front door offers helper, which is not listed",
            id="defined-name",
        ),
        pytest.param("common.py", "", "common is on no floor", id="unplaced"),
        pytest.param(
            "core/context.py",
            "from grpc import aio\n",
            "paglets.core.context:3 uses grpc.aio, but gRPC is known only in client, server, services, wire",
            id="grpc",
        ),
        pytest.param(
            "core/context.py",
            "from paglet.v1 import mesh_pb2_grpc\n",
            "paglets.core.context:3 uses paglet.v1.mesh_pb2_grpc, "
            "but gRPC is known only in client, server, services, wire",
            id="grpc-stubs",
        ),
        pytest.param(
            "client/proxy.py",
            "import sqlite3\n",
            "paglets.client.proxy:4 uses sqlite3, "
            "but the disk is known only in artifacts, directory, host.journal, host.storage, host.work, sqlite",
            id="sqlite",
        ),
        pytest.param(
            "client/proxy.py",
            "import os\n\nos.replace('a', 'b')\n",
            "paglets.client.proxy:6 uses os.replace, "
            "but the disk is known only in artifacts, directory, host.journal, host.storage, host.work, sqlite",
            id="disk",
        ),
    ],
)
def test_planted_fault_is_found(house: Path, module: str, planted: str, found: str) -> None:
    """A single line against the rules turns the test red, and is named."""
    plant(house, module, planted)
    assert found in findings(house, {"Paglet"})


def test_missing_front_door_name_is_found(house: Path) -> None:
    """A listed name that the front door stopped offering is a finding too."""
    assert findings(house, {"Paglet", "Client"}) == ["the front door does not offer Client, which is listed"]
