"""References, writes and results survive the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paglet.v1 import artifact_pb2
from paglets.artifacts.store import (
    ArtifactEvent,
    ArtifactEventKind,
    ArtifactNotice,
    ArtifactPage,
    ArtifactWrite,
    ArtifactWriteResult,
    UploadInfo,
    UploadPage,
    UploadState,
    WriteOutcome,
)
from paglets.digest import NOTHING, Digest
from paglets.errors import CallerError
from paglets.values import ArtifactRef, OwnerPolicy
from paglets.wire.artifact import (
    artifact_from_message,
    artifact_to_message,
    finish_from_message,
    finish_to_message,
    page_from_message,
    page_to_message,
    partial_to_message,
    prefix_from_header,
    result_from_message,
    result_to_message,
    upload_from_message,
    upload_to_message,
    uploads_from_message,
    uploads_to_message,
    write_from_header,
    write_to_header,
)
from paglets.wire.artifact_watch import notice_from_message, notice_to_message

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
    etag=TEXT,
    updated_at=TIMES,
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
    back = artifact_from_message(artifact_to_message(ref))
    assert back == ref
    assert (back.etag, back.updated_at) == (ref.etag, ref.updated_at)  # which make no other reference
    assert (back.corrupt, back.verified_at) == (ref.corrupt, ref.verified_at)


@given(WRITES)
def test_write(write: ArtifactWrite) -> None:
    """What is to be written comes back equal; what is unset stays unset."""
    assert write_from_header(write_to_header(write, 0, NOTHING)) == write


@given(DIGESTS, st.integers(min_value=0, max_value=1 << 62))
def test_going_on(prefix: Digest, writer_epoch: int) -> None:
    """What a writer says of what is there comes back equal, and none is none."""
    header = write_to_header(ArtifactWrite(upload_id="u"), writer_epoch, prefix)
    assert (prefix_from_header(header), header.writer_epoch) == (prefix, writer_epoch)
    assert prefix_from_header(artifact_pb2.WriteHeader()) is None


@given(
    st.builds(
        UploadInfo,
        upload_id=TEXT,
        artifact_id=TEXT,
        state=st.sampled_from(UploadState),
        committed_size=SIZES,
        writer_epoch=SIZES,
        created_at=TIMES,
        prefix=st.none() | DIGESTS,
        writing=st.booleans(),
        name=TEXT,
        owner=TEXT,
        expected_size=st.none() | SIZES,
        expected_digest=st.none() | DIGESTS,
        reserved_bytes=SIZES,
        expires_at=st.none() | TIMES,
        ref=st.none() | REFS,
    )
)
def test_upload(info: UploadInfo) -> None:
    """An upload comes back equal, alone and in a page."""
    assert upload_from_message(upload_to_message(info)) == info
    page = UploadPage((info,), "token")
    assert uploads_from_message(uploads_to_message(page)) == page


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
    page = ArtifactPage(tuple(refs), token, token[::-1])
    assert page_from_message(page_to_message(page)) == page


@given(REFS, TIMES, TEXT, st.sampled_from(ArtifactEventKind))
def test_notice(ref: ArtifactRef, at: float, cursor: str, kind: ArtifactEventKind) -> None:
    """What a watch tells comes back equal, with an event and without."""
    for notice in (ArtifactNotice(cursor), ArtifactNotice(cursor, ArtifactEvent(kind, ref, at))):
        assert notice_from_message(notice_to_message(notice)) == notice


def test_unknown_kind_of_event() -> None:
    """What a later version tells of an artifact reads as an update: it is to be looked at."""
    ref = ArtifactRef(host="h", artifact_id="a", digest=Digest.of(b""))
    notice = notice_to_message(ArtifactNotice("c", ArtifactEvent(ArtifactEventKind.DELETED, ref, 1.0)))
    notice.event.MergeFromString(b"\x08\x63")  # field 1, kind, is 99
    event = notice_from_message(notice).event
    assert event is not None
    assert event.kind is ArtifactEventKind.UPDATED


def test_unknown_outcome() -> None:
    """An outcome of a later version is no success that we know."""
    with pytest.raises(CallerError) as caught:
        result_from_message(artifact_pb2.WriteArtifactResponse())
    assert caught.value.reason == "TRANSPORT"


def test_partial() -> None:
    """A partial is no artifact."""
    message = partial_to_message(7)
    assert (result_from_message(message), message.committed_size) == (None, 7)


def test_unknown_policy_of_a_stored_artifact() -> None:
    """A policy of a later version reads as KEEP: we delete nothing for it."""
    message = artifact_to_message(ArtifactRef(host="h", artifact_id="a", digest=Digest.of(b"")))
    message.MergeFromString(b"\x40\x63")  # field 8, owner_policy, is 99
    assert artifact_from_message(message).owner_policy is OwnerPolicy.KEEP
