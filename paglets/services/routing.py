"""Brings a call to the host that owns its paglet: here, or over one or two hops as raw bytes.

The only place that decides where a call goes. It trusts what it remembers of a paglet's place just enough to try it,
and says whom it means: another host may listen by now where the owner did.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import NoReturn, TypeVar

import grpc

from paglets.errors import NotFoundError, PagletError, Resource, UnavailableError
from paglets.host.gate import cut_off, is_elsewhere, shutting_down
from paglets.host.host import Host
from paglets.services.call_meta import MAX_HOPS, CallMeta, RawMetadata
from paglets.services.outlet import Outlet, ServerContext
from paglets.services.passing import Passing
from paglets.services.requests import Requests
from paglets.wire.metadata import (
    EPOCH_KEY,
    HOST_KEY,
)
from paglets.wire.status import DETAILS_KEY, from_rpc_error, has_details

__all__ = ["Router", "pass_on"]

T = TypeVar("T")
_MAX_PLACES = 10_000


class Router:
    """The routes of one host, whose data folder has the given uid."""

    def __init__(self, host: Host, uid: str) -> None:
        self._host = host
        self._uid = uid
        self._places: OrderedDict[str, str] = OrderedDict()
        self._passing: dict[Passing, str] = {}

    def meta(self, context: ServerContext, paglet_id: str = "", *, default_timeout_s: float | None = None) -> CallMeta:
        """Reads the metadata of a call; one without a deadline gets `default_timeout_s`, or the host's default.

        Raises INVALID_ID, MALFORMED_REQUEST, and PAGLET_MOVED for a call that was passed on to another host.
        """
        settings = self._host.parts.settings
        meta = CallMeta.of(context, default_timeout_s or settings.unary_deadline_s, paglet_id)
        if meta.to not in {"", self._uid}:
            raise _moved(meta.paglet_id)
        return meta

    async def unary(
        self,
        context: ServerContext,
        meta: CallMeta,
        path: str,
        request: bytes,
        here: Callable[[], Awaitable[bytes | None]],
    ) -> bytes:
        """Answers a unary call: by `here` if that gives an answer, which it does not for a paglet that is elsewhere.

        Raises PagletErrors; what another host answers is passed on untouched.
        """
        await self._host.wait_ready(meta.timeout_s)
        for trust in (True, False):
            reply = await self._here(meta, here)
            if reply is not None:
                return reply
            owner = await self.owner(meta, trust=trust)
            if owner == self._host.name:
                continue  # it has just come, or is about to
            self._require_hop(meta)
            try:
                forwarder = await self._host.parts.peers.forwarder(owner)
                reply, initial, trailing = await forwarder.unary(path, request, meta.onward(), meta.timeout_s)
            except NotFoundError:  # no such host: what was remembered is wrong, what the directory says is final
                if not trust:
                    raise
                self._forget(meta.paglet_id, owner)
                continue
            except grpc.aio.AioRpcError as error:
                if (lost := self.lost(meta, owner, error)) is not None:
                    raise lost from error
                if trust and is_elsewhere(from_rpc_error(error), meta.paglet_id):
                    continue
                await pass_on(context, error)
            self._learn(meta.paglet_id, dict(trailing))
            context.set_trailing_metadata(_ours(trailing))
            if initial:
                await Outlet(context).begin(initial)
            return reply
        raise await self._nowhere(meta)

    async def stream(
        self,
        context: ServerContext,
        meta: CallMeta,
        path: str,
        requests: Requests,
        outlet: Outlet,
        here: Callable[[], Awaitable[bool | None]],
    ) -> None:
        """Answers a call of any arity: by `here` if that is True, which it is not for a paglet that is elsewhere.

        It is passed on as it comes, and to another host only as long as nobody has begun it. Raises PagletErrors.
        """
        await self._host.wait_ready(meta.timeout_s)
        for trust in (True, False):
            if await self._here(meta, here):
                return
            owner = await self.owner(meta, trust=trust)
            if owner == self._host.name:
                continue  # it has just come, or is about to
            self._require_hop(meta)
            try:
                forwarder = await self._host.parts.peers.forwarder(owner)
            except NotFoundError:
                if not trust:
                    raise
                self._forget(meta.paglet_id, owner)
                continue
            timeout_s = meta.timeout_s if meta.has_deadline else None
            passing = Passing(forwarder.open(path, requests.messages(), meta.onward(), timeout_s), outlet)
            self._passing[passing] = meta.paglet_id
            try:
                trailing = await passing.run(requests)
            except grpc.aio.AioRpcError as error:
                if (lost := self.lost(meta, owner, error)) is not None:
                    raise lost from error
                if trust and requests.can_begin_anew and is_elsewhere(from_rpc_error(error), meta.paglet_id):
                    continue
                await pass_on(context, error)
            finally:
                del self._passing[passing]
            self._learn(meta.paglet_id, dict(trailing))
            context.set_trailing_metadata(_ours(trailing))
            return
        raise await self._nowhere(meta)

    def end_streams(self) -> None:
        """Cuts the streams that are passed on, as the host ends; what may be a single call has the drain time."""
        for passing, paglet_id in self._passing.items():
            passing.cut(cut_off(paglet_id, shutting_down()))

    async def _nowhere(self, meta: CallMeta) -> PagletError:
        """What is said of a paglet that was nowhere where it was looked for. Raises what keeps it from being served."""
        row = await self._host.row(meta.paglet_id)
        if row.owner == self._host.name:
            await self._host.require_here(row)
        return _moved(meta.paglet_id)

    async def _here(self, meta: CallMeta, here: Callable[[], Awaitable[T | None]]) -> T | None:
        """The answer of this host; None when the paglet is not here, or left before the call was run."""
        try:
            return await here()
        except UnavailableError as error:
            # What a handler was told of another paglet is an answer: it has run.
            if error.reason != "PAGLET_MOVED" or not is_elsewhere(error, meta.paglet_id):
                raise
            return None

    def lost(self, meta: CallMeta, owner: str, error: grpc.aio.AioRpcError) -> PagletError | None:
        """What to tell when the owner does not answer, which may have run the call; None when the error is an answer.

        Of an owner that does not answer, or answers that the paglet is not there, nothing is trusted any more.
        """
        failure = from_rpc_error(error)
        answered = error.code() is not grpc.StatusCode.UNAVAILABLE or has_details(error)
        if not answered or is_elsewhere(failure, meta.paglet_id):
            self._forget(meta.paglet_id, owner)
        if answered:
            return None
        return UnavailableError(
            "TRANSPORT",
            f"host {owner}, which has the paglet, did not answer; it may have run the call: {failure.message}",
            resource=Resource("host", owner),
            metadata={"host": owner},
            retry_after_s=1.0,
        )

    async def owner(self, meta: CallMeta, *, trust: bool) -> str:
        """Who owns the paglet: what is remembered if that may be trusted, else what the directory says."""
        remembered = self._places.get(meta.paglet_id)
        if trust and remembered is not None and remembered != self._host.name:
            return remembered
        owner = await self._host.place(meta.paglet_id)
        self._remember(meta.paglet_id, owner)
        return owner

    async def elsewhere(self, meta: CallMeta) -> str:
        """The other host that owns a paglet. Raises what keeps the paglet from being served when it is this one's."""
        row = await self._host.row(meta.paglet_id)
        if row.owner == self._host.name:
            await self._host.require_here(row)
            raise _moved(meta.paglet_id)
        self._require_hop(meta)
        return row.owner

    def _require_hop(self, meta: CallMeta) -> None:
        if meta.hops >= MAX_HOPS:
            raise _moved(meta.paglet_id)

    def _learn(self, paglet_id: str, trailing: dict[str, str | bytes]) -> None:
        """Remembers who answered; for a host that is not known here the next call asks the directory."""
        place = trailing.get(HOST_KEY)
        if isinstance(place, str) and self._host.parts.peers.known_address(place):
            self._remember(paglet_id, place)
        elif place is not None:
            self._places.pop(paglet_id, None)

    def _forget(self, paglet_id: str, owner: str) -> None:
        self._places.pop(paglet_id, None)
        self._host.parts.peers.distrust(owner)

    def _remember(self, paglet_id: str, host: str) -> None:
        self._places[paglet_id] = host
        self._places.move_to_end(paglet_id)
        if len(self._places) > _MAX_PLACES:
            self._places.popitem(last=False)

    def signpost(self, paglet_id: str) -> tuple[tuple[str, str], ...]:
        """Trailing metadata that teach a caller the way to a paglet of this host."""
        resident = self._host.residents.get(paglet_id)
        epoch = "0" if resident is None else str(resident.row.epoch)
        return (HOST_KEY, self._host.name), (EPOCH_KEY, epoch)


async def pass_on(context: ServerContext, error: grpc.aio.AioRpcError) -> NoReturn:
    """Ends a call as another host ended it: code, message, details and trailing metadata untouched."""
    trailing = _ours(tuple(error.trailing_metadata() or ()))
    await context.abort(error.code(), error.details() or "", trailing)


def _ours(trailing: Iterable[tuple[str, str | bytes]]) -> RawMetadata:
    """Trailing metadata without what gRPC itself put there."""
    return tuple((key, value) for key, value in trailing if key == DETAILS_KEY or not key.startswith(("grpc-", ":")))


def _moved(paglet_id: str) -> PagletError:
    return UnavailableError(
        "PAGLET_MOVED",
        f"paglet {paglet_id} moved while the call was on its way; nothing was run, call again",
        resource=Resource("paglet", paglet_id),
        retry_after_s=0.05,
    )
