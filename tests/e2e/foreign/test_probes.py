"""Probes of servers that others wrote, as the kubelet asks them: in plaintext, without an identity, at the health port of a strict pod."""

import subprocess

import pytest

from sidecar.model.config import HOOK_HEADER
from sidecar.model.ports import HEALTH
from tests.helpers.pods import MeshedPod

from .mesh import ADDRESSES, HOOK, HOOK_OF_NONE, PORTS, WORD, Answer, Mesh, curl

SAID = ("--header", f"{HOOK_HEADER}: {WORD}")
EMPTY_REPLY = 52    # of curl


def url(pod: MeshedPod, path: str) -> str:
    return f"http://{ADDRESSES[pod.name]}:{HEALTH}{path}"


def ask(mesh: Mesh, pod: MeshedPod, path: str, *arguments: str) -> Answer:
    return curl(mesh.legacy, *arguments, url(pod, path))


@pytest.mark.parametrize("name", ["go", "node", "aiohttp", "nginx", "uvicorn", "go-h1", "redis", "app-tls", "grpc", "grpc-serving"])
def test_what_is_well(mesh: Mesh, name: str) -> None:
    assert ask(mesh, mesh.orders, f"/app-health/{name}/livez").status == 200


def test_a_server_of_http10_is_well(mesh: Mesh) -> None:
    assert ask(mesh, mesh.archive, "/app-health/http10/livez").status == 200


@pytest.mark.parametrize(("name", "status", "why"), [
    ("absent", 404, b""), ("broken", 500, b""),
    ("dead", 503, b"Connection refused"), ("dead-http", 503, b"Connection refused"), ("tls-of-none", 503, b"TLS handshake failed"),
    ("grpc-ill", 503, b"the service is NOT_SERVING"), ("grpc-unknown", 503, b"gRPC status 5 unknown service"),
    ("grpc-hangs", 503, b"timed out waiting for the application"),
    ("grpc-of-none", 503, b""), ("grpc-of-http1", 503, b""),
])
def test_what_is_not(mesh: Mesh, name: str, status: int, why: bytes) -> None:
    answer = ask(mesh, mesh.orders, f"/app-health/{name}/livez")
    assert answer.status == status
    assert why in answer.body


def test_asked_as_before_the_same_server_refuses(mesh: Mesh) -> None:
    """Which is why they moved."""
    assert curl(mesh.legacy, f"http://{ADDRESSES['orders']}:{PORTS['go'][0]}/hello").status == 403


def test_a_hook_wants_its_word(mesh: Mesh) -> None:
    assert ask(mesh, mesh.orders, HOOK).status == 404
    assert ask(mesh, mesh.orders, HOOK, *SAID).status == 503


def test_a_hook_that_fails_is_not_answered(mesh: Mesh) -> None:
    """For whatever the answer is, to the kubelet the hook is done."""
    done = subprocess.run(mesh.legacy.argv("curl", "-sS", *SAID, url(mesh.orders, HOOK_OF_NONE)), capture_output=True)
    assert (done.returncode, done.stdout) == (EMPTY_REPLY, b"")
