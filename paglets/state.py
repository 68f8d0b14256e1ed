"""The state codec: dataclass to bytes and back, strictly. Bytes that do not fit are an error, never a default."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeGuard, TypeVar

import msgspec
from msgspec import inspect as types

from paglets.errors import InvalidArgumentError, PreconditionError

__all__ = ["StateCodec", "Upcaster", "json_text"]

StateT = TypeVar("StateT")
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Turns the fields of version v into those of v + 1; pure."""

_REFUSED = (types.AnyType, types.CustomType, types.ExtType, types.RawType)
_WITH_FIELDS = (types.DataclassType, types.StructType, types.TypedDictType, types.NamedTupleType)
_MARGIN = 64
_ZONED = re.compile(r':[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})"')
_MINUTE = dt.timedelta(minutes=1)


class StateCodec(Generic[StateT]):
    """Encodes one state class with MessagePack, typed and strict.

    Made when a paglet class is defined: raises TypeError for a class that is no dataclass, or has a field whose type
    cannot be read back for certain. `version` is that of the class; `upcasters[v]` turns version v into v + 1.
    """

    def __init__(self, state_class: type[StateT], version: int, upcasters: Mapping[int, Upcaster]) -> None:
        if not dataclasses.is_dataclass(state_class):
            raise TypeError(f"the state class {state_class.__qualname__} must be a dataclass")
        self._kind = types.type_info(state_class)
        self._is_nested = self._has_times = False
        for kind in _walk(self._kind, set()):
            self._is_nested |= any(isinstance(part, _WITH_FIELDS) for part in _parts(kind))
            self._has_times |= isinstance(kind, types.TimeType)
            if isinstance(kind, _REFUSED):
                raise TypeError(f"{state_class.__qualname__} has a field of type {kind}; state fields must be typed")
            if isinstance(kind, types.DictType):
                _refuse_map_keys(state_class, kind)
        self.state_class = state_class
        self.version = version
        self._upcasters = dict(upcasters)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(state_class, strict=True)

    def encode(self, state: StateT) -> bytes:
        """The state's bytes. Raises STATE_INVALID for values that cannot be encoded."""
        try:
            if self._has_times:
                _refuse_odd_offsets(state, dt.time)
            return self._encoder.encode(state)
        except (TypeError, OverflowError, ValueError, RecursionError) as error:
            raise self._invalid(error) from error

    def check(self, data: bytes) -> StateT:
        """Decodes bytes of this version. Raises STATE_INVALID when they do not fit the class."""
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
            raise self._invalid(error) from error

    def prove(self, data: bytes) -> StateT:
        """As `check`, for bytes that are to be kept: what `load` would refuse some day is refused now.

        That is a field of a subclass where its base is declared, and what is nested too deep to be read from deeper in
        the program.
        """
        try:
            state = _from_deeper(self.check, data) if self._is_nested else self.check(data)
        except RecursionError as error:
            raise self._invalid(error) from error
        if self._is_nested and self._encoder.encode(state) != data:
            self._refuse_unknown(msgspec.msgpack.decode(data))
        return state

    def from_json(self, text: str) -> StateT:
        """Decodes a state that a person wrote; unknown and repeated fields are refused. Raises STATE_INVALID."""
        try:
            json.loads(text, object_pairs_hook=_refuse_repeated)
            raw = msgspec.json.decode(text)
            state = msgspec.json.decode(text, type=self.state_class, strict=True)
        except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
            raise self._invalid(error) from error
        self._refuse_unknown(raw)
        return state

    def to_json(self, state: StateT) -> str:
        """A state as `from_json` takes it; bytes are base64. Raises STATE_INVALID for what JSON cannot tell."""
        try:
            return json_text(state)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self._invalid(error) from error

    def load(self, data: bytes, version: int) -> StateT:
        """Decodes stored bytes of any version there is an upcaster for.

        Raises STATE_VERSION_UNSUPPORTED when there is none, STATE_INVALID when the bytes do not fit or hold fields that
        the class does not have.
        """
        self.require_readable(version)
        try:
            raw = msgspec.msgpack.decode(data)
            for step in range(version, self.version):
                raw = self._upcasters[step](raw)
            state = msgspec.convert(raw, self.state_class, strict=True)
        except (msgspec.DecodeError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise self._invalid(error) from error
        self._refuse_unknown(raw)
        return state

    def require_readable(self, version: int) -> None:
        """Raises STATE_VERSION_UNSUPPORTED unless bytes of this version can be loaded."""
        readable = version <= self.version and all(step in self._upcasters for step in range(version, self.version))
        if not readable:
            name = self.state_class.__qualname__
            raise PreconditionError(
                "STATE_VERSION_UNSUPPORTED",
                f"{name} is version {self.version} here and cannot read version {version}",
                metadata={"found": str(version), "supported": str(self.version)},
            )

    def _refuse_unknown(self, raw: object) -> None:
        path = _unknown_path(raw, self._kind)
        if path is not None:
            raise self._invalid(ValueError(f"{path!r} is no field of it"))

    def _invalid(self, error: Exception) -> InvalidArgumentError:
        return InvalidArgumentError(
            "STATE_INVALID", f"the state does not fit {self.state_class.__qualname__}: {error}", field="state"
        )


def json_text(state: object) -> str:
    """A dataclass as JSON. Raises ValueError, TypeError, OverflowError or RecursionError for what JSON cannot tell.

    An infinite number and one that is none are among that: they would come out as null. So is a time whose offset from
    UTC has seconds, which would come out as another one.
    """
    text = msgspec.json.encode(state).decode()
    if "null" in text and not _all_finite(msgspec.to_builtins(state)):
        raise ValueError("a number is infinite, or none")
    if _ZONED.search(text):
        _refuse_odd_offsets(state, dt.datetime, dt.time)
    return text


def _all_finite(value: object) -> bool:
    """Whether JSON has every number that is somewhere in there."""
    if isinstance(value, float):
        return math.isfinite(value)
    if _is_map(value):
        return all(map(_all_finite, value.values()))  # keys are text in JSON
    return not _is_sequence(value) or all(map(_all_finite, value))


def _refuse_odd_offsets(state: object, *among: type[dt.datetime | dt.time]) -> None:
    """Raises ValueError for a time of these types, wherever it is, that text would round to another one."""
    waiting: list[object] = [msgspec.to_builtins(state, builtin_types=among)]
    while waiting:
        value = waiting.pop()
        if _is_map(value):
            waiting += (*value.keys(), *value.values())
        elif _is_sequence(value):
            waiting += value
        elif isinstance(value, dt.datetime | dt.time) and (value.utcoffset() or _MINUTE) % _MINUTE:
            raise ValueError(f"the offset of {value} from UTC has seconds, which text has not: give it in UTC")


def _refuse_map_keys(state_class: type[Any], kind: types.DictType) -> None:
    """A key that is encoded as a map, as a dataclass is, cannot be read without its type."""
    if any(isinstance(part, (*_WITH_FIELDS[:3], types.DictType)) for part in _walk(kind.key_type, set())):
        raise TypeError(f"{state_class.__qualname__} has a dict whose keys hold fields; take a tuple or text instead")


def _refuse_repeated(pairs: list[tuple[str, object]]) -> None:
    """JSON may give a key twice, and which of the two counts is anybody's guess."""
    for key, count in Counter(key for key, _ in pairs).items():
        if count > 1:
            raise ValueError(f"{key!r} is given twice")


def _walk(kind: types.Type, seen: set[int]) -> Iterator[types.Type]:
    """All types that a value of this type may hold, each once."""
    if id(kind) in seen:
        return
    seen.add(id(kind))
    yield kind
    for part in _parts(kind):
        yield from _walk(part, seen)


def _parts(kind: types.Type) -> Iterable[types.Type]:
    """The types that a type is made of."""
    if isinstance(kind, _WITH_FIELDS):
        return [field.type for field in kind.fields]
    if isinstance(kind, types.UnionType):
        return kind.types
    if isinstance(kind, types.DictType):
        return kind.key_type, kind.value_type
    if isinstance(kind, types.TupleType):
        return kind.item_types
    if isinstance(kind, types.CollectionType):
        return (kind.item_type,)
    return ()


def _from_deeper(read: Callable[[bytes], StateT], data: bytes, frames: int = _MARGIN) -> StateT:
    """Reads from deeper in the stack than the caller is: what can be read there can be read elsewhere."""
    return _from_deeper(read, data, frames - 1) if frames else read(data)


def _unknown_path(raw: object, kind: types.Type) -> str | None:
    """Where `raw`, which was read as this type, has a field that the type has not; None when nowhere."""
    waiting = [(raw, kind, "")]
    while waiting:
        holder, declared, path = waiting.pop()
        for key, value, part in _inside(holder, _member(holder, declared)):
            here = f"{path}.{key}" if path else key
            if part is None:
                return here
            if _is_map(value) or _is_array(value):
                waiting.append((value, part, here))
    return None


def _member(raw: object, kind: types.Type) -> types.Type:
    """The member of a union as which a map or an array was read; if there are several, a tag tells which."""
    if not isinstance(kind, types.UnionType):
        return kind
    fitting = [member for member in kind.types if _may_be(raw, member)]
    return next((member for member in fitting if _has_tag_of(raw, member)), fitting[0])


def _may_be(raw: object, kind: types.Type) -> bool:
    """Whether a map or an array has the shape of a type."""
    if _is_map(raw):
        return isinstance(kind, (*_WITH_FIELDS[:3], types.DictType))
    return isinstance(kind, types.StructType | types.NamedTupleType | types.TupleType | types.CollectionType)


def _has_tag_of(raw: object, kind: types.Type) -> bool:
    return _is_map(raw) and isinstance(kind, types.StructType) and raw.get(kind.tag_field) == kind.tag


def _inside(raw: object, kind: types.Type) -> Iterator[tuple[str, object, types.Type | None]]:
    """What a map or an array holds: key, value, and the value's type, None for a field that the type has not.

    Only the fields of a class have names to be wrong; the keys of a dict are values like any other.
    """
    if _is_map(raw):
        if isinstance(kind, types.DictType):
            yield from ((str(key), value, kind.value_type) for key, value in raw.items())
        elif isinstance(kind, _WITH_FIELDS):
            known = {field.encode_name: field.type for field in kind.fields}
            tag = kind.tag_field if isinstance(kind, types.StructType) else None
            yield from ((str(key), value, known.get(key)) for key, value in raw.items() if key != tag)
    elif _is_array(raw):
        if isinstance(kind, types.CollectionType):
            yield from ((str(index), item, kind.item_type) for index, item in enumerate(raw))
        else:
            parts = zip(raw, _parts(kind), strict=False)
            yield from ((str(index), item, part) for index, (item, part) in enumerate(parts))


def _is_map(raw: object) -> TypeGuard[dict[Any, object]]:
    return isinstance(raw, dict)


def _is_sequence(raw: object) -> TypeGuard[Sequence[object]]:
    return isinstance(raw, list | tuple)


def _is_array(raw: object) -> TypeGuard[list[object]]:
    return isinstance(raw, list)
