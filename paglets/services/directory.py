"""DirectoryService over a directory, for the hosts that joined this one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from google.protobuf.duration_pb2 import Duration

from paglet.v1 import directory_pb2, directory_pb2_grpc
from paglets.directory.contract import Directory
from paglets.directory.rules import check_registration, check_ttl
from paglets.errors import NotFoundError, Resource
from paglets.services.guard import ServerContext
from paglets.wire.directory import (
    event_to_message,
    host_to_row_message,
    journey_from_message,
    journey_to_message,
    notice_to_message,
    registration_from_message,
    row_to_message,
    row_write_from_message,
)
from paglets.wire.services import news_to_message, record_from_message, record_to_message
from paglets.wire.times import duration_from_message

__all__ = ["DirectoryServicer"]


class DirectoryServicer(directory_pb2_grpc.DirectoryServiceServicer):
    """Every rpc is one call of the directory; put it behind the guard."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def GetRow(
        self, request: directory_pb2.GetRowRequest, context: ServerContext
    ) -> directory_pb2.GetRowResponse:
        """Reads the row of a paglet."""
        row = await self._directory.get(request.paglet_id)
        if row is None:
            raise NotFoundError(
                "PAGLET_NOT_FOUND",
                f"no paglet {request.paglet_id!r} is known",
                resource=Resource("paglet", request.paglet_id),
            )
        return directory_pb2.GetRowResponse(row=row_to_message(row))

    async def ListRows(
        self, request: directory_pb2.ListRowsRequest, context: ServerContext
    ) -> directory_pb2.ListRowsResponse:
        """Reads one page of rows."""
        rows = await self._directory.list(
            after=request.after,
            limit=request.page_size,
            owner=request.owner,
            type_name=request.type,
            awake=request.only_awake,
        )
        return directory_pb2.ListRowsResponse(rows=map(row_to_message, rows))

    async def ApplyRows(
        self, request: directory_pb2.ApplyRowsRequest, context: ServerContext
    ) -> directory_pb2.ApplyRowsResponse:
        """Makes a batch of guarded writes."""
        rows = await self._directory.apply(
            [row_write_from_message(write) for write in request.writes],
            journeys=[journey_from_message(record) for record in request.journeys],
            forget=list(request.forget),
            above=request.above,
        )
        return directory_pb2.ApplyRowsResponse(rows=map(row_to_message, rows))

    async def WatchRows(
        self, request: directory_pb2.WatchRowsRequest, context: ServerContext
    ) -> AsyncIterator[directory_pb2.WatchRowsResponse]:
        """Streams rows that changed."""
        async for row in self._directory.watch(request.after_revision):
            yield directory_pb2.WatchRowsResponse(row=row_to_message(row))

    async def ListEvents(
        self, request: directory_pb2.ListEventsRequest, context: ServerContext
    ) -> directory_pb2.ListEventsResponse:
        """Reads what became of a paglet."""
        events = await self._directory.history(request.paglet_id, after=request.after_revision, limit=request.page_size)
        return directory_pb2.ListEventsResponse(events=map(event_to_message, events))

    async def WatchEvents(
        self, request: directory_pb2.WatchEventsRequest, context: ServerContext
    ) -> AsyncIterator[directory_pb2.WatchEventsResponse]:
        """Streams what becomes of rows."""
        watch = self._directory.watch_events(
            request.cursor, owner=request.owner, type_name=request.type, paglet_id=request.paglet_id
        )
        async with aclosing(watch) as notices:
            async for notice in notices:
                yield notice_to_message(notice)

    async def GetJourney(
        self, request: directory_pb2.GetJourneyRequest, context: ServerContext
    ) -> directory_pb2.GetJourneyResponse:
        """Reads the record of a journey."""
        record = await self._directory.journey(request.transfer_id)
        if record is None:
            raise NotFoundError(
                "TRANSFER_NOT_FOUND",
                f"no committed transfer {request.transfer_id!r} is recorded",
                resource=Resource("transfer", request.transfer_id),
            )
        return directory_pb2.GetJourneyResponse(journey=journey_to_message(record))

    async def RegisterHost(
        self, request: directory_pb2.RegisterHostRequest, context: ServerContext
    ) -> directory_pb2.RegisterHostResponse:
        """Takes a name and a lease on it."""
        host = registration_from_message(request.host)
        check_registration(host)
        await self._directory.lease_register(host, _ttl_s(request.ttl))
        return directory_pb2.RegisterHostResponse()

    async def KeepHost(
        self, request: directory_pb2.KeepHostRequest, context: ServerContext
    ) -> directory_pb2.KeepHostResponse:
        """Renews a lease."""
        await self._directory.lease_keepalive(request.name, request.uid, _ttl_s(request.ttl), request.load)
        return directory_pb2.KeepHostResponse()

    async def RevokeHost(
        self, request: directory_pb2.RevokeHostRequest, context: ServerContext
    ) -> directory_pb2.RevokeHostResponse:
        """Ends a lease."""
        await self._directory.lease_revoke(request.name, request.uid)
        return directory_pb2.RevokeHostResponse()

    async def ListHostRows(
        self, request: directory_pb2.ListHostRowsRequest, context: ServerContext
    ) -> directory_pb2.ListHostRowsResponse:
        """Reads all hosts."""
        hosts = await self._directory.hosts()
        return directory_pb2.ListHostRowsResponse(hosts=map(host_to_row_message, hosts))

    async def WatchHostRows(
        self, request: directory_pb2.WatchHostRowsRequest, context: ServerContext
    ) -> AsyncIterator[directory_pb2.WatchHostRowsResponse]:
        """Streams the hosts, whenever one changes."""
        async with aclosing(self._directory.watch_hosts()) as lists:
            async for hosts in lists:
                yield directory_pb2.WatchHostRowsResponse(hosts=map(host_to_row_message, hosts))

    async def AdvertiseServiceRow(
        self, request: directory_pb2.AdvertiseServiceRowRequest, context: ServerContext
    ) -> directory_pb2.AdvertiseServiceRowResponse:
        """Writes the record of a service."""
        ttl_s = duration_from_message(request.ttl) if request.HasField("ttl") else None
        record = await self._directory.advertise(record_from_message(request.record), ttl_s)
        return directory_pb2.AdvertiseServiceRowResponse(record=record_to_message(record))

    async def WithdrawServiceRow(
        self, request: directory_pb2.WithdrawServiceRowRequest, context: ServerContext
    ) -> directory_pb2.WithdrawServiceRowResponse:
        """Deletes the record of a service."""
        await self._directory.withdraw(request.service, request.paglet_id)
        return directory_pb2.WithdrawServiceRowResponse()

    async def WatchServiceRows(
        self, request: directory_pb2.WatchServiceRowsRequest, context: ServerContext
    ) -> AsyncIterator[directory_pb2.WatchServiceRowsResponse]:
        """Streams what becomes of services."""
        async with aclosing(self._directory.watch_services(request.host)) as news:
            async for told in news:
                yield news_to_message(told)


def _ttl_s(message: Duration) -> float:
    """The length of a lease. A wild one is refused here already: a directory elsewhere could not even be told of it."""
    ttl_s = duration_from_message(message)
    check_ttl(ttl_s)
    return ttl_s
