"""Which artifacts are listed, as a message and back."""

from __future__ import annotations

from paglet.v1 import artifact_pb2
from paglets.artifacts.store import ArtifactOrder, ArtifactQuery
from paglets.errors import InvalidArgumentError

__all__ = ["query_from_message", "query_to_message"]

_ORDERS = {order: artifact_pb2.ArtifactOrder.Value(f"ARTIFACT_ORDER_{order.name}") for order in ArtifactOrder}
_ORDERS_BACK = {
    artifact_pb2.ARTIFACT_ORDER_UNSPECIFIED: ArtifactOrder.ID,
    **{number: order for order, number in _ORDERS.items()},
}


def query_to_message(query: ArtifactQuery, page_size: int, page_token: str) -> artifact_pb2.ListArtifactsRequest:
    """A query for one of its pages."""
    return artifact_pb2.ListArtifactsRequest(
        page_size=page_size,
        page_token=page_token,
        owner=query.owner,
        name_prefix=query.name_prefix,
        labels=query.labels,
        order_by=_ORDERS[query.order_by],
        descending=query.descending,
    )


def query_from_message(message: artifact_pb2.ListArtifactsRequest) -> ArtifactQuery:
    """A message as a query. Raises MALFORMED_REQUEST for an order that this version does not know."""
    order = _ORDERS_BACK.get(message.order_by)
    if order is None:
        raise InvalidArgumentError("MALFORMED_REQUEST", f"order_by {message.order_by} is unknown", field="order_by")
    return ArtifactQuery(
        owner=message.owner if message.HasField("owner") else None,
        name_prefix=message.name_prefix,
        labels=dict(message.labels),
        order_by=order,
        descending=message.descending,
    )
