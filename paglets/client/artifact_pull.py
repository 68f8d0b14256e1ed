"""A pull as its caller sees it: over as many calls as it takes, all of which join the one that runs at the host."""

from __future__ import annotations

from collections.abc import Callable

from paglet.v1 import artifact_pb2_grpc
from paglets.artifacts.store import ArtifactWriteResult, PullProgress, PullRequest
from paglets.client.backoff import Backoff
from paglets.client.calls import errors_of_calls
from paglets.client.retry import RetryPolicy
from paglets.errors import UnavailableError
from paglets.wire.artifact_pull import progress_from_message, pull_to_request

__all__ = ["pull_artifact"]


async def pull_artifact(
    stub: artifact_pb2_grpc.ArtifactServiceAsyncStub,
    request: PullRequest,
    policy: RetryPolicy,
    progress: Callable[[PullProgress], None] | None,
) -> ArtifactWriteResult:
    """Begins or joins a pull and waits for its end; given up when the host said nothing for as long as the policy says.

    Raises what the pull ends with.
    """
    backoff = Backoff(policy)

    def told(found: PullProgress) -> None:
        backoff.progressed()
        if progress is not None:
            progress(found)

    while True:
        try:
            return await _one_call(stub, request, told)
        except UnavailableError as failure:
            if failure.reason == "HOST_UNREACHABLE":  # the source: that is how the pull has ended
                raise
            await backoff.pause(failure)


async def _one_call(
    stub: artifact_pb2_grpc.ArtifactServiceAsyncStub, request: PullRequest, told: Callable[[PullProgress], None]
) -> ArtifactWriteResult:
    with errors_of_calls():
        call = stub.PullArtifact(pull_to_request(request))
        try:
            async for message in call:
                found = progress_from_message(message)
                told(found)
                if found.result is not None:
                    return found.result
        finally:
            call.cancel()
    raise UnavailableError("TRANSPORT", f"the stream of pull {request.pull_id} ended before the pull did")
