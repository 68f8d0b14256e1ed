"""The directory of another host: the same contract as at home, over DirectoryService.

This file must never keep a row: a directory that answers from memory is no authority.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from paglet.v1 import directory_pb2, directory_pb2_grpc
from paglets.client.calls import errors_of_calls
from paglets.client.row_watch import watch_host_rows, watch_row_events, watch_rows, watch_service_rows
from paglets.directory.contract import (
    HostRegistration,
    JourneyRecord,
    PagletRow,
    RowEvent,
    RowNotice,
    RowWrite,
    ServiceNews,
)
from paglets.discovery import ServiceRecord, check_advertised
from paglets.errors import CancelledCallError, DeadlineError, NotFoundError, PagletError, UnavailableError
from paglets.values import HostRef
from paglets.wire.directory import (
    event_from_message,
    host_from_row_message,
    journey_from_message,
    journey_to_message,
    registration_to_message,
    row_from_message,
    row_write_to_message,
)
from paglets.wire.services import record_from_message, record_to_message
from paglets.wire.times import duration_to_message

__all__ = ["RemoteDirectory"]

RequestT = TypeVar("RequestT", bound=Message)
ReplyT = TypeVar("ReplyT", bound=Message)

_RETRY_S = 1.0


class RemoteDirectory:
    """Keeps the contract of `paglets.directory.contract.Directory` over a channel, which stays its owner's to close.

    A call that gets no answer within `deadline_s` raises DIRECTORY_UNAVAILABLE. What is safe to repeat is tried once
    more, briefly, when the host cannot be reached; `apply` never is: its outcome is unknown then. `address` is what the
    errors say of where the directory was looked for.
    """

    def __init__(self, channel: grpc.aio.Channel, *, deadline_s: float = 5.0, address: str = "") -> None:
        self._stub: directory_pb2_grpc.DirectoryServiceAsyncStub = directory_pb2_grpc.DirectoryServiceStub(channel)
        self._deadline_s = deadline_s
        self._address = address

    async def get(self, paglet_id: str) -> PagletRow | None:
        """Reads one row, a tombstone included; None when the id was never used, or its tombstone was dropped."""
        try:
            reply = await self._call(self._stub.GetRow, directory_pb2.GetRowRequest(paglet_id=paglet_id))
        except NotFoundError:
            return None
        return row_from_message(reply.row)

    async def list(
        self,
        *,
        after: str = "",
        limit: int = 1000,
        owner: str = "",
        type_name: str = "",
        awake: bool = False,
    ) -> Sequence[PagletRow]:
        """Reads live rows with ids after `after` in order; fewer than `limit` (1 to 1000) means the last."""
        request = directory_pb2.ListRowsRequest(
            page_size=limit, after=after, owner=owner, type=type_name, only_awake=awake
        )
        reply = await self._call(self._stub.ListRows, request)
        return [row_from_message(row) for row in reply.rows]

    async def apply(
        self,
        writes: Sequence[RowWrite],
        *,
        journeys: Sequence[JourneyRecord] = (),
        forget: Sequence[str] = (),
        above: int = 0,
    ) -> Sequence[PagletRow]:
        """Makes all writes durably, or none. A caller that is cancelled meanwhile does not know the outcome."""
        request = directory_pb2.ApplyRowsRequest(
            writes=map(row_write_to_message, writes),
            journeys=map(journey_to_message, journeys),
            forget=forget,
            above=above,
        )
        reply = await self._call_once(self._stub.ApplyRows, request, timeout_s=self._deadline_s)
        return [row_from_message(row) for row in reply.rows]

    def watch(self, after_revision: int) -> AsyncGenerator[PagletRow, None]:
        """Rows with a greater revision, then each change as it comes, over any number of connections.

        It waits while the host is away, and never ends unless it is cancelled or the channel is closed.
        """
        return watch_rows(self._stub, after_revision)

    async def history(self, paglet_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[RowEvent]:
        """What became of one id, as far as it is kept, in order; fewer than `limit` (1 to 1000) means the last."""
        request = directory_pb2.ListEventsRequest(paglet_id=paglet_id, after_revision=after, page_size=limit)
        reply = await self._call(self._stub.ListEvents, request)
        return [event_from_message(event) for event in reply.events]

    def watch_events(
        self, cursor: str = "", *, owner: str = "", type_name: str = "", paglet_id: str = ""
    ) -> AsyncGenerator[RowNotice, None]:
        """Every write after `cursor` once and in order, over any number of connections; it waits like `watch`."""
        request = directory_pb2.WatchEventsRequest(owner=owner, type=type_name, paglet_id=paglet_id)
        return watch_row_events(self._stub, cursor, request)

    async def journey(self, transfer_id: str) -> JourneyRecord | None:
        """Reads the record of a committed journey; None when there is none, or it is forgotten."""
        try:
            reply = await self._call(self._stub.GetJourney, directory_pb2.GetJourneyRequest(transfer_id=transfer_id))
        except NotFoundError:
            return None
        return journey_from_message(reply.journey)

    async def lease_register(self, host: HostRegistration, ttl_s: float) -> None:
        """Takes a name and a lease on it; HOST_NAME_TAKEN while another uid has a live lease or paglets under it."""
        request = directory_pb2.RegisterHostRequest(
            host=registration_to_message(host), ttl=duration_to_message(ttl_s, "ttl")
        )
        await self._call(self._stub.RegisterHost, request)

    async def lease_keepalive(self, name: str, uid: str, ttl_s: float, load: float = 0.0) -> None:
        """Renews a lease, and says how busy the host is; HOST_NOT_FOUND when the name is not this uid's."""
        request = directory_pb2.KeepHostRequest(name=name, uid=uid, ttl=duration_to_message(ttl_s, "ttl"), load=load)
        await self._call(self._stub.KeepHost, request)

    async def lease_revoke(self, name: str, uid: str) -> None:
        """Ends a lease; does nothing when the name is not registered with this uid."""
        await self._call(self._stub.RevokeHost, directory_pb2.RevokeHostRequest(name=name, uid=uid))

    async def hosts(self) -> Sequence[HostRef]:
        """All hosts in the order of their names."""
        reply = await self._call(self._stub.ListHostRows, directory_pb2.ListHostRowsRequest())
        return [host_from_row_message(host) for host in reply.hosts]

    def watch_hosts(self) -> AsyncGenerator[Sequence[HostRef], None]:
        """All hosts, and again whenever one changes, over any number of connections; it waits like `watch`."""
        return watch_host_rows(self._stub)

    async def advertise(self, record: ServiceRecord, ttl_s: float | None = None) -> ServiceRecord:
        """Writes the record of a service that a living paglet answers. Raises PAGLET_NOT_FOUND."""
        check_advertised(ttl_s)
        request = directory_pb2.AdvertiseServiceRowRequest(
            record=record_to_message(record), ttl=None if ttl_s is None else duration_to_message(ttl_s, "ttl")
        )
        return record_from_message((await self._call(self._stub.AdvertiseServiceRow, request)).record)

    async def withdraw(self, service: str, paglet_id: str) -> None:
        """Deletes the record that a paglet advertised; does nothing when there is none."""
        request = directory_pb2.WithdrawServiceRowRequest(service=service, paglet_id=paglet_id)
        await self._call(self._stub.WithdrawServiceRow, request)

    def watch_services(self, host: str) -> AsyncGenerator[ServiceNews, None]:
        """The records that `host` may tell of, then what becomes of them, over any number of connections.

        Each of those begins anew; it waits like `watch`.
        """
        return watch_service_rows(self._stub, host)

    async def _call(self, method: grpc.aio.UnaryUnaryMultiCallable[RequestT, ReplyT], request: RequestT) -> ReplyT:
        """Makes a call that is safe to repeat; once more if there is time, waiting a moment for the host."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._deadline_s
        try:
            return await self._call_once(method, request, timeout_s=self._deadline_s)
        except UnavailableError:
            left_s = min(end - loop.time(), _RETRY_S)
            if left_s <= 0:
                raise
        return await self._call_once(method, request, timeout_s=left_s, wait_for_ready=True)

    async def _call_once(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[RequestT, ReplyT],
        request: RequestT,
        *,
        timeout_s: float,
        wait_for_ready: bool = False,
    ) -> ReplyT:
        try:
            with errors_of_calls():
                return await method(request, timeout=timeout_s, wait_for_ready=wait_for_ready)
        except PagletError as error:
            raise self._directory_error(error) from error

    def _directory_error(self, error: PagletError) -> PagletError:
        """The directory's own refusals as they are; DIRECTORY_UNAVAILABLE for all that kept it from answering."""
        silent = isinstance(error, UnavailableError | DeadlineError | CancelledCallError)
        if not silent and error.reason != "TRANSPORT":
            return error
        where = f" at {self._address}" if self._address else ""
        return UnavailableError(
            "DIRECTORY_UNAVAILABLE", f"the mesh's directory cannot be reached{where}: {error.message}"
        )
