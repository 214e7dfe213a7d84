"""HTTP/2 with prior knowledge, HTTP/1.1 on the one side and HTTP/2 on the other, and requests of one connection to two endpoints."""

import json
import re
from collections import Counter

import pytest

from tests.helpers.pods import Evidence

from .mesh import APPS, GO, PYTHON, Mesh, client, curl, url
from .test_http1 import checksum, pattern

H2 = "--http2-prior-knowledge"
TEN_MIB = 10 << 20
# Who speaks HTTP/2 behind a port declared so, and behind one that is `http`: there the application is spoken to as the caller speaks.
SERVERS = ("node-h2", "go")


def name(server: str) -> str:
    return server.partition("-")[0]


@pytest.mark.parametrize("server", SERVERS)
def test_curl(mesh: Mesh, evidence: Evidence, server: str) -> None:
    answer = curl(mesh.web, H2, url(server, "/hello"))
    assert (answer.status, answer.version, answer.body) == (200, "2", f"hello from {name(server)}\n".encode())
    assert answer.headers["x-spoken"] == ["HTTP/2.0"]
    evidence.carried(mesh.web, mesh.orders, path="/hello")


@pytest.mark.parametrize("server", SERVERS)
def test_no_request_of_two_thousand_fails(mesh: Mesh, evidence: Evidence, server: str) -> None:
    """Four connections with twenty streams each at a time."""
    done = mesh.web.call("h2load", "-c", "4", "-m", "20", "-n", "2000", url(server, "/hello"))
    assert b"2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout
    evidence.carried(mesh.web, mesh.orders, 2000, path="/hello", status=200)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("library", ["go", "node", "httpx"])
def test_forty_streams_of_a_library(mesh: Mesh, evidence: Evidence, library: str, server: str) -> None:
    address, body = url(server, "/hello"), f"hello from {name(server)}\n"
    if library == "go":
        found = json.loads(mesh.web.call(GO, "get", address, "40", "h2").stdout)
        assert [[answer["Status"], answer["Spoken"], answer["Body"]] for answer in found] == [[200, "HTTP/2.0", body]] * 40
    elif library == "node":
        assert client(mesh.web, "node", APPS / "client.js", "h2", address, "40") == [{"status": 200, "body": body}] * 40
    else:
        assert client(mesh.web, PYTHON, APPS / "client.py", "httpx", address, "40", "h2") == [[200, "HTTP/2", body]] * 40
    evidence.carried(mesh.web, mesh.orders, 40, path="/hello")


def test_streams_of_one_connection_go_to_both_endpoints(mesh: Mesh, evidence: Evidence) -> None:
    found = client(mesh.web, "node", APPS / "client.js", "h2", url("node-h2", "/hello", "pair"), "60")
    assert found == [{"status": 200, "body": "hello from node\n"}] * 60
    outbound = evidence.wait_told(mesh.web, 60, direction="outbound", path="/hello")
    counts = Counter(record["upstream"].split()[-1] for record in outbound)
    assert counts.keys() == {f"{pod.address}:8007" for pod in (mesh.orders, mesh.second)}
    assert min(counts.values()) >= 10
    assert {record["security"] for record in outbound} == {"mtls"}
    assert sum(len(evidence.wait_told(pod, 10, path="/hello", security="mtls", peer=mesh.web.identity))
               for pod in (mesh.orders, mesh.second)) == 60


@pytest.mark.parametrize("server", SERVERS)
def test_large_bodies_both_ways(mesh: Mesh, evidence: Evidence, server: str) -> None:
    assert checksum(curl(mesh.web, H2, url(server, f"/bytes?n={TEN_MIB}")).body) == checksum(pattern(TEN_MIB))
    answer = curl(mesh.web, H2, "-H", "Expect:", "--data-binary", "@-", url(server, "/sum"), stdin=pattern(TEN_MIB))
    assert answer.body.decode() == checksum(pattern(TEN_MIB))
    evidence.carried(mesh.web, mesh.orders, path="/bytes")
    evidence.carried(mesh.web, mesh.orders, path="/sum")


@pytest.mark.parametrize("server", SERVERS)
def test_nothing_in_clear(mesh: Mesh, evidence: Evidence, secret: str, server: str) -> None:
    body = (secret * 1000).encode()
    assert curl(mesh.web, H2, "--data-binary", "@-", url(server, "/echo"), stdin=body).body == body
    evidence.carried(mesh.web, mesh.orders, path="/echo")


