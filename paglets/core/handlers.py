"""Which method answers which rpc: found and checked when a paglet class is defined, never at a call."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from types import NoneType, SimpleNamespace
from typing import Any, TypeVar

from google.protobuf.descriptor import ServiceDescriptor

from paglets.operations import ServiceContract, ServiceOperation, near_name, snake_case

__all__ = ["Handler", "bind_handlers", "operation"]

MethodT = TypeVar("MethodT", bound=Callable[..., Any])
_STREAMS = (AsyncIterator, AsyncIterable, AsyncGenerator)
_MARK = "__paglets_operation__"


def operation(full_name: str) -> Callable[[MethodT], MethodT]:
    """Says which rpc a method answers, e.g. `@operation("pkg.Service/Method")`, where its name alone does not."""

    def mark(method: MethodT) -> MethodT:
        setattr(method, _MARK, full_name)
        return method

    return mark


@dataclass(frozen=True, slots=True)
class Handler:
    """One operation and the method that answers it: of the paglet itself, or of its pattern object number `pattern`."""

    operation: ServiceOperation
    attribute: str
    pattern: int | None = None


def bind_handlers(
    owner: type, services: Iterable[ServiceDescriptor], pattern: int | None = None, reserved: Container[str] = ()
) -> dict[str, Handler]:
    """The handlers of a class by rpc path. Raises TypeError naming the method and the signature it should have.

    `reserved` names belong to the framework: an rpc that is called like one is answered by a marked method.
    """
    operations = [found for service in services for found in ServiceContract(service).operations]
    marked = _marked_methods(owner, {found.full_name for found in operations})
    taken: dict[str, str] = {}
    bound: dict[str, Handler] = {}
    for found in operations:
        attribute = marked.get(found.full_name) or snake_case(found.descriptor.name)
        if attribute in reserved:
            raise TypeError(
                f"{owner.__qualname__}.{attribute} is the framework's own and cannot answer {found.full_name}:"
                f' name the method otherwise and mark it @operation("{found.full_name}")'
            )
        if attribute in taken:
            raise TypeError(
                f"{owner.__qualname__}.{attribute} would answer both {taken[attribute]} and {found.full_name}:"
                f' name one method otherwise and mark it @operation("{found.full_name}")'
            )
        taken[attribute] = found.full_name
        method = getattr(owner, attribute, None)
        _check(owner, attribute, method, found, reserved)
        bound[found.path] = Handler(found, attribute, pattern)
    return bound


def _marked_methods(owner: type, known: set[str]) -> dict[str, str]:
    """Methods that `@operation` marks, by the full name of their rpc."""
    found: dict[str, str] = {}
    for attribute in dir(owner):
        full_name: str | None = getattr(getattr(owner, attribute, None), _MARK, None)
        if full_name is None:
            continue
        if full_name not in known:
            raise TypeError(
                f"{owner.__qualname__}.{attribute} is marked for {full_name}, which is in none of its services"
            )
        if full_name in found:
            both = f"{owner.__qualname__}.{found[full_name]} and {attribute}"
            raise TypeError(f"{both} are both marked for {full_name}: one method answers an rpc")
        found[full_name] = attribute
    return found


def _check(owner: type, attribute: str, method: object, found: ServiceOperation, reserved: Container[str]) -> None:
    request, reply = found.request_class, found.reply_class
    takes_stream, gives_stream = found.descriptor.client_streaming, found.descriptor.server_streaming
    takes = f"requests: AsyncIterator[{request.__name__}]" if takes_stream else f"request: {request.__name__}"
    gives = f"AsyncIterator[{reply.__name__}]" if gives_stream else reply.__name__
    how = "def" if found.is_unary else "async def"
    where = f"{owner.__qualname__} must answer {found.full_name} by `{how} {attribute}(self, {takes}) -> {gives}`"
    if not inspect.isfunction(method):
        own = (name for name in dir(owner) if inspect.isfunction(getattr(owner, name, None)) and name not in reserved)
        raise TypeError(f"{where}; it has no such method{near_name(attribute, own)}")
    if found.is_unary and (inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method)):
        raise TypeError(f"{where}; it has a `yield`, and there is one reply")
    if gives_stream and not inspect.isasyncgenfunction(method):
        raise TypeError(f"{where}, an async generator, which has a `yield`; it is none")
    if takes_stream and not gives_stream and not inspect.iscoroutinefunction(method):
        raise TypeError(f"{where}; it is no coroutine function")
    parameters = list(inspect.signature(method).parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(parameters) != 2 or any(parameter.kind not in positional for parameter in parameters):
        raise TypeError(f"{where}; its parameters are {inspect.signature(method)}")
    hints = _hints(method)
    for name, wanted, streams in ((parameters[1].name, request, takes_stream), ("return", reply, gives_stream)):
        is_nothing = name == "return" and not streams and hints.get(name) is NoneType and not wanted.DESCRIPTOR.fields
        if name in hints and not is_nothing and not _fits(hints[name], wanted, streams=streams):
            raise TypeError(f"{where}; it says {hints[name]!r} for {name}")


def _fits(hint: object, wanted: type, *, streams: bool) -> bool:
    """Whether an annotation says the message, or a stream of it; one that could not be read has to name the message."""
    if isinstance(hint, str):
        return re.search(rf"\b{wanted.__name__}\b", hint) is not None
    if not streams:
        return hint is wanted
    return typing.get_origin(hint) in _STREAMS and typing.get_args(hint)[:1] == (wanted,)


def _hints(method: Callable[..., Any]) -> Mapping[str, Any]:
    """The method's annotations. One that names what does not exist, or is only there for type checkers, is a text."""
    scope: dict[str, Any] = getattr(inspect.unwrap(method), "__globals__", {})
    try:
        said = inspect.get_annotations(method)
    except NameError:  # from Python 3.14 on, and only as a whole
        return {}
    return {name: _hint(annotation, scope) for name, annotation in said.items()}


def _hint(annotation: object, scope: dict[str, Any]) -> object:
    """One annotation, read by itself so that another one's mistake does not hide it."""
    alone = SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(alone, globalns=scope)["it"]
    except (NameError, AttributeError, SyntaxError):
        return str(annotation)
