"""Operations and contracts are what a proto says, and whoever has the proto can ask for nothing else."""

from __future__ import annotations

import grpc
import pytest

from paglet.examples.counter.v1 import counter_pb2, counter_pb2_grpc
from paglets.discovery import ServiceRecord
from paglets.errors import InvalidArgumentError, OperationNotFoundError
from paglets.operations import ServiceContract, contract_of, query_of, resident_id
from tests.discovery.conftest import KEEPERS, Mesh, add, until_found
from tests.discovery.keepers import COUNTER, Counting


def test_svc_1_operation_is_a_view_of_its_rpc() -> None:
    """Name, path, message classes, arity and whether it only reads: all of it is in the proto."""
    add_, get = ServiceContract(COUNTER).operations
    assert (add_.full_name, add_.path) == (f"{COUNTER.full_name}/Add", f"/{COUNTER.full_name}/Add")
    assert (add_.request_class, add_.reply_class) == (counter_pb2.AddRequest, counter_pb2.AddResponse)
    assert (add_.is_unary, add_.is_read_only, get.is_read_only) == (True, False, True)


def test_svc_2_contract_is_one_service_with_its_version() -> None:
    """The version is the package's; a record of the same service has the same one, and the same operations."""
    contract = contract_of(COUNTER)
    record = ServiceRecord(service=contract.name, paglet_id="x", operations=("Add", "Get"))
    assert contract_of(contract) is contract
    assert contract.version == record.version == "v1"
    assert query_of(contract).takes(record, "anywhere")
    assert ServiceRecord(service="unversioned.Service", paglet_id="x", operations=("Do",)).version == ""


def test_svc_2_operations_are_rpcs_are_stub_methods_are_handlers() -> None:
    """Nothing is written down twice, so nothing can differ."""
    names = [found.descriptor.name for found in ServiceContract(COUNTER).operations]
    stub = [name for name in vars(counter_pb2_grpc.CounterServiceServicer) if not name.startswith("_")]
    assert names == [method.name for method in COUNTER.methods] == stub
    assert list(Counting.handlers) == [found.path for found in ServiceContract(COUNTER).operations]


async def test_svc_3_unknown_operation_is_named(mesh: Mesh) -> None:
    """A paglet that is asked for what its class does not have says what that is."""
    await mesh.alpha.client.create(f"{KEEPERS}.Counting", paglet_id="plain")
    path = f"/{COUNTER.full_name}/Sub"
    rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = mesh.beta.client.channel.unary_unary(path)
    with pytest.raises(grpc.aio.AioRpcError, match="has no operation") as caught:
        await rpc(b"", metadata=(("paglet-id", "plain"),))
    assert f"{COUNTER.full_name}/Sub" in str(caught.value)
    with pytest.raises(OperationNotFoundError):
        await mesh.beta.client.post("plain", f"{COUNTER.full_name}/Sub", counter_pb2.AddRequest())


async def test_svc_4_found_service_is_called_by_its_own_stub(mesh: Mesh) -> None:
    """What is found is called, and posted to, by the contract; what that does not have is refused before any call."""
    await mesh.alpha.client.create(f"{KEEPERS}.Keeper", paglet_id="keeper")
    await until_found(mesh.beta.client, "keeper")
    proxy = await mesh.beta.client.services.require(COUNTER)
    assert await add(proxy, 2) == 2
    await proxy.post(f"{COUNTER.full_name}/Add", counter_pb2.AddRequest(amount=3))
    with pytest.raises(AttributeError):
        getattr(proxy.stub(counter_pb2_grpc.CounterServiceStub), "Sub")  # noqa: B009 - it is no name that types know
    with pytest.raises(InvalidArgumentError, match="no operation 'Sub'") as caught:
        query_of(COUNTER, operation="Sub")
    assert caught.value.reason == "CONTRACT_VIOLATED"


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("paglet.v1.UserInfoService", "service.paglet.v1.user-info-service"),
        ("Plain", "service.plain"),
        ("acme_shop.v1.CartAPI", "service.acme_shop.v1.cart-api"),
    ],
)
def test_svc_8_default_id_is_made_of_the_name(service: str, expected: str) -> None:
    """A resident service has the same id on all hosts that declare it, in the alphabet of ids."""
    assert resident_id(service) == expected
