"""The state codec: what is written is read back as it was, and whatever does not fit is refused, never mended."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field, make_dataclass
from enum import StrEnum
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from paglets.errors import InvalidArgumentError, PreconditionError
from paglets.state import StateCodec


class Colour(StrEnum):
    """Something to choose."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Stamp:
    """Something inside."""

    at: dt.datetime
    by: str = ""


@dataclass
class Album:
    """A state with a field of each kind."""

    title: str = ""
    count: int = 0
    share: float = 0.0
    is_open: bool = False
    cover: bytes = b""
    colour: Colour = Colour.RED
    stamp: Stamp | None = None
    tags: list[str] = field(default_factory=list[str])
    pages: dict[int, tuple[int, str]] = field(default_factory=dict[int, tuple[int, str]])
    seen: set[str] = field(default_factory=set[str])


@dataclass
class Rates:
    """Numbers deep inside."""

    all: list[tuple[str, dict[int, float | None]]] = field(default_factory=list[tuple[str, dict[int, float | None]]])


@dataclass
class Left:
    """One of two."""

    value: int = 0


@dataclass
class Right:
    """The other."""

    value: int = 0


CODEC = StateCodec(Album, 1, {})

STAMPS = st.builds(Stamp, st.datetimes(timezones=st.just(dt.UTC)), st.text(max_size=5))
ALBUMS = st.builds(
    Album,
    title=st.text(max_size=20),
    count=st.integers(-(2**63), 2**64 - 1),
    share=st.floats(allow_nan=False),
    is_open=st.booleans(),
    cover=st.binary(max_size=20),
    colour=st.sampled_from(Colour),
    stamp=st.none() | STAMPS,
    tags=st.lists(st.text(max_size=5), max_size=3),
    pages=st.dictionaries(st.integers(0, 9), st.tuples(st.integers(0, 9), st.text(max_size=3)), max_size=3),
    seen=st.sets(st.text(max_size=3), max_size=3),
)


def refused(album: dict[str, Any]) -> str:
    """What is said of these fields, by every way in."""
    data = msgspec.msgpack.encode(album)
    with pytest.raises(InvalidArgumentError) as loaded:
        CODEC.load(data, 1)
    with pytest.raises(InvalidArgumentError) as read:
        CODEC.from_json(msgspec.json.encode(album).decode())
    assert {loaded.value.reason, read.value.reason} == {"STATE_INVALID"}
    assert {loaded.value.field, read.value.field} == {"state"}
    assert loaded.value.message == read.value.message
    return loaded.value.message


@given(ALBUMS)
def test_round_trip(album: Album) -> None:
    """What was encoded is decoded as it was, by every way in."""
    data = CODEC.encode(album)
    assert CODEC.check(data) == album
    assert CODEC.load(data, 1) == album


@given(ALBUMS)
def test_json_round_trip(album: Album) -> None:
    """What a person is shown can be given back; JSON has no word for infinity."""
    assume(math.isfinite(album.share))
    assert CODEC.from_json(CODEC.to_json(album)) == album


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_number_that_json_has_not_is_refused(number: float) -> None:
    """It would come out as null, and be another state, or none, when it is given back."""
    for state in (Album(share=number), Rates([("a", {1: number})])):
        codec = StateCodec(type(state), 1, {})
        with pytest.raises(InvalidArgumentError) as caught:
            codec.to_json(state)
        assert caught.value.reason == "STATE_INVALID"
    assert StateCodec(Rates, 1, {}).to_json(Rates([("null", {1: None})])) == '{"all":[["null",{"1":null}]]}'


OFFSETS = st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)) | st.integers(-90, 90).map(
    lambda minutes: dt.timedelta(minutes=minutes)
)
MOMENTS = st.builds(dt.datetime, st.just(2026), st.just(1), st.just(2), tzinfo=OFFSETS.map(dt.timezone))
TIMES = st.builds(dt.time, st.integers(0, 23), tzinfo=OFFSETS.map(dt.timezone) | st.none())


