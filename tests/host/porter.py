"""A paglet that is given artifacts, and sends some: `--allow tests.host.porter`."""

from __future__ import annotations

from dataclasses import dataclass, field

from google.protobuf.wrappers_pb2 import StringValue

from paglet.v1 import artifact_pb2
from paglets.client.client import Client
from paglets.errors import PreconditionError
from paglets.patterns.operations import OperationPaglet
from tests.host.porter_service import PORTER, PorterStub
from tests.host.stage import STAGE

__all__ = ["PORTER_MODULE", "Porter", "PorterState"]

PORTER_MODULE = "tests.host.porter"


@dataclass
class PorterState:
    """The ids of what it has kept."""

    kept: list[str] = field(default_factory=list[str])


class Porter(OperationPaglet[PorterState]):
    """Keeps what it is given, or refuses it."""

    Services = (PORTER,)

    async def note(self, request: artifact_pb2.Artifact) -> StringValue:
        """Looks at the artifact, and does not keep it."""
        self.state.kept.append(request.artifact_id)
        return StringValue(value=request.artifact_id)

    async def take(self, request: artifact_pb2.Artifact) -> StringValue:
        """Keeps the artifact."""
        ref = await self.take_artifact(request)
        await STAGE.at("take")
        self.state.kept.append(ref.artifact_id)
        return StringValue(value=ref.artifact_id)

    async def refuse(self, request: artifact_pb2.Artifact) -> StringValue:
        """Keeps the artifact, and fails."""
        self.state.kept.append((await self.take_artifact(request)).artifact_id)
        raise PreconditionError("TASK_RUNNING", "no more today")

    def upload(self, request: StringValue) -> StringValue:
        """Stores a file of its host, from a worker thread."""
        return StringValue(value=self.blocking(self.upload_artifact(request.value)).artifact_id)

    async def pass_on(self, request: StringValue) -> StringValue:
        """Sends a file of its host to another porter: `PAGLET PATH`."""
        paglet_id, _, path = request.value.partition(" ")
        async with self.send_artifact(paglet_id, path) as artifact, Client(self.context.address) as client:
            return await client.proxy(paglet_id).stub(PorterStub).Note(artifact)
