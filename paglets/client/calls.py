"""What a call on a channel can raise, made errors of ours; for whoever calls a host by a generated stub."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

import grpc

from paglets.errors import CancelledCallError, UnavailableError
from paglets.wire.status import from_rpc_error

__all__ = ["errors_of_calls"]


@contextmanager
def errors_of_calls() -> Generator[None, None, None]:
    """Raises the PagletError that a failed call inside stands for; begin the call inside too.

    A call whose channel is closed under it raises CancelledError, though nobody cancelled the task: whoever awaits that
    task would take it for given up. Here it is TRANSPORT (UnavailableError); a cancelled task stays cancelled. A call
    on a channel that was closed before is CANCELLED.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    except grpc.aio.UsageError as error:
        raise CancelledCallError("CANCELLED", "the client was closed before the call had ended") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise UnavailableError("TRANSPORT", "the channel was closed during the call") from error
