"""Pages of the operations that a paglet class answers."""

from __future__ import annotations

from typing import Any

from paglet.v1 import operation_pb2 as pb
from paglets.core.paglet import Paglet
from paglets.services.paging import page_token
from paglets.wire.operation import operation_to_message

__all__ = ["operation_page"]


def operation_page(paglet_type: type[Paglet[Any]], size: int, after: str) -> pb.ListOperationsResponse:
    """The first `size` operations with names after `after`, in the order of their names."""
    operations = (handler.operation for handler in paglet_type.handlers.values())
    rest = sorted((found.info for found in operations if found.full_name > after), key=lambda info: info.name)
    page = rest[:size]
    return pb.ListOperationsResponse(
        operations=map(operation_to_message, page),
        next_page_token=page_token(page[-1].name) if len(rest) > size else "",
    )
