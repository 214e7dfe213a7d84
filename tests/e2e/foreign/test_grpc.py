"""gRPC, client and server of grpcio."""

import json
from typing import Any

import pytest

from tests.helpers.pods import Evidence

from .mesh import APPS, PORTS, PYTHON, Mesh, client, host


def grpc(mesh: Mesh, case: str, service: str = "orders") -> Any:
    return client(mesh.web, PYTHON, APPS / "grpc_client.py", f"{host(service)}:{PORTS['grpc'][0]}", case)


@pytest.mark.parametrize(("case", "method", "answer"), [
    ("unary", "Unary", "hello"),
    ("large", "Unary", True),
    ("download", "Download", [200, 2_000_000]),
    ("upload", "Upload", "200 2000000"),
    ("chat", "Chat", [f"{i} from orders" for i in range(20)]),
])
def test_every_kind_of_call(mesh: Mesh, evidence: Evidence, case: str, method: str, answer: object) -> None:
    assert grpc(mesh, case) == answer
    evidence.carried(mesh.web, mesh.orders, path=f"/foreign.Test/{method}", status=200)


def test_fifty_calls_at_a_time_on_one_connection(mesh: Mesh, evidence: Evidence) -> None:
    assert grpc(mesh, "many") == list(range(50))
    evidence.carried(mesh.web, mesh.orders, 50, path="/foreign.Test/Unary")


def test_calls_of_one_connection_go_to_both_endpoints(mesh: Mesh, evidence: Evidence) -> None:
    assert grpc(mesh, "many", "pair") == list(range(50))
    for pod in (mesh.orders, mesh.second):
        evidence.wait_told(pod, 10, path="/foreign.Test/Unary", security="mtls", peer=mesh.web.identity)


def test_a_deadline_ends_the_call_on_both_sides(mesh: Mesh, evidence: Evidence) -> None:
    failed, was_cancelled = grpc(mesh, "deadline")
    assert (failed["code"], was_cancelled) == ("DEADLINE_EXCEEDED", "True")
    evidence.carried(mesh.web, mesh.orders, path="/foreign.Test/Wait")


def test_a_cancellation_reaches_the_server_and_ends_no_other_call(mesh: Mesh, evidence: Evidence) -> None:
    assert grpc(mesh, "cancel") == ["x", "CANCELLED", "True"]
    evidence.carried(mesh.web, mesh.orders, path="/foreign.Test/Wait")
    evidence.carried(mesh.web, mesh.orders, path="/foreign.Test/Cancelled")


@pytest.mark.parametrize(("case", "code", "details"), [
    ("refuse", "FAILED_PRECONDITION", "not now: 100 % übel"), ("missing", "UNIMPLEMENTED", "Method not found!"),
])
def test_an_error_in_trailers_only_is_the_servers_own(mesh: Mesh, case: str, code: str, details: str) -> None:
    failed = grpc(mesh, case)
    assert (failed["code"], failed["details"]) == (code, details)
    assert "x-bartizan-reason" not in failed["metadata"]


def test_a_refusal_is_a_grpc_status_with_its_reason(mesh: Mesh, evidence: Evidence) -> None:
    failed = grpc(mesh, "forbidden")
    assert (failed["code"], failed["metadata"]["x-bartizan-reason"]) == ("PERMISSION_DENIED", "BZ0102 identity-not-allowed")
    ((out, entered),) = evidence.carried(mesh.web, mesh.orders, path="/foreign.Test/Forbidden")
    assert (out["code"], entered["code"]) == ("BZ0102", "BZ0102")


def test_metadata_before_and_behind_and_none_that_is_forged(mesh: Mesh) -> None:
    found = grpc(mesh, "metadata")
    assert (found["before"], found["behind"]) == ("1", "00ff")
    assert ["x-said", "hello"] in found["received"]
    said = json.dumps(found["received"])
    assert mesh.web.identity in said
    assert "sa/admin" not in said
