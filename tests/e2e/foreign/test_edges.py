"""Where the mesh ends: callers without a sidecar, and hosts outside."""

import pytest

from tests.helpers.netns import Wire
from tests.helpers.pods import Evidence

from .mesh import APPROVED, APPS, HTTP10_PORT, MISNAMED, OUTSIDE, PORTS, PYTHON, UNAPPROVED, Mesh, client, curl, host, url

# -- who has no sidecar


def test_plaintext_is_refused_where_the_mode_is_strict(mesh: Mesh, evidence: Evidence) -> None:
    answer = curl(mesh.legacy, f"http://{mesh.orders.address}:{PORTS['go'][0]}/hello")
    assert (answer.status, answer.headers["x-bartizan-reason"]) == (403, ["BZ0103 plaintext-refused"])
    (record,) = evidence.wait_told(mesh.orders, direction="inbound")
    assert (record["security"], record["code"], record["source"]) == ("plaintext", "BZ0103", mesh.legacy.address)


@pytest.mark.parametrize("port", ["redis", "postgres", "app-tls"])
def test_strict_mode_refuses_other_protocols_too(mesh: Mesh, evidence: Evidence, port: str) -> None:
    done = mesh.legacy.run_app("socat", "-t", "10", "-", f"TCP:{mesh.orders.address}:{PORTS[port][0]}", stdin=b"PING\r\n")
    assert done.stdout == b""
    (record,) = evidence.wait_told(mesh.orders, direction="inbound")
    assert (record["security"], record["code"]) == ("plaintext", "BZ0103")


def test_plaintext_is_let_in_and_written_down_where_the_mode_is_permissive(mesh: Mesh, evidence: Evidence) -> None:
    """The one thing that does travel in clear here; it also shows that these tests would see it."""
    wire = Wire(mesh.node, "archive")
    try:
        answer = curl(mesh.legacy, f"http://{mesh.archive.address}:{HTTP10_PORT}/hello")
        seen = wire.seen()
    finally:
        wire.close()
    assert (answer.status, answer.body) == (200, b"hello from http10\n")
    assert [packet for packet in seen if b"hello from http10" in packet]
    (record,) = evidence.wait_told(mesh.archive, direction="inbound", path="/hello")
    assert (record["security"], record.get("peer"), record["source"]) == ("plaintext", None, mesh.legacy.address)


def test_http2_in_plaintext_where_the_mode_is_permissive(mesh: Mesh, evidence: Evidence) -> None:
    answer = curl(mesh.legacy, "--http2-prior-knowledge", f"http://{mesh.archive.address}:{HTTP10_PORT}/hello")
    assert (answer.status, answer.version, answer.body) == (200, "2", b"hello from http10\n")
    (record,) = evidence.wait_told(mesh.archive, direction="inbound", path="/hello")
    assert record["security"] == "plaintext"


@pytest.mark.parametrize(("case", "answer"), [
    ("unary", "hello"), ("download", [200, 2_000_000]), ("chat", [f"{i} from archive" for i in range(20)]),
])
def test_grpc_in_plaintext(mesh: Mesh, evidence: Evidence, case: str, answer: object) -> None:
    assert client(mesh.legacy, PYTHON, APPS / "grpc_client.py", f"{mesh.archive.address}:{PORTS['grpc'][0]}", case) == answer
    (record,) = evidence.wait_told(mesh.archive, direction="inbound", status=200)
    assert (record["security"], record["path"].partition("/foreign.Test/")[0]) == ("plaintext", "")


def test_websocket_in_plaintext(mesh: Mesh, evidence: Evidence) -> None:
    found = client(mesh.legacy, PYTHON, APPS / "client.py", "websockets", f"ws://{mesh.archive.address}:{PORTS['websockets'][0]}/ws")
    assert found == {"text": "hello", "pieces": "in three pieces", "same": True, "code": 1000}
    evidence.wait_told(mesh.archive, direction="inbound", status=101, security="plaintext")


def test_bytes_in_plaintext(mesh: Mesh, evidence: Evidence) -> None:
    redis = ("redis-cli", "-h", mesh.archive.address, "-p", str(PORTS["redis"][0]))
    large = "0123456789abcdef" * 60_000
    assert mesh.legacy.call(*redis, "-x", "SET", "large", stdin=large.encode()).stdout == b"OK\n"
    assert mesh.legacy.call(*redis, "GET", "large").stdout.decode() == large + "\n"
    evidence.wait_told(mesh.archive, 2, direction="inbound", port=PORTS["redis"][0], security="plaintext", rule="all")


