"""Services that paglets answer as messages and back."""

from __future__ import annotations

from paglet.v1 import directory_pb2, mesh_pb2, types_pb2
from paglets.directory.contract import ServiceNews
from paglets.discovery import ServiceChange, ServiceKey, ServiceNotice, ServiceQuery, ServiceRecord, ServiceScope
from paglets.errors import InvalidArgumentError
from paglets.wire.times import time_from_message, time_to_message

__all__ = [
    "news_from_message",
    "news_to_message",
    "notice_from_message",
    "notice_to_message",
    "query_from_message",
    "record_from_message",
    "record_to_message",
    "scope_from_message",
    "scope_to_message",
]

_SCOPES = {scope: types_pb2.ServiceScope.Value(f"SERVICE_SCOPE_{scope.name}") for scope in ServiceScope}
_SCOPES_BACK = {number: scope for scope, number in _SCOPES.items()} | {
    types_pb2.SERVICE_SCOPE_UNSPECIFIED: ServiceScope.MESH
}
_CHANGES = {change: mesh_pb2.ServiceChange.Value(f"SERVICE_CHANGE_{change.name}") for change in ServiceChange}
_CHANGES_BACK = {number: change for change, number in _CHANGES.items()}


def scope_to_message(scope: ServiceScope) -> types_pb2.ServiceScope.ValueType:
    """The number of a scope."""
    return _SCOPES[scope]


def scope_from_message(number: types_pb2.ServiceScope.ValueType) -> ServiceScope:
    """The scope of a number, MESH where none is given; MALFORMED_REQUEST for a number that is unknown."""
    scope = _SCOPES_BACK.get(number)
    if scope is None:
        raise InvalidArgumentError("MALFORMED_REQUEST", f"scope is none of a service: {number}", field="scope")
    return scope


def record_to_message(record: ServiceRecord) -> types_pb2.ServiceRecord:
    """A record as a message."""
    return types_pb2.ServiceRecord(
        service=record.service,
        paglet_id=record.paglet_id,
        host=record.host,
        scope=_SCOPES[record.scope],
        advertiser=record.advertiser,
        operations=record.operations,
        tags=record.tags,
        expire_time=None if record.expires_at is None else time_to_message(record.expires_at),
        resident=record.resident,
        online=record.online,
        version=record.version,
    )


def record_from_message(message: types_pb2.ServiceRecord) -> ServiceRecord:
    """A message as a record; its version is in the service's name."""
    return ServiceRecord(
        service=message.service,
        paglet_id=message.paglet_id,
        operations=tuple(message.operations),
        scope=scope_from_message(message.scope),
        host=message.host,
        advertiser=message.advertiser,
        tags=tuple(message.tags),
        expires_at=time_from_message(message.expire_time) if message.HasField("expire_time") else None,
        resident=message.resident,
        online=message.online,
    )


def news_to_message(news: ServiceNews) -> directory_pb2.WatchServiceRowsResponse:
    """What a directory tells of services as a message."""
    return directory_pb2.WatchServiceRowsResponse(
        anew=news.anew,
        records=map(record_to_message, news.records),
        gone=[
            directory_pb2.ServiceRowKey(service=key.service, paglet_id=key.paglet_id, declared_by=key.declared_by)
            for key in news.gone
        ],
        now=time_to_message(news.now),
        more=news.more,
    )


def news_from_message(message: directory_pb2.WatchServiceRowsResponse) -> ServiceNews:
    """A message as what a directory tells of services."""
    return ServiceNews(
        now=time_from_message(message.now),
        records=tuple(map(record_from_message, message.records)),
        gone=tuple(ServiceKey(key.service, key.paglet_id, key.declared_by) for key in message.gone),
        anew=message.anew,
        more=message.more,
    )


def query_from_message(message: mesh_pb2.LookupServiceRequest | mesh_pb2.WatchServicesRequest) -> ServiceQuery:
    """What is wanted; MALFORMED_REQUEST for a scope that is none."""
    return ServiceQuery(
        service=message.service,
        operations=tuple(message.operations),
        tags=tuple(message.tags),
        scope=scope_from_message(message.scope),
    )


def notice_to_message(notice: ServiceNotice) -> mesh_pb2.WatchServicesResponse:
    """A notice as a message."""
    return mesh_pb2.WatchServicesResponse(change=_CHANGES[notice.change], record=record_to_message(notice.record))


def notice_from_message(message: mesh_pb2.WatchServicesResponse) -> ServiceNotice:
    """A message as a notice; what a later version tells of a service is a change."""
    return ServiceNotice(_CHANGES_BACK.get(message.change, ServiceChange.CHANGED), record_from_message(message.record))
