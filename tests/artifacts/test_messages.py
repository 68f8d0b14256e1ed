"""References, writes and results survive the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paglet.v1 import artifact_pb2
from paglets.artifacts.store import ArtifactPage, ArtifactWrite, ArtifactWriteResult, WriteOutcome
from paglets.digest import Digest
from paglets.errors import UnavailableError
from paglets.values import ArtifactRef, OwnerPolicy
from paglets.wire.artifact import (
    artifact_from_message,
    artifact_to_message,
    finish_from_message,
    finish_to_message,
    page_from_message,
    page_to_message,
    result_from_message,
    result_to_message,
    write_from_header,
    write_to_header,
)

TEXT = st.text(max_size=20)
IDS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
SIZES = st.integers(0, 2**63 - 1)
DIGESTS = st.builds(Digest, st.binary(min_size=32, max_size=32), SIZES)
TIMES = st.integers(10**15, 4 * 10**15).map(lambda micros: micros / 1e6)
LABELS = st.dictionaries(TEXT, TEXT, max_size=3)
POLICIES = st.sampled_from(OwnerPolicy)
REFS = st.builds(
    ArtifactRef,
    host=TEXT,
    artifact_id=TEXT,
    digest=DIGESTS,
    name=TEXT,
    owner=TEXT,
    content_type=TEXT,
    content_encoding=TEXT,
    labels=LABELS,
    owner_policy=POLICIES,
    created_at=TIMES,
    expires_at=st.none() | TIMES,
    corrupt=st.booleans(),
    verified_at=st.none() | TIMES,
)
WRITES = st.builds(
    ArtifactWrite,
    upload_id=IDS,
    artifact_id=TEXT,
    name=TEXT,
    owner=TEXT,
    owner_policy=POLICIES,
    content_type=TEXT,
    content_encoding=TEXT,
    labels=LABELS,
    ttl_s=st.none() | st.integers(1, 10**9).map(lambda eighths: eighths / 8),
    size_bytes=st.none() | SIZES,
    expected_digest=st.none() | DIGESTS,
)


@given(REFS)
def test_reference(ref: ArtifactRef) -> None:
    """A reference comes back equal, times to the microsecond."""
    again = artifact_from_message(artifact_to_message(ref))
    assert again == ref
    assert (again.corrupt, again.verified_at) == (ref.corrupt, ref.verified_at)  # which make no other reference


@given(WRITES)
def test_write(write: ArtifactWrite) -> None:
    """What is to be written comes back equal; what is unset stays unset."""
    assert write_from_header(write_to_header(write)) == write


@given(DIGESTS)
def test_finish(digest: Digest) -> None:
    """A proof comes back equal."""
    assert finish_from_message(finish_to_message(digest)) == digest


@given(REFS, st.sampled_from(WriteOutcome))
def test_result(ref: ArtifactRef, outcome: WriteOutcome) -> None:
    """A result comes back equal."""
    result = ArtifactWriteResult(ref, outcome)
    assert result_from_message(result_to_message(result)) == result


@given(st.lists(REFS, max_size=3), TEXT)
def test_page(refs: list[ArtifactRef], token: str) -> None:
    """A page comes back equal."""
    page = ArtifactPage(tuple(refs), token)
    assert page_from_message(page_to_message(page)) == page


def test_unknown_outcome() -> None:
    """An outcome of a later version is no success that we know."""
    with pytest.raises(UnavailableError) as caught:
        result_from_message(artifact_pb2.WriteArtifactResponse())
    assert caught.value.reason == "TRANSPORT"


def test_unknown_policy_of_a_stored_artifact() -> None:
    """A policy of a later version reads as KEEP: we delete nothing for it."""
    message = artifact_to_message(ArtifactRef(host="h", artifact_id="a", digest=Digest.of(b"")))
    message.MergeFromString(b"\x40\x63")  # field 8, owner_policy, is 99
    assert artifact_from_message(message).owner_policy is OwnerPolicy.KEEP
