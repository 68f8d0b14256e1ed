"""Services survive the wire, and what is told of later kinds of change is a change."""

from hypothesis import given
from hypothesis import strategies as st

from paglet.v1 import mesh_pb2
from paglets.directory.contract import ServiceNews
from paglets.discovery import ServiceChange, ServiceKey, ServiceNotice, ServiceRecord, ServiceScope
from paglets.wire.services import (
    news_from_message,
    news_to_message,
    notice_from_message,
    notice_to_message,
    record_from_message,
    record_to_message,
)

TEXT = st.text(max_size=20)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
TIMES = st.sampled_from([1_700_000_000.25, 1_900_000_000.0])
RECORDS = st.builds(
    ServiceRecord,
    service=TEXT,
    paglet_id=TEXT,
    operations=TEXTS,
    scope=st.sampled_from(ServiceScope),
    host=TEXT,
    advertiser=TEXT,
    tags=TEXTS,
    expires_at=st.none() | TIMES,
    resident=st.booleans(),
    online=st.booleans(),
)
NEWS = st.builds(
    ServiceNews,
    now=TIMES,
    records=st.lists(RECORDS, max_size=2).map(tuple),
    gone=st.lists(st.builds(ServiceKey, TEXT, TEXT, TEXT), max_size=2).map(tuple),
    anew=st.booleans(),
    more=st.booleans(),
)


@given(RECORDS)
def test_record_survives(record: ServiceRecord) -> None:
    """A record comes back as it was."""
    assert record_from_message(record_to_message(record)) == record


@given(NEWS)
def test_news_survive(news: ServiceNews) -> None:
    """So does what a directory tells."""
    assert news_from_message(news_to_message(news)) == news


@given(st.builds(ServiceNotice, st.sampled_from(ServiceChange), RECORDS))
def test_notice_survives(notice: ServiceNotice) -> None:
    """And what a host tells."""
    assert notice_from_message(notice_to_message(notice)) == notice


def test_later_kind_of_change_is_a_change() -> None:
    """A host of a later version may tell of more than we know; the service is as it says."""
    message = mesh_pb2.WatchServicesResponse.FromString(b"\x08\x63")
    assert notice_from_message(message).change is ServiceChange.CHANGED
