"""Which fields an update changes is told by its mask, as a client without our SDK sends it."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from paglet.v1 import artifact_pb2
from paglets.artifacts.store import ArtifactChanges
from paglets.errors import InvalidArgumentError
from paglets.values import OwnerPolicy
from paglets.wire.artifact_update import changes_from_message

CHANGEABLE = {"name", "owner", "owner_policy", "content_type", "content_encoding", "labels", "expire_time"}


def changes(artifact: artifact_pb2.Artifact, *paths: str) -> ArtifactChanges:
    """What a host makes of a request."""
    return changes_from_message(
        artifact_pb2.UpdateArtifactRequest(artifact=artifact, update_mask=FieldMask(paths=paths))
    )


def test_mask_names_what_changes() -> None:
    """Only what the mask names is changed, whatever else is set."""
    artifact = artifact_pb2.Artifact(name="n", owner="o", labels={"a": "b"})
    assert changes(artifact, "name") == ArtifactChanges(name="n")
    assert changes(artifact, "labels", "owner") == ArtifactChanges(owner="o", labels={"a": "b"})


def test_named_and_unset_is_cleared() -> None:
    """A field that the mask names and that is not set is cleared."""
    cleared = ArtifactChanges(
        name="",
        owner="",
        owner_policy=OwnerPolicy.KEEP,
        content_type="",
        content_encoding="",
        labels={},
        expires_at=float("inf"),
    )
    assert changes(artifact_pb2.Artifact(), *CHANGEABLE) == cleared
    assert changes(artifact_pb2.Artifact(), "*") == cleared


def test_without_a_mask_what_is_set_changes() -> None:
    """Without a mask the fields that are set are changed; what the host sets itself is passed over."""
    artifact = artifact_pb2.Artifact(
        artifact_id="a",
        name="n",
        host="h",
        etag="e",
        create_time=Timestamp(seconds=1),
        expire_time=Timestamp(seconds=5),
    )
    assert changes(artifact) == ArtifactChanges(name="n", expires_at=5.0)
    assert changes(artifact_pb2.Artifact(artifact_id="a", etag="e")) == ArtifactChanges()


NOT_CHANGEABLE = sorted({field.name for field in artifact_pb2.Artifact.DESCRIPTOR.fields} - CHANGEABLE)


@pytest.mark.parametrize(
    "path", [*NOT_CHANGEABLE, "", "labels.a", "artifact.name", "Name", "expire_time.seconds", "**"]
)
def test_what_cannot_change(path: str) -> None:
    """A mask that names what never changes, or nothing there is, is refused as a whole."""
    with pytest.raises(InvalidArgumentError) as caught:
        changes(artifact_pb2.Artifact(name="n"), "name", path)
    assert (caught.value.reason, caught.value.field) == ("MALFORMED_REQUEST", "update_mask")


def test_star_stands_alone() -> None:
    """`*` beside other paths is a mistake."""
    with pytest.raises(InvalidArgumentError):
        changes(artifact_pb2.Artifact(), "*", "name")


def test_unknown_policy() -> None:
    """A policy of a later version is refused, not taken for another."""
    artifact = artifact_pb2.Artifact()
    artifact.MergeFromString(b"\x40\x63")  # field 8, owner_policy, is 99
    with pytest.raises(InvalidArgumentError) as caught:
        changes(artifact)
    assert caught.value.field == "owner_policy"
