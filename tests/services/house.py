"""What the house itself brings along that answers calls: found, never listed by hand."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, TypeGuard

from google.protobuf.descriptor import ServiceDescriptor

import paglets.examples
import paglets.patterns
import paglets.system
from paglets.core.handlers import Handler
from paglets.core.paglet import Paglet, PatternService
from paglets.host.registry import BUILT_IN
from tests.services import speaker

__all__ = ["MODULES", "Offer", "offers", "services", "types"]


@dataclass(frozen=True, slots=True)
class Offer:
    """One operation of one type."""

    paglet_type: type[Paglet[Any]]
    handler: Handler

    @property
    def service(self) -> str:
        """The full name of its service."""
        return self.handler.operation.descriptor.containing_service.full_name

    @property
    def name(self) -> str:
        """`Type Method`."""
        return f"{self.paglet_type.__name__} {self.handler.operation.descriptor.name}"


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield import_module(found.name)


def _types(module: ModuleType) -> Iterator[type[Paglet[Any]]]:
    for _, found in inspect.getmembers(module, inspect.isclass):
        if found.__module__ == module.__name__ and _is_type(found):
            yield found


def _is_type(found: type) -> TypeGuard[type[Paglet[Any]]]:
    return hasattr(found, "codec") and issubclass(found, Paglet)


MODULES = tuple(
    module.__name__
    for module in (*map(import_module, BUILT_IN), *_modules(paglets.examples), *_modules(paglets.system), speaker)
    if any(True for _ in _types(module))
)
"""The modules whose types a host can run: those that it always can, the examples, the system services and a test's."""


def types() -> list[type[Paglet[Any]]]:
    """The types of those modules."""
    return [found for name in MODULES for found in _types(import_module(name))]


def offers() -> list[Offer]:
    """Every operation of every type."""
    return [Offer(found, handler) for found in types() for handler in found.handlers.values()]


def services() -> dict[str, ServiceDescriptor]:
    """Every service that a pattern or an example answers, by its full name."""
    found = [service for paglet_type in types() for service in paglet_type.Services]
    found += [pattern.Service for module in _modules(paglets.patterns) for pattern in _pattern_services(module)]
    return {service.full_name: service for service in found}


def _pattern_services(module: ModuleType) -> Iterator[type[PatternService[Any]]]:
    for _, found in inspect.getmembers(module, inspect.isclass):
        if found.__module__ == module.__name__ and _is_pattern_service(found):
            yield found


def _is_pattern_service(found: type) -> TypeGuard[type[PatternService[Any]]]:
    return issubclass(found, PatternService)