def test_a_server_that_speaks_first_in_plaintext(mesh: Mesh, evidence: Evidence) -> None:
    """socat sends only once it was greeted."""
    greeted = f"TCP:{mesh.archive.address}:{PORTS['banner'][0]}"
    done = mesh.legacy.call("socat", "-t", "30", "SYSTEM:read line; echo EHLO; echo $line >&2; cat >&2", greeted)
    assert done.stderr == b"220 ready\n250 EHLO\n"
    evidence.wait_told(mesh.archive, direction="inbound", port=PORTS["banner"][0], security="plaintext")


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_tls_of_the_applications_own_where_plaintext_may_enter(mesh: Mesh, evidence: Evidence, version: str) -> None:
    roots = mesh.legacy.app_folder / "roots.pem"
    roots.write_text(mesh.outside_root.chain_pem)
    port = PORTS["app-tls"][0]
    answer = curl(mesh.legacy, version, "--cacert", roots, "--resolve", f"{host('orders')}:{port}:{mesh.archive.address}",
                  url("app-tls", "/", scheme="https"))
    assert (answer.body, answer.headers["x-server-name"]) == (b"the app's own TLS\n", [host("orders")])
    evidence.wait_told(mesh.archive, direction="inbound", port=port, security="plaintext")


# -- hosts outside


@pytest.mark.parametrize(("version", "spoken"), [("--http1.1", "HTTP/1.1"), ("--http2-prior-knowledge", "HTTP/2.0")])
def test_plain_http_to_an_approved_host_becomes_verified_tls(mesh: Mesh, evidence: Evidence, secret: str, version: str,
                                                             spoken: str) -> None:
    """In the version that the application speaks, where the host offers it by ALPN."""
    answer = curl(mesh.web, version, "--data-binary", "@-", f"http://{APPROVED}/", stdin=(secret * 100).encode())
    assert (answer.status, answer.body, answer.headers["x-server-name"]) == (200, b"hello from outside\n", [APPROVED])
    assert answer.headers["x-spoken"] == [spoken]
    (record,) = evidence.wait_told(mesh.web, direction="outbound", host=APPROVED)
    assert (record["security"], record["rule"], record["tls"]) == ("tls", f"partners/{APPROVED}", "TLSv1.3")


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_the_applications_own_tls_to_an_approved_host_passes_through(mesh: Mesh, evidence: Evidence, version: str) -> None:
    roots = mesh.web.app_folder / "roots.pem"
    roots.write_text(mesh.outside_root.chain_pem)
    answer = curl(mesh.web, version, "--cacert", roots, f"https://{APPROVED}/")
    assert (answer.body, answer.version) == (b"hello from outside\n", {"--http1.1": "1.1", "--http2": "2"}[version])
    (record,) = evidence.wait_told(mesh.web, direction="outbound", host=APPROVED)
    assert (record["security"], record["rule"]) == ("passthrough", f"partners/{APPROVED}")


def test_a_certificate_for_another_name_gets_no_request(mesh: Mesh, evidence: Evidence) -> None:
    answer = curl(mesh.web, f"http://{MISNAMED}/")
    assert (answer.status, answer.headers["x-bartizan-reason"]) == (503, ["BZ0206 server-not-verified"])
    evidence.wait_told(mesh.web, direction="outbound", host=MISNAMED, code="BZ0206")


def test_an_unapproved_host_has_no_address_and_is_refused_by_name_and_by_sni(mesh: Mesh, evidence: Evidence) -> None:
    done = mesh.web.run_app("curl", "-sS", f"http://{UNAPPROVED}/")
    assert (done.returncode, b"Could not resolve host" in done.stderr) == (6, True)
    answer = curl(mesh.web, "--resolve", f"{UNAPPROVED}:80:{OUTSIDE}", f"http://{UNAPPROVED}/")
    assert (answer.status, answer.headers["x-bartizan-reason"]) == (403, ["BZ0201 host-not-approved"])
    done = mesh.web.run_app("curl", "-sSk", "--resolve", f"{UNAPPROVED}:443:{OUTSIDE}", f"https://{UNAPPROVED}/")
    assert done.returncode == 35
    evidence.wait_told(mesh.web, 2, direction="outbound", code="BZ0201")
