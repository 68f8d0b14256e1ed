"""ARCHITECTURE.md, held to the code where a machine can: its diagram, its map, its tables and the files it names."""

import re
import tomllib
from pathlib import Path

import pytest

from paglets.artifacts.steps import FAULT_POINTS
from paglets.core.lifecycle import diagram
from paglets.host.host import HOST_POINTS
from tests import layers

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PROTOS = ROOT / "protos" / "paglet" / "v1"


def section(heading: str) -> str:
    """What stands between a heading and the next one of any level."""
    return TEXT.partition(f"\n{heading}")[2].partition("\n#")[0]


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of a section's table by the word in backticks that each begins with: all such words of the row."""
    lines = [line for line in section(heading).splitlines() if line.startswith("| `")]
    words = [re.findall(r"`([^`]+)`", line) for line in lines]
    return {row[0]: row[1:] for row in words}


def test_the_diagram_is_the_printed_one() -> None:
    """The life of a paglet is drawn from its table, and cannot drift from it."""
    assert f"```mermaid\n{diagram()}\n```" in TEXT


@pytest.mark.parametrize("floor", range(1, layers.TOP + 1))
def test_the_map_shows_every_room_on_its_floor(floor: int) -> None:
    """Each floor's heading names the rooms that there are on it, and no others."""
    heading = section(f"### Floor {floor}:").partition("\n")[0]
    rooms = {room for room, level in layers.FLOORS.items() if level == floor and not room.startswith("_")}
    found = {f"{room}.py" for room in rooms if (layers.HOUSE / f"{room}.py").exists()}
    found |= {f"{room}/" for room in rooms if (layers.HOUSE / room).is_dir()}
    assert set(re.findall(r"`([^`]+)`", heading)) == found


def test_every_file_it_names_is_there() -> None:
    """A path in backticks is one of the project, or of the package."""
    named = set(re.findall(r"`([\w./-]+(?:\.py|\.proto|/))`", TEXT))
    assert named
    assert [path for path in sorted(named) if not any((top / path).exists() for top in (ROOT, layers.HOUSE))] == []


def test_every_rpc_is_in_the_table() -> None:
    """The table of the wire has the services and rpcs that the protos have."""
    protos = "".join(path.read_text(encoding="utf-8") for path in PROTOS.glob("*.proto"))
    services = re.findall(r"^service (\w+) \{(.*?)^\}", protos, re.DOTALL | re.MULTILINE)
    wanted = {name: re.findall(r"^  rpc (\w+)", body, re.MULTILINE) for name, body in services}
    found = rows("## The wire")
    assert {name: words[: len(wanted.get(name, []))] for name, words in found.items()} == wanted


def test_the_fault_points_it_names_are_passed() -> None:
    """The journey's table names points that there are."""
    points = set(re.findall(r"`((?:journey|transfer|arrival)\.[\w.-]+)`", TEXT))
    assert points
    assert points <= {*HOST_POINTS, *FAULT_POINTS}


def test_every_dependency_has_its_reason() -> None:
    """The table of dependencies has what pyproject.toml asks for, extras too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(package for extra in extras for package in extra)]
    assert set(rows("## Dependencies")) == {re.split(r"[<>=]", package)[0] for package in wanted}
