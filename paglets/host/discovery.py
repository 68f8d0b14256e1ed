"""How a host comes to know the services of its mesh, and makes known those of paglets.

It follows the directory, and never asks other hosts.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from paglets.core.paglet import Paglet
from paglets.directory.contract import Directory, PagletRow
from paglets.discovery import ServiceKey, ServiceNotice, ServiceQuery, ServiceRecord, ServiceScope
from paglets.errors import (
    InvalidArgumentError,
    NotFoundError,
    OperationNotFoundError,
    PagletError,
    Resource,
    UnavailableError,
)
from paglets.host.board import Board
from paglets.host.gate import not_found
from paglets.host.registry import TypeRegistry, operations_of
from paglets.host.runner import attempt
from paglets.host.settle import backoff, until_reached
from paglets.host.tasks import Tasks
from paglets.values import PagletState

__all__ = ["Discovery"]

_log = logging.getLogger(__name__)
_PATIENCE_S = 5.0
_SEEN_S = 1.0


class Discovery:
    """The services of a mesh, as the host `here` knows them. `registry` tells what its types answer."""

    def __init__(self, directory: Directory, here: str, registry: TypeRegistry) -> None:
        self._directory = directory
        self._here = here
        self._registry = registry
        self._tasks = Tasks("a service that is advertised")
        self._waiting: deque[Callable[[], Awaitable[object]]] = deque()
        self._is_working = False
        self.board = Board(here, lambda: asyncio.get_running_loop().time())

    async def follow(self) -> None:
        """Follows the directory for as long as the host lives; what fails is begun anew."""
        await asyncio.gather(
            _again(self._follow_services, "following services"), _again(self._follow_hosts, "following hosts")
        )

    async def _follow_services(self) -> None:
        async with aclosing(self._directory.watch_services(self._here)) as news:
            async for told in news:
                self.board.tell(told)

    async def _follow_hosts(self) -> None:
        async with aclosing(self._directory.watch_hosts()) as lists:
            async for hosts in lists:
                self.board.tell_hosts(hosts)

    async def find(self, query: ServiceQuery) -> list[ServiceRecord]:
        """The services that fit, the best first. Raises DIRECTORY_UNAVAILABLE when nothing is known yet."""
        await self._filled()
        return self.board.find(query)

    async def _filled(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self.board.filled()
        except TimeoutError as error:
            raise UnavailableError(
                "DIRECTORY_UNAVAILABLE",
                f"host {self._here} has not heard yet which services there are",
                retry_after_s=1.0,
            ) from error

    async def starter(self, paglet_id: str) -> str | None:
        """The best of the hosts that are there and start this resident service; None when nobody does."""
        await self._filled()
        return self.board.starter(paglet_id)

    async def watch(self, query: ServiceQuery) -> AsyncGenerator[ServiceNotice, None]:
        """The services that fit, then what becomes of them. Raises DIRECTORY_UNAVAILABLE when nothing is known yet."""
        await self._filled()
        async with aclosing(self.board.watch(query)) as notices:
            async for notice in notices:
                yield notice

    async def advertise(self, record: ServiceRecord, ttl_s: float | None = None) -> ServiceRecord:
        """Makes known that a paglet answers a service, with all of its operations that are known here.

        Whoever looks here thereafter finds it. Raises PAGLET_NOT_FOUND, OPERATION_NOT_FOUND, MALFORMED_REQUEST,
        INVALID_ID, DIRECTORY_UNAVAILABLE.
        """
        written = await self._write(record, ttl_s)
        await self.board.until(lambda: _says_the_same(self.board.get(written.key), written), _SEEN_S)
        return written

    async def _write(self, record: ServiceRecord, ttl_s: float | None) -> ServiceRecord:
        """Nothing is noted here: only the directory knows what became of the record since."""
        row = await self._directory.get(record.paglet_id)
        if row is None or row.state is PagletState.DISPOSED:
            raise not_found(record.paglet_id)
        return await self._directory.advertise(self._completed(record, row), ttl_s)

    async def withdraw(self, service: str, paglet_id: str) -> None:
        """Ends what a paglet advertised; safe to repeat. Raises DIRECTORY_UNAVAILABLE."""
        await self._directory.withdraw(service, paglet_id)
        await self.board.until(lambda: self.board.get(ServiceKey(service, paglet_id)) is None, _SEEN_S)

    def soon(self, work: Callable[[], Awaitable[object]]) -> None:
        """Advertises or withdraws, one after another and until the directory is reached; what is refused is logged."""
        self._waiting.append(work)
        if not self._is_working:
            self._is_working = True
            self._tasks.start(self._work())

    async def _work(self) -> None:
        try:
            while self._waiting:
                try:
                    await until_reached(self._waiting.popleft())
                except PagletError as error:
                    _log.warning("a service is not as a paglet wants it: %s", error)
        finally:
            self._is_working = False

    def owned(self, paglet_id: str, paglet_type: type[Paglet[Any]]) -> None:
        """A paglet is this host's from now on: makes known what its class advertises, if that is not known already."""
        for one in paglet_type.Advertises:
            name = one.service.full_name
            record = ServiceRecord(
                service=name,
                paglet_id=paglet_id,
                operations=operations_of(paglet_type, name),
                scope=one.scope,
                tags=one.tags,
            )
            if not self._is_known(record):
                self.soon(partial(self._own, record))

    async def _own(self, record: ServiceRecord) -> None:
        """Advertises what is not known already: after a restart that is next to nothing, for any number of paglets."""
        await self.board.filled()
        if self._is_known(record):
            return
        try:
            await self._write(record, None)
        except NotFoundError:
            _log.debug("paglet %s has ended before its service was known", record.paglet_id)

    async def close(self) -> None:
        """Gives up what was to be advertised: whoever owns the paglets next does it."""
        await self._tasks.close()

    def _is_known(self, record: ServiceRecord) -> bool:
        found = self.board.get(record.key)
        return (
            found is not None
            and found.expires_at is None
            and (found.operations, found.scope, found.tags) == (record.operations, record.scope, record.tags)
            and (found.scope is ServiceScope.MESH or found.advertiser == self._here)
        )

    def _completed(self, record: ServiceRecord, row: PagletRow) -> ServiceRecord:
        """The record with all operations that the paglet's type has, if the type is known here."""
        record = replace(record, advertiser=self._here)
        paglet_type = self._registry.find(row.type)
        if paglet_type is None:
            if not record.operations:
                raise InvalidArgumentError(
                    "MALFORMED_REQUEST",
                    f"host {self._here} does not know type {row.type}, so it must be told the operations",
                    field="operations",
                )
            return record
        answered = operations_of(paglet_type, record.service)
        missing = [found for found in record.operations or ("",) if found not in answered and (found or not answered)]
        if missing:
            name = f"{record.service}/{missing[0]}".rstrip("/")
            raise OperationNotFoundError(
                "OPERATION_NOT_FOUND",
                f"paglet {record.paglet_id} of type {row.type} does not answer {name}",
                resource=Resource("paglet", record.paglet_id),
                metadata={"operation": name, "type": row.type},
            )
        return replace(record, operations=answered)


def _says_the_same(found: ServiceRecord | None, written: ServiceRecord) -> bool:
    """Whether a record is the one that was written, wherever its paglet is by now."""
    return found is not None and replace(found, host=written.host, online=written.online) == written


async def _again(follow: Callable[[], Awaitable[None]], what: str) -> None:
    failures = 0
    while True:
        try:
            await attempt(follow(), what)
        except PagletError as error:
            _log.warning("%s failed, beginning again: %s", what, error)
        await asyncio.sleep(backoff(failures))
        failures += 1
