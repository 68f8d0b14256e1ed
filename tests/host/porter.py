"""A paglet that stores artifacts: `--allow tests.host.porter`."""

from __future__ import annotations

from dataclasses import dataclass, field

from google.protobuf.wrappers_pb2 import StringValue

from paglets.patterns.operations import OperationPaglet
from tests.host.porter_service import PORTER

__all__ = ["PORTER_MODULE", "Porter", "PorterState"]

PORTER_MODULE = "tests.host.porter"


@dataclass
class PorterState:
    """The ids of what it has kept."""

    kept: list[str] = field(default_factory=list[str])


class Porter(OperationPaglet[PorterState]):
    """Stores files."""

    Services = (PORTER,)

    def upload(self, request: StringValue) -> StringValue:
        """Stores a file of its host, from a worker thread."""
        return StringValue(value=self.blocking(self.upload_artifact(request.value)).artifact_id)
