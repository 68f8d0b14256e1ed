"""How a paglet begins: its first turn, its state in the journal, its row in the directory, which is the commit."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from blake3 import blake3

from paglets.core.events import CreationEvent
from paglets.core.lifecycle import LifecycleEvent
from paglets.core.paglet import Paglet
from paglets.directory.contract import Guard, PagletRow
from paglets.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidArgumentError,
    PreconditionError,
    Resource,
)
from paglets.faults import point
from paglets.host.activities import hook_limits
from paglets.host.parts import HostParts
from paglets.host.replies import require_same
from paglets.host.resident import Resident
from paglets.host.residents import Residents
from paglets.host.settle import settle_write
from paglets.values import PagletState, check_id, created_id, new_id

__all__ = ["BIRTH_POINTS", "Births", "CreateRequest"]

BIRTH_POINTS = ("create.journal.before", "create.journal.after", "create.directory.after")
"""The named points of a creation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRequest:
    """What is to be created; `paglet_id` and `request_id` may be empty, `state_json` empty for the class's defaults."""

    type: str
    paglet_id: str = ""
    state_json: str = ""
    request_id: str = ""

    @property
    def effective_id(self) -> str:
        """The id asked for, or one derived from the request id, or a new one."""
        if self.paglet_id:
            return check_id(self.paglet_id, "paglet_id")
        return created_id(self.request_id) if self.request_id else new_id()

    @property
    def fingerprint(self) -> bytes:
        """What makes two requests the same."""
        return blake3(f"{self.type}\0{self.paglet_id}\0{self.state_json}".encode()).digest()


class Births:
    """Creates paglets on one host. Creations of the same id wait for each other."""

    def __init__(self, parts: HostParts, residents: Residents) -> None:
        self._parts = parts
        self._residents = residents
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def create(self, request: CreateRequest) -> PagletRow:
        """Creates a paglet, or finds the one that the same request created.

        Raises TYPE_NOT_ALLOWED, STATE_INVALID, PAGLET_EXISTS, REQUEST_ID_REUSED, HOOK_FAILED, QUIESCE_TIMEOUT.
        """
        paglet_type = self._parts.registry.get(request.type)
        paglet_id = request.effective_id
        state = _first_state(paglet_type, request.state_json)
        lock = self._locks.setdefault(paglet_id, asyncio.Lock())
        async with lock:
            found = await self._parts.directory.get(paglet_id)
            if found is not None and not found.is_unborn:
                if found.state is not PagletState.DISPOSED or not request.paglet_id:
                    return _same(found, request)
                if request.request_id and found.earlier_request_id == request.request_id:
                    raise _ended(paglet_id, request)
            row = PagletRow(
                paglet_id=paglet_id,
                type=request.type,
                owner=self._parts.name,
                state=PagletState.ACTIVE,
                request_id=request.request_id or new_id(),  # tells this creation from any other
                fingerprint=request.fingerprint,
                earlier_request_id=found.request_id if found is not None else "",
            )
            resident = self._residents.build(row, paglet_type, state)
            try:
                return await self._bear(resident, request, found)
            finally:
                if self._residents.get(paglet_id) is not resident:
                    await resident.let_go(self._parts.settings.quiesce_s)
                    resident.leave()  # what a thread of its hook still does must not be done to the next of this id
                    await self._parts.work.drop(paglet_id)

    async def _bear(self, resident: Resident, request: CreateRequest, tombstone: PagletRow | None) -> PagletRow:
        event = CreationEvent(self._parts.name)
        async with hook_limits("on_creation", self._parts.settings.quiesce_s):
            first = await resident.activities.first_hook(resident.paglet.on_creation, event)
        stored, guard = resident.stored(), Guard.after(resident.paglet_id, tombstone)  # of epoch 0: not confirmed
        try:
            point("create.journal.before")
            files = tuple(resident.files.values())
            await self._parts.journal.save_newborn(
                stored, files, guard.epoch, first.request, tuple(first.posts), first.events
            )
            point("create.journal.after")
            resident.row = await settle_write(self._parts.directory, guard, resident.row, cause=LifecycleEvent.CREATE)
        except ConflictError:
            await self._parts.journal.forget_paglet(resident.paglet_id, 0)
            found = await self._parts.directory.get(resident.paglet_id)
            if found is None or found.is_unborn:
                raise
            return _same(found, request)
        point("create.directory.after")
        self._residents.add(resident)
        await self._parts.journal.set_epochs([(resident.paglet_id, resident.row.epoch)])
        resident.open(first)
        return resident.row


def _same(found: PagletRow, request: CreateRequest) -> PagletRow:
    """The paglet that is there, if this very request created it. Raises PAGLET_EXISTS, REQUEST_ID_REUSED."""
    if request.request_id and found.request_id == request.request_id:
        require_same(found.fingerprint, request.fingerprint, ("", request.request_id), found.paglet_id)
        return found
    if found.state is PagletState.DISPOSED:
        raise _ended(found.paglet_id, request)
    raise AlreadyExistsError(
        "PAGLET_EXISTS",
        f"a paglet {found.paglet_id} of type {found.type} exists on host {found.owner}",
        resource=Resource("paglet", found.paglet_id),
    )


def _ended(paglet_id: str, request: CreateRequest) -> PreconditionError:
    return PreconditionError(
        "ILLEGAL_TRANSITION",
        f"the paglet of request {request.request_id} was disposed of; create another with a new request id",
        resource=Resource("paglet", paglet_id),
        metadata={"state": PagletState.DISPOSED.value, "event": "create"},
    )


def _first_state(paglet_type: type[Paglet[Any]], state_json: str) -> object:
    """The state to begin with. Raises STATE_INVALID."""
    codec = paglet_type.codec
    if state_json:
        return codec.from_json(state_json)
    required = [
        found.name
        for found in dataclasses.fields(paglet_type.State)
        if found.default is dataclasses.MISSING and found.default_factory is dataclasses.MISSING
    ]
    if required:
        raise InvalidArgumentError(
            "STATE_INVALID",
            f"{codec.state_class.__qualname__} has no default for: {', '.join(required)}; give an initial state",
            field="state_json",
        )
    return codec.prove(codec.encode(paglet_type.State()))