@pytest.mark.parametrize("server", ["node-h2", "go"])
def test_trailers_both_ways(mesh: Mesh, evidence: Evidence, server: str) -> None:
    found = json.loads(mesh.web.call(GO, "trailers", url(server, "/trailers"), "h2").stdout)
    assert (found["Error"], found["Body"], found["Trailers"]) == ("", "with a trailer", {"X-Checksum": ["seen=abc"]})
    evidence.carried(mesh.web, mesh.orders, path="/trailers")


def test_a_ping_is_acknowledged_and_the_connection_goes_on(mesh: Mesh, evidence: Evidence) -> None:
    found = client(mesh.web, "node", APPS / "client.js", "h2ping", url("node-h2", "/hello"))
    assert found == {"acknowledged": "mesh pin", "status": 200}
    evidence.carried(mesh.web, mesh.orders, path="/hello")


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body(mesh: Mesh, evidence: Evidence, status: int) -> None:
    answer = curl(mesh.web, H2, url("go", f"/status?code={status}"))
    assert (answer.status, answer.body, answer.headers["etag"]) == (status, b"", ['"7"'])
    assert curl(mesh.web, H2, "-I", url("go", "/hello")).headers["content-length"] == ["14"]
    evidence.carried(mesh.web, mesh.orders, path="/status", status=status)


def test_a_refusal_ends_its_stream_and_no_other(mesh: Mesh, evidence: Evidence) -> None:
    found = json.loads(mesh.web.call("node", APPS / "client.js", "h2", url("go", "/hello"), "10", "/forbidden").stdout)
    assert sorted(answer["status"] for answer in found) == [*[200] * 10, 403]
    evidence.carried(mesh.web, mesh.orders, 10, path="/hello")
    ((_, entered),) = evidence.carried(mesh.web, mesh.orders, path="/forbidden")
    assert entered["code"] == "BZ0102"


# -- one version here, the other there


@pytest.mark.parametrize("path", ["/hello", "/bytes?n=100000&framing=chunked", "/close"])
def test_an_http2_client_and_an_application_that_speaks_http1_only(mesh: Mesh, evidence: Evidence, path: str) -> None:
    answer = curl(mesh.web, H2, url("go-h1", path))
    assert (answer.status, answer.version) == (200, "2")
    assert answer.body == {"/hello": b"hello from go\n", "/close": b"up to the end"}.get(path, pattern(100000))
    if path == "/hello":
        assert answer.headers["x-spoken"] == ["HTTP/1.1"]
    evidence.carried(mesh.web, mesh.orders, path=path.partition("?")[0])


def test_streams_to_an_application_that_speaks_http1_only(mesh: Mesh, evidence: Evidence) -> None:
    done = mesh.web.call("h2load", "-c", "2", "-m", "20", "-n", "400", url("go-h1", "/hello"))
    assert re.search(rb"400 total, .* 400 succeeded, 0 failed, 0 errored, 0 timeout", done.stdout)
    evidence.carried(mesh.web, mesh.orders, 400, path="/hello", status=200)


def test_an_http1_client_and_an_application_that_speaks_http2_only(mesh: Mesh, evidence: Evidence) -> None:
    answer = curl(mesh.web, "--http1.1", url("node-h2", "/hello"))
    assert (answer.status, answer.version, answer.body, answer.headers["x-spoken"]) == (200, "1.1", b"hello from node\n", ["HTTP/2.0"])
    body = pattern(300_000)
    for framing in ((), ("-H", "Transfer-Encoding: chunked")):
        answer = curl(mesh.web, "--http1.1", *framing, "-H", "Expect:", "--data-binary", "@-", url("node-h2", "/sum"), stdin=body)
        assert answer.body.decode() == checksum(body)
    evidence.carried(mesh.web, mesh.orders, path="/hello")
    evidence.carried(mesh.web, mesh.orders, 2, path="/sum")


@pytest.mark.parametrize(("library", "server"), [("h1", "node-h2"), ("h2", "go-h1")])
def test_trailers_from_one_version_to_the_other(mesh: Mesh, evidence: Evidence, library: str, server: str) -> None:
    found = json.loads(mesh.web.call(GO, "trailers", url(server, "/trailers"), *(["h2"] if library == "h2" else [])).stdout)
    assert (found["Error"], found["Body"], found["Trailers"]) == ("", "with a trailer", {"X-Checksum": ["seen=abc"]})
    evidence.carried(mesh.web, mesh.orders, path="/trailers")
