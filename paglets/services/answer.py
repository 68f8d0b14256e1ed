"""A unary call at the host of its paglet, the same whichever door it came by: its reply, and what is told beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager

from paglets.core.call import OperationCall
from paglets.host.calls import Call
from paglets.host.once import Reply
from paglets.host.resident import Resident
from paglets.services.call_meta import CallMeta
from paglets.services.outlet import Outlet, ServerContext
from paglets.services.routing import Router
from paglets.wire.metadata import REPLAYED_KEY

__all__ = ["answer_unary", "call_of", "telling"]


def call_of(meta: CallMeta, path: str, request: bytes = b"", type_url: str | None = None) -> Call:
    """The call that metadata and request make; its deadline counts from now."""
    deadline = time.monotonic() + meta.timeout_s if meta.has_deadline else None
    return Call(
        path=path,
        request=request,
        type_url=type_url,
        principal=meta.caller,
        request_id=meta.request_id,
        deadline=asyncio.get_running_loop().time() + meta.timeout_s,
        chain=meta.chain,
        told=OperationCall(path.removeprefix("/"), meta.own, deadline),
    )


async def answer_unary(
    resident: Resident, router: Router, context: ServerContext, meta: CallMeta, call: Call, outlet: Outlet
) -> Reply:
    """The reply of a paglet of this host, which is yet to be sent. Raises as `Calls.answer` does."""
    with telling(router, context, meta, call.told):
        reply = await resident.calls.answer(call)
    if reply.replayed:
        context.set_trailing_metadata((*router.signpost(meta.paglet_id), (REPLAYED_KEY, "true")))
    if call.told.initial_metadata:
        await outlet.begin(call.told.initial_metadata)
    return reply


@contextmanager
def telling(router: Router, context: ServerContext, meta: CallMeta, told: OperationCall) -> Generator[None]:
    """Whatever the call in the block ends with, its trailing metadata say who answered, and what he says."""
    context.set_trailing_metadata(router.signpost(meta.paglet_id))
    try:
        yield
    finally:
        if told.trailing_metadata:
            context.set_trailing_metadata((*router.signpost(meta.paglet_id), *told.trailing_metadata))