@dataclass
class Hours:
    """Times deep inside."""

    at: list[dt.datetime] = field(default_factory=list[dt.datetime])
    open: dict[dt.time, set[dt.time]] = field(default_factory=dict[dt.time, set[dt.time]])


@given(st.builds(Hours, st.lists(MOMENTS, max_size=2), st.dictionaries(TIMES, st.sets(TIMES, max_size=2), max_size=2)))
def test_time_comes_back_or_is_refused(hours: Hours) -> None:
    """An offset from UTC has minutes in text, as old zones have not: such a time would come out as another one."""
    codec = StateCodec(Hours, 1, {})
    for there, back in ((codec.to_json, codec.from_json), (codec.encode, codec.prove)):
        try:
            told = there(hours)
        except InvalidArgumentError as refused:
            assert "give it in UTC" in refused.message  # noqa: PT017 - most are not refused
        else:
            assert back(told) == hours  # pyright: ignore[reportArgumentType] - each reads what its other half wrote


def test_time_of_whole_minutes_is_told() -> None:
    """Whatever its offset; one in text is no time."""
    zone = dt.timezone(dt.timedelta(hours=-3, minutes=-30))
    hours = Hours([dt.datetime(2026, 1, 2, tzinfo=zone)], {dt.time(1, tzinfo=zone): {dt.time(2)}})
    codec = StateCodec(Hours, 1, {})
    assert (codec.from_json(codec.to_json(hours)), codec.prove(codec.encode(hours))) == (hours, hours)
    assert "00:20:32" in CODEC.to_json(Album(title="at 01:00:00+00:20:32"))


@given(
    st.dictionaries(st.text(max_size=5) | st.sampled_from(["count", "title"]), st.integers(0, 9) | st.text(max_size=3))
)
def test_anything_else_is_refused_or_read(fields: dict[str, Any]) -> None:
    """Any other JSON is an album or STATE_INVALID, and nothing worse."""
    try:
        album = CODEC.from_json(msgspec.json.encode(fields).decode())
    except InvalidArgumentError:
        return
    assert {name: getattr(album, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"count": "5"}, "Expected `int`, got `str` - at `$.count`"),
        ({"count": 3.9}, "Expected `int`, got `float`"),
        ({"count": True}, "Expected `int`, got `bool`"),
        ({"is_open": "false"}, "Expected `bool`, got `str`"),
        ({"is_open": 1}, "Expected `bool`, got `int`"),
        ({"title": 5}, "Expected `str`, got `int`"),
        ({"title": None}, "Expected `str`, got `null`"),
        ({"colour": "green"}, "Invalid enum value 'green'"),
        ({"tags": "abc"}, "Expected `array`, got `str`"),
        ({"stamp": {"by": "x"}}, "missing required field `at`"),
        ({"stamp": {"at": "yesterday"}}, "Invalid RFC3339 encoded datetime"),
    ],
)
def test_nothing_is_converted(fields: dict[str, Any], said: str) -> None:
    """A value of another type is refused, however near, with the place where it is."""
    assert said in refused(fields)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"titel": "x"}, "'titel'"),
        ({"": 1}, "''"),
        ({"stamp": {"at": "2026-01-02T03:04:05Z", "who": "me"}}, "'stamp.who'"),
    ],
)
def test_unknown_field_is_refused(fields: dict[str, Any], where: str) -> None:
    """A field that the class does not have is an error that names it, however deep it lies."""
    assert f"{where} is no field of it" in refused(fields)


