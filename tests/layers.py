"""The floors of the house and who may know whom, held against every import under a package's folder.

It must never import paglets: a house that is badly built must still be readable.
"""

import ast
import graphlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent / "paglets"

# Lowest first. A room is a module or a package directly under paglets/; it knows lower floors and itself only.
_FLOORS = (
    ("arena", "errors", "faults", "loop", "members", "offloop", "version"),
    ("config", "cursors", "digest", "discovery", "operations", "sqlite"),
    ("state", "values"),
    ("artifacts", "directory", "wire"),
    ("core",),
    ("client", "patterns"),
    ("host",),
    ("services",),
    ("server",),
    ("__main__", "bench", "blocking", "cli", "examples", "system", "testing"),
)
FLOORS: Mapping[str, int] = {room: floor for floor, rooms in enumerate(_FLOORS, start=1) for room in rooms}
TOP = len(_FLOORS)

# Arrows between rooms of one floor. Each is there for its reason; a new one is a change of its own.
NEIGHBOURS = frozenset(
    {
        ("bench", "blocking"),  # the blocking faces are for scripts and authors, so for these four
        ("cli", "blocking"),
        ("examples", "blocking"),
        ("testing", "blocking"),
        ("__main__", "cli"),  # python -m paglets is the command line
        ("cli", "bench"),  # paglets bench
        ("cli", "examples"),  # paglets demo
        ("cli", "system"),  # paglets host serve --system
        ("bench", "examples"),  # what is measured is the example that everybody can read
        ("operations", "discovery"),  # what a contract asks for
        ("config", "discovery"),  # what a host starts by itself is found from somewhere
        ("wire", "artifacts.store"),  # what the contracts hand over is translated like any value
        ("wire", "directory.contract"),
    }
)

