"""OperationService: operations that are asked for by their names, on whichever host their paglets are."""

from __future__ import annotations

import asyncio

from paglet.v1 import operation_pb2 as pb
from paglet.v1 import operation_pb2_grpc
from paglets.errors import InvalidArgumentError
from paglets.host.host import Host
from paglets.host.posting import PostRequest
from paglets.services.guard import ServerContext
from paglets.services.routing import Router, check_request_id
from paglets.values import check_id

__all__ = ["OperationServicer"]

_POST = "/paglet.v1.OperationService/PostOperation"


class OperationServicer(operation_pb2_grpc.OperationServiceServicer):
    """Answers for one host; put it behind the guard."""

    def __init__(self, host: Host, router: Router) -> None:
        self._host = host
        self._router = router

    async def PostOperation(self, request: pb.PostOperationRequest, context: ServerContext) -> pb.PostOperationResponse:
        """Leaves an operation with a paglet."""
        meta = self._router.meta(context, check_id(request.paglet_id, "paglet_id"))
        post = PostRequest(
            path=_path(request.operation),
            type_url=request.request.type_url,
            request=request.request.value,
            request_id=check_request_id(request.request_id, "request_id"),
        )
        deadline = asyncio.get_running_loop().time() + meta.timeout_s

        async def here() -> bytes | None:
            resident = await self._host.resident(meta.paglet_id)
            if resident is None:
                return None
            post_id = await self._host.posting.post(resident, post, deadline)
            context.set_trailing_metadata(self._router.signpost(meta.paglet_id))
            return pb.PostOperationResponse(post_id=post_id).SerializeToString()

        reply = await self._router.unary(context, meta, _POST, request.SerializeToString(), here)
        return pb.PostOperationResponse.FromString(reply)


def _path(operation: str) -> str:
    """The rpc path of an operation, which may be given as one. Raises MALFORMED_REQUEST."""
    name = operation.removeprefix("/")
    service, slash, method = name.partition("/")
    if not (service and slash and method) or "/" in method:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST", f"operation must be pkg.Service/Method, got {operation!r}", field="operation"
        )
    return f"/{name}"
