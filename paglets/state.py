"""The state codec: dataclass to bytes and back, strictly. Bytes that do not fit are an error, never a default."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import inspect as types

from paglets.errors import InvalidArgumentError, PreconditionError

__all__ = ["StateCodec", "Upcaster"]

StateT = TypeVar("StateT")
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Turns the fields of version v into those of v + 1; pure."""

_REFUSED = (types.AnyType, types.CustomType, types.ExtType, types.RawType)


class StateCodec(Generic[StateT]):
    """Encodes one state class with MessagePack, typed and strict.

    Made when a paglet class is defined: raises TypeError for a class that is no dataclass, or has a field whose type
    cannot be read back for certain. `version` is that of the class; `upcasters[v]` turns version v into v + 1.
    """

    def __init__(self, state_class: type[StateT], version: int, upcasters: Mapping[int, Upcaster]) -> None:
        if not dataclasses.is_dataclass(state_class):
            raise TypeError(f"the state class {state_class.__qualname__} must be a dataclass")
        for kind in _walk(types.type_info(state_class), set()):
            if isinstance(kind, _REFUSED):
                raise TypeError(f"{state_class.__qualname__} has a field of type {kind}; state fields must be typed")
        self.state_class = state_class
        self.version = version
        self._upcasters = dict(upcasters)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(state_class, strict=True)

    def encode(self, state: StateT) -> bytes:
        """The state's bytes. Raises STATE_INVALID for values that cannot be encoded."""
        try:
            return self._encoder.encode(state)
        except (TypeError, OverflowError, ValueError, RecursionError) as error:
            raise self._invalid(error) from error

    def check(self, data: bytes) -> StateT:
        """Decodes bytes of this version. Raises STATE_INVALID when they do not fit the class."""
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            raise self._invalid(error) from error

    def from_json(self, text: str) -> StateT:
        """Decodes a state that a person wrote; unknown and repeated fields are refused. Raises STATE_INVALID."""
        try:
            json.loads(text, object_pairs_hook=_refuse_repeated)
            raw = msgspec.json.decode(text)
            state = msgspec.json.decode(text, type=self.state_class, strict=True)
        except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
            raise self._invalid(error) from error
        self._refuse_unknown(raw, msgspec.to_builtins(state, str_keys=True))
        return state

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
        self._refuse_unknown(raw, msgspec.to_builtins(state, builtin_types=(bytes, bytearray)))
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

    def _refuse_unknown(self, raw: object, known: object) -> None:
        path = _unknown_path(raw, known, "")
        if path is not None:
            raise self._invalid(ValueError(f"{path!r} is no field of it"))

    def _invalid(self, error: Exception) -> InvalidArgumentError:
        return InvalidArgumentError(
            "STATE_INVALID", f"the state does not fit {self.state_class.__qualname__}: {error}", field="state"
        )


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
    if isinstance(kind, (types.DataclassType, types.StructType, types.TypedDictType, types.NamedTupleType)):
        parts = [field.type for field in kind.fields]
    elif isinstance(kind, types.UnionType):
        parts = list(kind.types)
    elif isinstance(kind, types.DictType):
        parts = [kind.key_type, kind.value_type]
    elif isinstance(kind, types.TupleType):
        parts = list(kind.item_types)
    elif isinstance(kind, types.CollectionType):
        parts = [kind.item_type]
    else:
        parts = []
    for part in parts:
        yield from _walk(part, seen)


def _unknown_path(raw: object, known: object, path: str) -> str | None:
    """Where `raw` has a key that `known` has not; None when nowhere."""
    mine, theirs = _items(raw), _items(known)
    for key, value in mine.items():
        here = f"{path}.{key}" if path else str(key)
        if key not in theirs:
            return here
        found = _unknown_path(value, theirs[key], here)
        if found is not None:
            return found
    return None


def _items(value: object) -> dict[Any, object]:
    """What a mapping or a sequence holds, by key or index; nothing for any other value."""
    try:
        return msgspec.convert(value, dict[Any, object])
    except msgspec.ValidationError:
        pass
    try:
        return dict(enumerate(msgspec.convert(value, list[object])))
    except msgspec.ValidationError:
        return {}
