"""nginx as the client: it proxies from a private port of web's to servers of orders."""

import pytest

from tests.helpers.pods import Evidence

from .mesh import Mesh, curl
from .test_http1 import checksum, pattern

PROXY = "http://127.0.0.1:9000"


@pytest.mark.parametrize("server", ["go", "node", "nginx"])
def test_requests_through_nginx(mesh: Mesh, evidence: Evidence, server: str) -> None:
    answer = curl(mesh.web, f"{PROXY}/{server}/hello")
    assert (answer.status, answer.body) == (200, f"hello from {server}\n".encode())
    evidence.carried(mesh.web, mesh.orders, path="/hello")


@pytest.mark.parametrize("server", ["go", "node"])
def test_bodies_through_nginx(mesh: Mesh, evidence: Evidence, secret: str, server: str) -> None:
    body = (secret * 20_000).encode()
    answer = curl(mesh.web, "-H", "Transfer-Encoding: chunked", "--data-binary", "@-", f"{PROXY}/{server}/sum", stdin=body)
    assert answer.body.decode() == checksum(body)
    assert curl(mesh.web, f"{PROXY}/{server}/bytes?n=3000000&framing=chunked").body == pattern(3_000_000)
    evidence.carried(mesh.web, mesh.orders, path="/sum")
    evidence.carried(mesh.web, mesh.orders, path="/bytes")


def test_a_refusal_through_nginx(mesh: Mesh, evidence: Evidence) -> None:
    answer = curl(mesh.web, f"{PROXY}/go/forbidden")
    assert (answer.status, answer.headers["x-bartizan-reason"]) == (403, ["BZ0102 identity-not-allowed"])
    evidence.carried(mesh.web, mesh.orders, path="/forbidden")