@dataclass(frozen=True)
class Page:
    """Something that a set may hold."""

    text: str = ""
    by: tuple[str, ...] | None = None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (set[tuple[str, ...]], {("a",), ("b", "c"), ("d", "e", "f")}),
        (frozenset[Page], frozenset({Page("a"), Page("b", ("x",)), Page("c", ("x", "y"))})),
        (
            dict[dt.datetime, int],
            {dt.datetime(2026, 1, 2, tzinfo=dt.UTC): 1, dt.datetime(2026, 1, 3, tzinfo=dt.UTC): 2},
        ),
        (dict[tuple[int, str], Page], {(1, "a"): Page("x")}),
        (dict[Colour, list[Page | None]], {Colour.BLUE: [Page("x"), None]}),
        (dict[str, dict[int, list[set[tuple[int, ...]]]]], {"a": {1: [{(1,), (2, 3), (4, 5, 6)}]}}),
        (Page | int | None, Page("x")),
    ],
)
def test_what_a_turn_may_keep_is_loaded(kind: Any, value: object) -> None:  # noqa: ANN401 - a type, as authors write it
    """What is accepted after a turn is read back after a restart, in whatever order a set was written."""
    holder = make_dataclass("Holder", [("value", kind)])
    codec: StateCodec[Any] = StateCodec(holder, 1, {})
    data = codec.encode(holder(value))
    assert codec.check(data) == codec.load(data, 1) == holder(value)


@pytest.mark.parametrize("kind", [dict[Page, int], dict[tuple[Page, ...], int], dict[frozenset[Page], str]], ids=str)
def test_keys_that_cannot_be_read_back_are_refused(kind: Any) -> None:  # noqa: ANN401 - a type, as authors write it
    """A dict whose keys are classes is refused when the class is defined, not when its host is started again."""
    with pytest.raises(TypeError, match="keys hold fields"):
        StateCodec(make_dataclass("Holder", [("value", kind)]), 1, {})


def test_unknown_field_inside_a_set_is_refused() -> None:
    """What the class does not have is found wherever it lies."""
    holder = make_dataclass("Holder", [("value", set[Page])])
    data = msgspec.msgpack.encode({"value": [{"text": "a"}, {"text": "b", "who": "me"}]})
    with pytest.raises(InvalidArgumentError, match=r"'value\.1\.who' is no field of it"):
        StateCodec(holder, 1, {}).load(data, 1)


@pytest.mark.parametrize("count", [2**64, -(2**63) - 1])
def test_65_bits_are_refused(count: int) -> None:
    """A number that 64 bits cannot hold is refused when it is written, and when a person writes it."""
    with pytest.raises(InvalidArgumentError, match="does not fit Album") as error:
        CODEC.encode(Album(count=count))
    assert error.value.reason == "STATE_INVALID"
    with pytest.raises(InvalidArgumentError, match="does not fit Album"):
        CODEC.encode(CODEC.from_json(f'{{"count": {count}}}'))


def test_value_that_its_field_cannot_hold() -> None:
    """A turn may put anything into a field; what cannot be read back is found before it is kept."""
    data = CODEC.encode(Album(count="5"))  # pyright: ignore[reportArgumentType] - the mistake that is tested
    with pytest.raises(InvalidArgumentError, match="Expected `int`, got `str`"):
        CODEC.check(data)
    with pytest.raises(InvalidArgumentError, match="does not fit Album"):
        CODEC.encode(Album(title="\udc80"))


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xc1", CODEC.encode(Album())[:-1], CODEC.encode(Album()) + b"\x00"])
def test_bytes_that_are_no_state(data: bytes) -> None:
    """Torn or foreign bytes are an error, never a default."""
    with pytest.raises(InvalidArgumentError) as checked:
        CODEC.check(data)
    with pytest.raises(InvalidArgumentError) as loaded:
        CODEC.load(data, 1)
    assert {checked.value.reason, loaded.value.reason} == {"STATE_INVALID"}


def test_class_that_cannot_be_read_back_is_refused() -> None:
    """A state class is refused when its codec is made: no dataclass, an untyped field, a union of two dataclasses."""
    with pytest.raises(TypeError, match="int must be a dataclass"):
        StateCodec(int, 1, {})

    @dataclass
    class Untyped:
        """Could hold anything."""

        inner: list[Any]

    @dataclass
    class Undecided:
        """Could hold either."""

        either: Left | Right

    @dataclass
    class Foreign:
        """Holds what the codec does not know."""

        inner: dict[str, StateCodec[Left]]

    with pytest.raises(TypeError, match="Untyped has a field of type"):
        StateCodec(Untyped, 1, {})
    with pytest.raises(TypeError, match="more than one dataclass"):
        StateCodec(Undecided, 1, {})
    with pytest.raises(TypeError, match="Foreign has a field of type"):
        StateCodec(Foreign, 1, {})


