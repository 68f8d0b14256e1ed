"""Which method answers which rpc is settled when a class is defined, and a mistake is named there and then."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import FunctionType

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from paglet.examples.counter.v1 import counter_pb2
from paglet.v1 import fanout_pb2, task_pb2
from paglets.core.handlers import bind_handlers, operation
from paglets.core.paglet import Paglet, PatternService

COUNTER = counter_pb2.DESCRIPTOR.services_by_name["CounterService"]
TASK = task_pb2.DESCRIPTOR.services_by_name["TaskService"]
EXPECTED_ADD = r"CounterService/Add by `def add\(self, request: AddRequest\) -> AddResponse`"


class Right:
    """Handlers as they should be."""

    def add(self, request: counter_pb2.AddRequest) -> counter_pb2.AddResponse:
        """For a thread."""
        return counter_pb2.AddResponse()

    async def get(self, request: counter_pb2.GetRequest) -> counter_pb2.GetResponse:
        """For the event loop."""
        return counter_pb2.GetResponse()

    def any_message(self, request: object) -> object:
        """For whatever comes."""
        return request

    def many_messages(self, request: object) -> Iterator[object]:
        """One after the other."""
        yield request


class Wrong:
    """Handlers of AddRequest as they should not be."""

    def no_request(self) -> counter_pb2.AddResponse:
        """Takes nothing."""
        return counter_pb2.AddResponse()

    def two_requests(self, request: counter_pb2.AddRequest, more: int) -> counter_pb2.AddResponse:
        """Takes too much."""
        return counter_pb2.AddResponse()

    def keyword_only(self, *, request: counter_pb2.AddRequest) -> counter_pb2.AddResponse:
        """Takes it in another way."""
        return counter_pb2.AddResponse()

    def foreign_request(self, request: counter_pb2.GetRequest) -> counter_pb2.AddResponse:
        """Takes another message."""
        return counter_pb2.AddResponse()

    def foreign_reply(self, request: counter_pb2.AddRequest) -> counter_pb2.GetResponse:
        """Answers with another message."""
        return counter_pb2.GetResponse()

    @property
    def no_function(self) -> counter_pb2.AddResponse:
        """Cannot be called."""
        return counter_pb2.AddResponse()


add, get = Right.add, Right.get


def defined(methods: Mapping[str, object], *services: ServiceDescriptor) -> type[Paglet[object]]:
    """A paglet class called Broken with these methods and services."""
    return type("Broken", (Paglet,), {"Services": services or (COUNTER,), **methods})


def test_methods_are_found_by_name() -> None:
    """Each rpc is answered by the method of its name in snake_case, in the order of the proto."""
    handlers = defined({"add": add, "get": get}).handlers
    assert [(path, handler.attribute) for path, handler in handlers.items()] == [
        ("/paglet.examples.counter.v1.CounterService/Add", "add"),
        ("/paglet.examples.counter.v1.CounterService/Get", "get"),
    ]
    assert [handler.operation.is_read_only for handler in handlers.values()] == [False, True]


def test_unannotated_handler_is_trusted() -> None:
    """A handler that says nothing of its types is taken at its name."""
    assert defined({"add": _untyped(Right.any_message), "get": get}).handlers


def test_missing_handler_is_refused() -> None:
    """An rpc without a method is a TypeError that tells the method to write."""
    with pytest.raises(TypeError, match=rf"Broken must answer .*{EXPECTED_ADD}; it has no such method"):
        defined({"get": get})


@pytest.mark.parametrize("misspelt", ["Add", "ad", "addd"])
def test_misspelt_handler_is_refused(misspelt: str) -> None:
    """A method that nearly has the name is as good as none, but it is named."""
    with pytest.raises(TypeError, match=rf"{EXPECTED_ADD}; it has no such method; did you mean {misspelt}\?"):
        defined({misspelt: add, "get": get})


def test_nothing_is_answered_where_there_is_nothing_to_tell() -> None:
    """A method says that it returns nothing if its reply has no fields, and may not otherwise."""

    def report(self: object, request: fanout_pb2.FanoutServiceReportRequest) -> None:
        """Tells nothing."""

    def add_nothing(self: object, request: counter_pb2.AddRequest) -> None:
        """Owes a sum."""

    assert defined({"report": report}, fanout_pb2.DESCRIPTOR.services_by_name["FanoutService"]).handlers
    with pytest.raises(TypeError, match=r"it says .*NoneType.* for return"):
        defined({"add": add_nothing, "get": get})


def test_framework_is_never_meant() -> None:
    """A missing method is not taken for one that every paglet has."""
    with pytest.raises(TypeError, match=r"by `def turns\(.*; it has no such method$"):
        defined({}, _service("Turns"))


@pytest.mark.parametrize(
    ("method", "found"),
    [
        ("no_request", "its parameters are"),
        ("two_requests", "its parameters are .*more"),
        ("keyword_only", "its parameters are"),
        ("foreign_request", "it says .*GetRequest.* for request"),
        ("foreign_reply", "it says .*GetResponse.* for return"),
        ("no_function", "it has no such method"),
    ],
)
def test_mistyped_handler_is_refused(method: str, found: str) -> None:
    """A method of another signature is refused with the one it should have and the one it has."""
    with pytest.raises(TypeError, match=f"{EXPECTED_ADD}; {found}"):
        defined({"add": vars(Wrong)[method], "get": get})


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"request": "counter_pb2.AddReqest"}, "it says 'counter_pb2.AddReqest' for request"),
        ({"request": "AddReqest"}, "it says 'AddReqest' for request"),
        ({"request": "AddRequest", "return": "counter_pb2.GetResponse"}, "it says .*GetResponse.* for return"),
    ],
)
def test_annotation_of_what_is_not_there_is_refused(said: dict[str, str], found: str) -> None:
    """A misspelt message is refused as another one is, and hides no other mistake."""
    with pytest.raises(TypeError, match=f"{EXPECTED_ADD}; {found}"):
        defined({"add": _untyped(Right.any_message, said), "get": get})


def test_annotation_for_type_checkers_alone_is_taken_at_its_name() -> None:
    """A message that is imported for type checkers only is the message of its name."""
    said = {"request": "AddRequest", "return": "later.AddResponse"}
    assert defined({"add": _untyped(Right.any_message, said), "get": get}).handlers


def test_generator_for_one_reply_is_refused() -> None:
    """A handler of a unary rpc that would never run its body is refused, though it says nothing of its types."""
    with pytest.raises(TypeError, match=f"{EXPECTED_ADD}; it has a `yield`"):
        defined({"add": _untyped(Right.many_messages), "get": get})


def test_two_marks_for_one_rpc_are_refused() -> None:
    """Of two methods that are marked for an rpc neither is chosen in silence."""
    marks = operation("paglet.examples.counter.v1.CounterService/Add")
    methods = {name: marks(_untyped(Right.any_message)) for name in ("more", "plus")}
    with pytest.raises(TypeError, match=r"Broken\.more and plus are both marked for .*CounterService/Add"):
        defined({**methods, "get": get})


def test_colliding_names_are_refused() -> None:
    """Two rpcs of one name need two methods; the message says how to tell them apart."""
    both = "paglet.examples.counter.v1.CounterService/Get and paglet.v1.TaskService/Get"
    hint = 'name one method otherwise and mark it @operation("paglet.v1.TaskService/Get")'
    methods = {"add": add, "get": get, "start": _untyped(Right.any_message)}
    with pytest.raises(TypeError, match=re.escape(f"Broken.get would answer both {both}: {hint}")):
        defined(methods, COUNTER, TASK)


def test_mark_resolves_a_collision() -> None:
    """A marked method answers the rpc it is marked for, whatever its name."""
    more = operation("paglet.examples.counter.v1.CounterService/Add")(_untyped(Right.any_message))
    handlers = defined({"more": more, "get": get}).handlers
    assert handlers["/paglet.examples.counter.v1.CounterService/Add"].attribute == "more"


def test_mark_for_an_unknown_rpc_is_refused() -> None:
    """A mark that names no rpc of the class's services is a slip."""
    marked = operation("paglet.examples.counter.v1.CounterService/Sub")(_untyped(Right.any_message))
    with pytest.raises(TypeError, match=r"Broken\.sub is marked for .*CounterService/Sub, which is in none"):
        defined({"add": add, "get": get, "sub": marked})


