"""The directory's values survive the wire, and what is no value is refused at the door."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paglet.v1 import directory_pb2, types_pb2
from paglets.directory.contract import (
    Guard,
    HostRegistration,
    Intent,
    JourneyRecord,
    PagletRow,
    PagletState,
    RowEvent,
    RowNotice,
    RowWrite,
)
from paglets.errors import InvalidArgumentError
from paglets.values import HostRef
from paglets.wire.directory import (
    event_from_message,
    event_to_message,
    guard_from_message,
    guard_to_message,
    host_from_row_message,
    host_to_row_message,
    journey_from_message,
    journey_to_message,
    notice_from_message,
    notice_to_message,
    registration_from_message,
    registration_to_message,
    row_from_message,
    row_to_message,
    row_write_from_message,
    row_write_to_message,
    state_from_message,
    state_to_message,
)
from paglets.wire.mesh import host_from_message, host_to_message
from paglets.wire.times import duration_from_message, duration_to_message, time_from_message, time_to_message

TEXT = st.text(max_size=20)
NUMBERS = st.integers(0, 2**63 - 1)
TIMES = st.floats(0, 4e9)
STATES = st.sampled_from(PagletState)
INTENTS = st.none() | st.builds(Intent, TEXT, TEXT)
GUARDS = st.builds(Guard, TEXT, TEXT, NUMBERS, TEXT, st.booleans())
ROWS = st.builds(
    PagletRow,
    paglet_id=TEXT,
    type=TEXT,
    owner=TEXT,
    state=STATES,
    epoch=NUMBERS,
    intent=INTENTS,
    revision=NUMBERS,
    request_id=TEXT,
    fingerprint=st.binary(max_size=32),
    created_at=st.sampled_from([0.0, 1_700_000_000.1234567]),
    error=TEXT,
)
JOURNEYS = st.builds(
    JourneyRecord,
    transfer_id=TEXT,
    paglet_id=TEXT,
    source=TEXT,
    target=TEXT,
    state=STATES,
    status=st.binary(max_size=32),
)
EVENTS = st.builds(
    RowEvent,
    revision=NUMBERS,
    paglet_id=TEXT,
    type=TEXT,
    owner=TEXT,
    former_owner=TEXT,
    state=STATES,
    epoch=NUMBERS,
    cause=TEXT,
    transfer_id=TEXT,
    target=TEXT,
    error=TEXT,
    happened_at=st.sampled_from([0.0, 1_700_000_000.1234567]),
)
TYPES = st.lists(TEXT, max_size=3).map(tuple)
REGISTRATIONS = st.builds(HostRegistration, name=TEXT, uid=TEXT, address=TEXT, version=TEXT, types=TYPES)
HOSTS = st.builds(
    HostRef,
    name=TEXT,
    address=TEXT,
    online=st.booleans(),
    version=TEXT,
    types=TYPES,
    seen_at=st.sampled_from([0.0, 1_700_000_000.1234567]),
    paglet_count=NUMBERS,
    uid=TEXT,
)


@settings(max_examples=30)
@given(row=ROWS, guard=GUARDS)
def test_rows_guards_and_writes_come_back(row: PagletRow, guard: Guard) -> None:
    """Every field of every value."""
    assert row_from_message(row_to_message(row)) == row
    assert guard_from_message(guard_to_message(guard)) == guard
    write = RowWrite(guard, row, "create")
    assert row_write_from_message(row_write_to_message(write)) == write


@given(record=JOURNEYS)
def test_journeys_come_back(record: JourneyRecord) -> None:
    """Every field of every value."""
    assert journey_from_message(journey_to_message(record)) == record


@given(event=EVENTS, cursor=TEXT, revision=NUMBERS)
def test_events_come_back(event: RowEvent, cursor: str, revision: int) -> None:
    """Every field, alone and in a notice; and a notice without one."""
    assert event_from_message(event_to_message(event)) == event
    for notice in (RowNotice(cursor, revision, event), RowNotice(cursor, revision)):
        assert notice_from_message(notice_to_message(notice)) == notice


@given(registration=REGISTRATIONS, host=HOSTS)
def test_hosts_come_back(registration: HostRegistration, host: HostRef) -> None:
    """Every field of every value, by either service; a uid is for hosts alone."""
    assert registration_from_message(registration_to_message(registration)) == registration
    assert host_from_row_message(host_to_row_message(host)) == host
    assert host_from_message(host_to_message(host)) == replace(host, uid="")


@given(seconds=st.floats(4e7, 4e9))
def test_times_come_back_exactly(seconds: float) -> None:
    """A point in time is the same float after the way over the wire."""
    message = time_to_message(seconds)
    assert message is not None
    assert 0 <= message.nanos < 1_000_000_000
    assert time_from_message(message) == seconds


@given(seconds=st.floats(0, 1e6))
def test_durations_come_back(seconds: float) -> None:
    """A span is the same to the nanosecond."""
    message = duration_to_message(seconds)
    assert 0 <= message.nanos < 1_000_000_000
    assert duration_from_message(message) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize("state", PagletState)
def test_every_state_has_a_number(state: PagletState) -> None:
    """The words here and the numbers there are the same list."""
    number = state_to_message(state)
    assert types_pb2.PagletState.Name(number) == f"PAGLET_STATE_{state.name}"
    assert state_from_message(number, "state") is state
    assert len(types_pb2.PagletState.values()) == len(PagletState) + 1


@pytest.mark.parametrize("number", [0, 99])
def test_state_that_is_none_is_refused(number: int) -> None:
    """UNSPECIFIED and numbers from the future are MALFORMED_REQUEST, in rows and in journeys."""
    row, journey = directory_pb2.PagletRow(paglet_id="cart"), directory_pb2.JourneyRecord(paglet_id="cart")
    # Any number is legal in an open enum; the stubs cannot say so.
    row.ParseFromString(row.SerializeToString() + bytes([5 << 3, number]))
    journey.ParseFromString(journey.SerializeToString() + bytes([5 << 3, number]))
    assert (row.state, journey.state) == (number, number)
    with pytest.raises(InvalidArgumentError) as caught:
        row_from_message(row)
    assert (caught.value.reason, caught.value.field) == ("MALFORMED_REQUEST", "row.state")
    with pytest.raises(InvalidArgumentError) as caught:
        journey_from_message(journey)
    assert (caught.value.reason, caught.value.field) == ("MALFORMED_REQUEST", "journey.state")