def test_upcasters_lead_to_the_present() -> None:
    """Bytes of an earlier version are led up one version at a time, then held to the class like any others."""

    def counted(fields: dict[str, Any]) -> dict[str, Any]:
        return {"values": fields["value"]}

    def doubled(fields: dict[str, Any]) -> dict[str, Any]:
        return {"value": fields["values"] * 2}

    codec = StateCodec(Left, 3, {1: counted, 2: doubled})
    assert codec.load(msgspec.msgpack.encode({"value": 21}), 1) == Left(42)
    assert codec.load(msgspec.msgpack.encode({"values": 21}), 2) == Left(42)
    assert codec.load(msgspec.msgpack.encode({"value": 21}), 3) == Left(21)
    with pytest.raises(InvalidArgumentError, match="'values' is no field of it"):
        codec.load(msgspec.msgpack.encode({"values": 21}), 3)


@pytest.mark.parametrize("data", [{"other": 1}, ["value"], 7])
def test_upcaster_that_cannot_cope(data: object) -> None:
    """Bytes that an upcaster trips over are bytes that do not fit, like any others."""

    def renamed(fields: dict[str, Any]) -> dict[str, Any]:
        return {"value": fields.copy().pop("count")}

    with pytest.raises(InvalidArgumentError) as error:
        StateCodec(Left, 2, {1: renamed}).load(msgspec.msgpack.encode(data), 1)
    assert error.value.reason == "STATE_INVALID"


@pytest.mark.parametrize("version", [0, 1, 4])
def test_version_without_a_way_up_is_refused(version: int) -> None:
    """A version that is newer, or that no upcaster starts from, is told apart from bytes that are broken."""
    codec = StateCodec(Left, 3, {2: dict})
    with pytest.raises(PreconditionError, match=f"Left is version 3 here and cannot read version {version}") as error:
        codec.load(codec.encode(Left(1)), version)
    assert error.value.reason == "STATE_VERSION_UNSUPPORTED"
    assert error.value.metadata == {"found": str(version), "supported": "3"}
    codec.require_readable(2)


@dataclass
class Cover:
    """A class that somebody derives from."""

    title: str = ""


@dataclass
class Gilded(Cover):
    """Has a field more than what its base's fields are declared to hold."""

    carats: int = 0


@dataclass
class Link:
    """As deep as somebody makes it."""

    following: Link | None = None


@pytest.mark.parametrize(("kind", "value"), [(Cover, Gilded()), (list[Cover], [Cover("a"), Gilded("b")])], ids=str)
def test_field_of_a_subclass_is_refused_before_it_is_kept(kind: Any, value: object) -> None:  # noqa: ANN401 - a type
    """What the declared type has not would be lost at once, and its bytes be refused after a restart."""
    holder = make_dataclass("Holder", [("value", kind)])
    codec: StateCodec[Any] = StateCodec(holder, 1, {})
    with pytest.raises(InvalidArgumentError, match=r"value.*\.carats' is no field of it"):
        codec.prove(codec.encode(holder(value)))


def test_whatever_is_proven_is_loaded_however_deep() -> None:
    """A chain is kept if it can be read back, also from deeper in the program, and refused if it cannot."""
    codec, loaded = StateCodec(Link, 1, {}), 0
    for depth in range(50, 1500, 50):
        data = msgspec.msgpack.encode(_maps(depth))
        try:
            codec.prove(data)
        except InvalidArgumentError:
            break
        codec.load(data, 1)
        loaded = depth
    assert loaded >= 400


def _maps(depth: int) -> dict[str, object]:
    """A chain as it is encoded."""
    found: dict[str, object] = {"following": None}
    for _ in range(depth):
        found = {"following": found}
    return found