def test_names_of_the_framework_are_refused() -> None:
    """An rpc called like one of Paglet's own methods does not take it over; a marked method answers it."""
    service = _service("Dispatch")
    with pytest.raises(
        TypeError, match=r"Broken\.dispatch is the framework's own .*@operation\(\"odd\.Odd/Dispatch\"\)"
    ):
        defined({"dispatch": _untyped(Right.any_message)}, service)
    marked = operation("odd.Odd/Dispatch")(_untyped(Right.any_message))
    assert defined({"send": marked}, service).handlers["/odd.Odd/Dispatch"].attribute == "send"


def test_service_of_a_pattern_cannot_be_named_again() -> None:
    """A service that a pattern brings along is not one of the class's own."""

    class Counting(PatternService[Paglet[object]]):
        """Brings CounterService."""

        Service = COUNTER
        add = add
        get = get

    with pytest.raises(TypeError, match=r"Broken names .*CounterService, which .*Counting answers already"):
        type("Broken", (Paglet,), {"Services": (COUNTER,), "Patterns": (Counting,), "add": add, "get": get})


def test_pattern_is_checked_as_well() -> None:
    """A pattern that misses a method of its service is refused by its own name."""

    class Half:
        """Has no add."""

        get = get

    with pytest.raises(TypeError, match=f"Half must answer .*{EXPECTED_ADD}"):
        bind_handlers(Half, (COUNTER,), 0)


def _untyped(function: FunctionType, said: Mapping[str, str] | None = None) -> FunctionType:
    """A copy that says nothing of its types, or what it is told to say."""
    copy = FunctionType(function.__code__, function.__globals__, function.__name__)
    copy.__annotations__ = dict(said or {})
    return copy


def _service(rpc: str) -> ServiceDescriptor:
    """A service `odd.Odd` of one rpc."""
    file = descriptor_pb2.FileDescriptorProto(name="odd.proto", package="odd", syntax="proto3")
    file.message_type.add(name="Nothing")
    file.service.add(name="Odd").method.add(name=rpc, input_type=".odd.Nothing", output_type=".odd.Nothing")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName("odd.Odd")