# Rooms that know less than all that lies below them.
KNOWS: Mapping[str, frozenset[str]] = {
    "core": frozenset(
        {"discovery", "errors", "offloop", "operations", "values", "state", "artifacts.store"}
        | {"digest", "artifacts.kept"}  # whether a file in the way is the one that a turn wrote when it was run before
        | {"wire.artifact"}  # requests carry artifacts as messages, which paglets take as they come
        | {"wire.stubs"}  # paglets call others by generated stubs
    ),
    "host": frozenset(
        {"errors", "faults", "offloop", "config", "digest", "discovery", "operations", "sqlite", "state", "values"}
        | {"artifacts.store", "directory.contract", "core", "client"}
        | {"wire.status"}  # outcomes of requests and journeys are kept as statuses
        | {"wire.digest", "wire.files"}  # the manifest of a journey is a message
        | {"wire.policy", "wire.ticket"}  # what brings a paglet back, and what its move asks for
        | {"wire.states"}  # how a journey ended
        | {"wire.channel_options"}  # a reply that fits no message must not be committed
        | {"wire.stubs"}  # paglets call others by generated stubs
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """Something that only a few rooms may do, told by the names (patterns) it uses. Programs may do it too."""

    what: str
    names: frozenset[str]
    rooms: frozenset[str]

    def forbids(self, importer: str, name: str) -> bool:
        """Whether the name belongs to the trade and the importer's room does not."""
        uses = any(fnmatchcase(name, own) for own in self.names)
        home = FLOORS.get(_room(importer)) == TOP or any(_within(_inside(importer), room) for room in self.rooms)
        return uses and not home


TRADES = (
    Trade(
        what="gRPC",
        names=frozenset({"grpc", "grpc.*", "grpc_*", "*_pb2_grpc", "*_pb2_grpc.*"}),
        rooms=frozenset({"wire", "client", "services", "server"}),
    ),
    Trade(
        what="the disk",
        names=frozenset(
            {"sqlite3*", "shutil*", "tempfile*", "fcntl*", "mmap*"}
            | {f"os.{verb}" for verb in ("open", "fsync", "fdatasync", "rename", "replace", "link", "unlink", "remove")}
        ),
        rooms=frozenset({"artifacts", "directory", "sqlite", "host.journal", "host.storage", "host.work"}),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One name that a module imports, or takes from `os`: by whom, in which line, and the name in full."""

    importer: str
    line: int
    name: str


def findings(house: Path, front_door: Iterable[str]) -> list[str]:
    """Everything in the house that breaks its rules, a sentence each; empty when all is well."""
    modules = read_modules(house)
    uses = [
        use for module, tree in modules.items() for use in _uses(module, tree, is_package=_is_package(house, module))
    ]
    return [
        *_unplaced(modules),
        *dict.fromkeys(f"{use.importer}:{use.line} {why}" for use in uses if (why := _wrong(use, modules))),
        *_circles(uses, modules),
        *_door(modules.get(house.name), front_door),
    ]


def read_modules(house: Path) -> dict[str, ast.Module]:
    """Every module of the house, parsed, by its dotted name; a package stands for its `__init__`."""
    found: dict[str, ast.Module] = {}
    for path in sorted(house.rglob("*.py")):
        parts = path.relative_to(house.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return found


def _uses(module: str, tree: ast.Module, *, is_package: bool) -> Iterator[Use]:
    """Every use in the module, wherever it stands: at the top, in a function, or for typing only."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                names = [alias.name for alias in node.names]
            case ast.ImportFrom():
                source = _source(module, node, is_package=is_package)
                names = [f"{source}.{alias.name}" for alias in node.names]
            case ast.Attribute(value=ast.Name(id="os")):
                names = [f"os.{node.attr}"]
            case _:
                continue
        yield from (Use(importer=module, line=node.lineno, name=name) for name in names)


def _source(module: str, node: ast.ImportFrom, *, is_package: bool) -> str:
    """What stands after `from`, with leading dots made a full name."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, node.module] if node.module else base)


def _wrong(use: Use, modules: Mapping[str, ast.Module]) -> str | None:
    """Why the use is against the rules; None if it is not."""
    for trade in TRADES:
        if trade.forbids(use.importer, use.name):
            return f"uses {use.name}, but {trade.what} is known only in {', '.join(sorted(trade.rooms))}"
    target = _target(use.name, modules)
    here = _room(use.importer)
    if target is None or not here:  # another house, or the front door looking in
        return None
    there = _room(target)
    if not there:
        return f"imports {use.name} by the front door, which is for users"
    if here == there or here not in FLOORS or there not in FLOORS:
        return None
    if any(here == one and _within(_inside(target), other) for one, other in NEIGHBOURS):
        return None
    if FLOORS[there] >= FLOORS[here]:
        return f"imports {target}: {here} is on floor {FLOORS[here]}, {there} on floor {FLOORS[there]}"
    if not any(_within(_inside(target), known) for known in KNOWS.get(here, {there})):
        return f"imports {target}: {here} knows only {', '.join(sorted(KNOWS[here]))}"
    return None


def _unplaced(modules: Iterable[str]) -> Iterator[str]:
    for room in sorted({_room(module) for module in modules} - FLOORS.keys() - {""}):
        yield f"{room} is on no floor"


def _circles(uses: Iterable[Use], modules: Mapping[str, ast.Module]) -> Iterator[str]:
    """The first circle of modules, if there is one, each importing the next."""
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for use in uses:
        target = _target(use.name, modules)
        if target is not None and target != use.importer:
            sorter.add(target, use.importer)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        circle: list[str] = error.args[1][:-1]
        first = circle.index(min(circle))
        yield f"circle: {' -> '.join([*circle[first:], *circle[: first + 1]])}"


def _door(tree: ast.Module | None, listed: Iterable[str]) -> Iterator[str]:
    """Names that the front door offers without being listed, and the other way round."""
    offered = {*_all_of(tree), *_bound_in(tree)} if tree else set[str]()
    yield from (f"the front door offers {name}, which is not listed" for name in sorted(offered - set(listed)))
    yield from (f"the front door does not offer {name}, which is listed" for name in sorted(set(listed) - offered))


def _bound_in(tree: ast.Module) -> Iterator[str]:
    """The house's public names that a module binds, or hands out by a table of rooms, whatever its `__all__` says."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if module.startswith(HOUSE.name):
                yield from (found.asname or found.name for found in names)
            case ast.Assign(targets=[ast.Name(id="_ROOMS")], value=value):
                yield from (name for names in ast.literal_eval(value).values() for name in names)
            case _:
                continue
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound = [name]
            case ast.Assign(targets=targets):
                bound = [target.id for target in targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                bound = [name]
            case _:
                bound = []
        yield from (name for name in bound if not name.startswith("_"))


def _all_of(tree: ast.Module) -> list[str]:
    """The names in a module's `__all__`, wherever it is written out or added to."""
    names: list[str] = []
    for node in ast.walk(tree):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="__all__")], value=value)
                | ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value)
                | ast.AugAssign(target=ast.Name(id="__all__"), value=value)
            ):
                names.extend(ast.literal_eval(value))
            case _:
                continue
    return names


def _target(name: str, modules: Mapping[str, ast.Module]) -> str | None:
    """The module of this house that the name leads to: the longest part of it that is one."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def _is_package(house: Path, module: str) -> bool:
    return (house.parent / module.replace(".", "/")).is_dir()


def _inside(module: str) -> str:
    """A module's name inside the house."""
    return module.partition(".")[2]


def _room(module: str) -> str:
    """The room that a module is in; empty for the front door."""
    return _inside(module).partition(".")[0]


def _within(name: str, whole: str) -> bool:
    return name == whole or name.startswith(f"{whole}.")
