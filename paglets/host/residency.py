"""Resident services: declared by a host's settings, found before they run, started when they are first called.

The directory's write of a paglet's row decides who starts one that several hosts declare. This file must never start
a paglet beside one that is there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from paglets.config import ResidentLifecycle, ResidentServiceSpec
from paglets.core.paglet import Paglet
from paglets.directory.contract import PagletRow
from paglets.discovery import ServiceRecord
from paglets.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidArgumentError,
    PagletError,
    PreconditionError,
    Resource,
    UnavailableError,
)
from paglets.host.births import CreateRequest
from paglets.host.parts import HostParts
from paglets.host.registry import operations_of, services_of
from paglets.host.resident import Resident
from paglets.host.residents import Residents
from paglets.host.rest import RestRequest, Rests
from paglets.host.runner import attempt
from paglets.host.settle import until_reached
from paglets.host.tasks import Tasks
from paglets.operations import resident_id
from paglets.values import DeactivationPolicy, PagletState, check_id

__all__ = ["Residency"]

_log = logging.getLogger(__name__)
_POLICY = DeactivationPolicy()


@dataclass(frozen=True, slots=True)
class _Declared:
    """A resident service of this host."""

    spec: ResidentServiceSpec
    paglet_id: str
    paglet_type: type[Paglet[Any]]

    @property
    def services(self) -> tuple[str, ...]:
        """The protobuf services that it is found by: those that its class names, or those of its patterns."""
        return tuple(found.full_name for found in self.paglet_type.Services) or services_of(self.paglet_type)


class Residency:
    """The resident services of one host. `create` makes a paglet, `activate` finds or wakes one that is this host's."""

    def __init__(
        self,
        parts: HostParts,
        residents: Residents,
        rests: Rests,
        tasks: Tasks,
        *,
        create: Callable[[CreateRequest], Awaitable[PagletRow]],
        activate: Callable[[str], Awaitable[Resident | None]],
    ) -> None:
        self._parts = parts
        self._residents = residents
        self._rests = rests
        self._tasks = tasks
        self._create = create
        self._activate = activate
        self._declared: dict[str, _Declared] = {}
        self._not_before: dict[str, float] = {}

    def __contains__(self, paglet_id: str) -> bool:
        """Whether this host declares a resident service of this id, which may be on another one."""
        return paglet_id in self._declared

    def paglet_type(self, paglet_id: str) -> type[Paglet[Any]] | None:
        """The class of a resident service that this host declares, whether it runs, or where; None for any other."""
        one = self._declared.get(paglet_id)
        return None if one is None else one.paglet_type

    # What is declared.

    async def declare(self) -> None:
        """Reads what the settings declare; waits for the directory as long as it takes.

        One whose id belongs to a paglet of another class is left out, and the log says so: that paglet stays as it is.
        Raises TYPE_NOT_ALLOWED, MALFORMED_REQUEST, INVALID_ID for what could never be started.
        """
        declared: dict[str, _Declared] = {}
        for spec in self._parts.settings.residents:
            one = self._checked(spec)
            if one.paglet_id in declared:
                raise _malformed(f"two resident services have the id {one.paglet_id}; give one of them another")
            declared[one.paglet_id] = one
        for one in declared.values():
            row = await until_reached(partial(self._parts.directory.get, one.paglet_id))
            if row is not None and row.state is not PagletState.DISPOSED and row.type != one.spec.type:
                _log.error(
                    "resident service %s of type %s is not declared: paglet %s on host %s is a %s; it stays as it is."
                    " Dispose of it, or give the service another id",
                    one.services[0],
                    one.spec.type,
                    one.paglet_id,
                    row.owner,
                    row.type,
                )
                continue
            self._declared[one.paglet_id] = one

    def records(self) -> tuple[ServiceRecord, ...]:
        """What the host makes known when it takes its name."""
        return tuple(
            ServiceRecord(
                service=service,
                paglet_id=one.paglet_id,
                operations=operations_of(one.paglet_type, service),
                scope=one.spec.scope,
                advertiser=self._parts.name,
                tags=one.spec.tags,
                resident=True,
            )
            for one in self._declared.values()
            for service in one.services
        )

    def _checked(self, spec: ResidentServiceSpec) -> _Declared:
        paglet_type = self._parts.registry.get(spec.type)
        names = tuple(found.full_name for found in paglet_type.Services) or services_of(paglet_type)
        if not names:
            raise _malformed(f"{spec.type} answers no service, so it can be no resident one")
        if not spec.idle_timeout_s > 0:
            raise _malformed(f"a resident service rests after more than 0 seconds, got {spec.idle_timeout_s}")
        paglet_id = spec.paglet_id or resident_id(names[0])
        if not spec.singleton:
            paglet_id = f"{paglet_id}.{self._parts.name}"
        return _Declared(spec, check_id(paglet_id, "residents.paglet_id"), paglet_type)

    # How one starts.

    async def started(self, paglet_id: str, *, awake_only: bool = False) -> Resident | None:
        """The resident service of this id, started if nobody has; None when it is none of this host's, or elsewhere.

        However many ask at once, here and at other hosts, there is one. Raises PAGLET_INACTIVE for one that was not
        started if it has to be awake, DIRECTORY_UNAVAILABLE for one that was lost there, and as a creation does.
        """
        one = self._declared.get(paglet_id)
        if one is None:
            return None
        row = await self._parts.directory.get(paglet_id)
        if row is not None and row.state is not PagletState.DISPOSED:
            return None
        if row is None:
            await self._require_none_kept(paglet_id)
        if awake_only:
            raise PreconditionError(
                "PAGLET_INACTIVE",
                f"resident service {paglet_id} was not started yet, and this call does not start it",
                resource=Resource("paglet", paglet_id),
                metadata={"host": self._parts.name},
            )
        try:
            await self._create(CreateRequest(type=one.spec.type, paglet_id=paglet_id, state_json=one.spec.state_json))
        except (AlreadyExistsError, ConflictError) as error:
            _log.info("resident service %s was started elsewhere: %s", paglet_id, error)
        return self._residents.get(paglet_id)

    async def _require_none_kept(self, paglet_id: str) -> None:
        """Raises DIRECTORY_UNAVAILABLE for one that is kept here and lost by the directory: a new one would end it."""
        kept = await self._parts.journal.paglet(paglet_id)
        if kept is not None and kept.epoch > 0:
            raise UnavailableError(
                "DIRECTORY_UNAVAILABLE",
                f"host {self._parts.name} keeps resident service {paglet_id}, which the directory has lost: rebuild it",
                resource=Resource("paglet", paglet_id),
                retry_after_s=1.0,
            )

    async def start_eager(self) -> None:
        """Starts, or wakes, those that are to run from the host's start on; none waits for another.

        One that fails waits for its first call; UNAVAILABLE is tried again.
        """
        eager = (one for one in self._declared.values() if one.spec.lifecycle is ResidentLifecycle.EAGER)
        await asyncio.gather(*(self._start(one.paglet_id) for one in eager))

    async def _start(self, paglet_id: str) -> None:
        try:
            await attempt(until_reached(partial(self._run, paglet_id)), f"starting {paglet_id}")
        except PagletError as error:
            _log.error("resident service %s was not started: %s", paglet_id, error)

    async def _run(self, paglet_id: str) -> None:
        if await self._activate(paglet_id) is None:
            await self.started(paglet_id)

    # How one comes to rest.

    async def keep_time(self) -> None:
        """Lays down the lazy ones that nobody has used for their idle time; they stay declared."""
        lazy = [one for one in self._declared.values() if one.spec.lifecycle is ResidentLifecycle.LAZY]
        shortest_s = min((one.spec.idle_timeout_s for one in lazy), default=0.0)
        while lazy:
            now = time.monotonic()
            pause_s = shortest_s  # one that comes meanwhile has that long at least
            for one in lazy:
                resident = self._residents.get(one.paglet_id)
                if resident is None or resident.row.state is not PagletState.ACTIVE:
                    continue
                left_s = self._due(resident, one, now) - now
                if left_s <= 0:
                    self._not_before[one.paglet_id] = now + one.spec.idle_timeout_s
                    self._tasks.start(self._lay_down(resident))
                else:
                    pause_s = min(pause_s, left_s)
            await asyncio.sleep(pause_s)

    def _due(self, resident: Resident, one: _Declared, now: float) -> float:
        """When a paglet is to rest, if nobody uses it before."""
        idle_s = one.spec.idle_timeout_s
        if _is_used(resident):
            return now + idle_s
        last_at = max(resident.usage.last_at, resident.leases.last_end)
        return max(last_at + idle_s, self._not_before.get(one.paglet_id, 0.0))

    async def _lay_down(self, resident: Resident) -> None:
        if _is_used(resident) or resident.leases.live:  # since just now
            return
        try:
            await self._rests.rest(resident, RestRequest(policy=_POLICY))
        except PagletError as error:
            _log.warning("resident service %s does not rest: %s", resident.paglet_id, error)


def _is_used(resident: Resident) -> bool:
    return resident.usage.number > 0 or next(resident.box.waiting(), None) is not None


def _malformed(message: str) -> InvalidArgumentError:
    return InvalidArgumentError("MALFORMED_REQUEST", message, field="residents")
