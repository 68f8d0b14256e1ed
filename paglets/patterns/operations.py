"""The paglet that is there to answer operations."""

from __future__ import annotations

from typing import Any, TypeVar

from paglets.core.paglet import Paglet
from paglets.patterns.declared import is_open

__all__ = ["OperationPaglet"]

StateT = TypeVar("StateT")


class OperationPaglet(Paglet[StateT]):
    """A paglet that answers the rpcs of its `Services`, one method each, named in snake_case.

    Naming no service, or missing a method of one, is a TypeError when the class is defined. A class that leaves its
    state class open, for others to derive from, may name none, and so may one with a `handle_operation_message`.
    """

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        takes_others = cls.handle_operation_message is not OperationPaglet[Any].handle_operation_message
        if not cls.Services and not takes_others and not is_open(cls):
            raise TypeError(
                f"{cls.__qualname__} answers no service: name at least one, e.g."
                ' `Services = (counter_pb2.DESCRIPTOR.services_by_name["CounterService"],)`'
            )
