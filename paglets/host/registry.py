"""Which paglet types this host can run: those of the modules it was allowed, never a name from the wire."""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
import traceback
from collections.abc import Collection, Iterable, Mapping
from types import ModuleType
from typing import Any

from paglets.core.paglet import Paglet
from paglets.errors import InvalidArgumentError, PreconditionError, Resource
from paglets.operations import near_name

__all__ = ["BUILT_IN", "TypeRegistry", "operations_of", "services_of"]

_log = logging.getLogger(__name__)

BUILT_IN = ("paglets.patterns.file_mobility",)
"""Always allowed: what it may do is bounded by the host's file roots, of which there are none unless given."""


class TypeRegistry:
    """The types of one host, by their name `module.Class`."""

    def __init__(self, host: str, types: Mapping[str, type[Paglet[Any]]], stateless: Collection[str] = ()) -> None:
        """`stateless` are classes that would be types, were there not their state missing."""
        self._host = host
        self._types = dict(types)
        self._stateless = frozenset(stateless)

    @classmethod
    def load(cls, host: str, modules: Iterable[str]) -> TypeRegistry:
        """Imports the allowed modules and finds the paglet types that they define.

        Raises MALFORMED_REQUEST for a module that cannot be imported or defines none.
        """
        types: dict[str, type[Paglet[Any]]] = {}
        stateless: list[str] = []
        for name in (*BUILT_IN, *modules):
            classes = _paglets_of(name)
            found = {one.type_name(): one for one in classes if _has_state(one)}
            without = [one.type_name() for one in classes if not _has_state(one)]
            if not found:
                why = _stateless(without[0]) if without else "allow the module that has the class itself"
                raise _refused(name, f"defines no paglet type; {why}")
            types.update(found)
            stateless += without
        return cls(host, types, stateless)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all types, sorted."""
        return tuple(sorted(self._types))

    def find(self, name: str) -> type[Paglet[Any]] | None:
        """The type of this name; None when it is not allowed here."""
        return self._types.get(name)

    def get(self, name: str) -> type[Paglet[Any]]:
        """The type of this name. Raises TYPE_NOT_ALLOWED."""
        found = self._types.get(name)
        if found is None:
            if name in self._stateless:
                instead = f": {_stateless(name)}"
            else:
                allow = name.rpartition(".")[0] or "MODULE"
                instead = near_name(name, self._types) or f": start it with --allow {allow}"
            raise PreconditionError(
                "TYPE_NOT_ALLOWED",
                f"host {self._host} has no paglet type {name!r}{instead}",
                resource=Resource("type", name),
                metadata={"type": name, "host": self._host},
            )
        return found

    def services(self) -> tuple[str, ...]:
        """Full names of the protobuf services that the types answer, sorted."""
        return tuple(sorted({service for found in self._types.values() for service in services_of(found)}))

    def unary_paths(self) -> tuple[str, ...]:
        """The rpc paths of the unary operations that the types answer, sorted."""
        handlers = (handler for found in self._types.values() for handler in found.handlers.values())
        return tuple(sorted({handler.operation.path for handler in handlers if handler.operation.is_unary}))


@functools.cache
def services_of(paglet_type: type[Paglet[Any]]) -> tuple[str, ...]:
    """Full names of the services that a type answers, sorted."""
    return tuple(sorted({path[1:].partition("/")[0] for path in paglet_type.handlers}))


@functools.lru_cache(maxsize=4096)  # services are named by whoever calls
def operations_of(paglet_type: type[Paglet[Any]], service: str) -> tuple[str, ...]:
    """The rpcs of a service that a type answers, by their names; none for a service that it does not have."""
    return tuple(path.rpartition("/")[2] for path in paglet_type.handlers if path.startswith(f"/{service}/"))


def _paglets_of(module_name: str) -> list[type[Paglet[Any]]]:
    """The classes of paglets that a module defines, also those that only others are made of."""
    classes = inspect.getmembers(_imported(module_name), inspect.isclass)
    return [found for _, found in classes if found.__module__ == module_name and issubclass(found, Paglet)]


def _imported(name: str) -> ModuleType:
    """The module; whatever its author's code raises, or a class of it that is no paglet type, refuses it."""
    if not all(map(str.isidentifier, name.split("."))):
        raise _refused(name, "cannot be imported: a module's name is identifiers with dots between")
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            what = f"{error}; install it, or have PYTHONPATH name the folder that it is in"
        else:
            _log.debug("module %s cannot be imported", name, exc_info=error)
            what = f"{type(error).__name__}: {error}{_place(error, name)}; the debug log has the traceback"
        raise _refused(name, f"cannot be imported: {what}") from error


def _place(error: BaseException, module_name: str) -> str:
    """Where in the module, or its package, an error came up; empty for one that says so itself."""
    package = module_name.partition(".")[0]
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [found for found in frames if found.f_globals.get("__name__", "").partition(".")[0] == package]
    return f", at {own[-1].f_code.co_filename}:{own[-1].f_lineno}" if own else ""


def _refused(module_name: str, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        "MALFORMED_REQUEST", f"module {module_name} {why}", field="allow", metadata={"module": module_name}
    )


def _has_state(found: type[Paglet[Any]]) -> bool:
    """Whether a class is a paglet type that can be created."""
    return hasattr(found, "codec")


def _stateless(type_name: str) -> str:
    name = type_name.rpartition(".")[2]
    return f"class {name} says no state: write class {name}(Paglet[{name}State]), with a dataclass"
