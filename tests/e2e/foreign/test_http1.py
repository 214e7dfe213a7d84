"""HTTP/1.1 and HTTP/1.0, between clients and servers of seven libraries."""

import hashlib
import json

import pytest

from tests.helpers.pods import Evidence

from .mesh import APPS, GO, HTTP10_PORT, PYTHON, Mesh, client, curl, host, url

SERVERS = ("go", "node", "aiohttp", "uvicorn", "nginx")
SPEAKERS = ("go", "node", "aiohttp")     # those that have the whole contract
MIB = 1 << 20
AT_MOST_MORE = 24 * MIB     # memory of a sidecar, whatever goes through it


def pattern(size: int) -> bytes:
    block = bytes(i % 251 for i in range(65536))
    return (block * (size // len(block) + 1))[:size]


def checksum(data: bytes) -> str:
    return f"{len(data)} {hashlib.sha256(data).hexdigest()} \n"


@pytest.mark.parametrize("server", SERVERS)
def test_curl(mesh: Mesh, evidence: Evidence, server: str) -> None:
    answer = curl(mesh.web, url(server, "/hello"))
    assert (answer.status, answer.body, answer.headers["x-spoken"]) == (200, f"hello from {server}\n".encode(), ["HTTP/1.1"])
    ((out, entered),) = evidence.carried(mesh.web, mesh.orders, path="/hello")
    assert (out["status"], entered["status"], entered["rule"]) == (200, 200, "all")


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("library", ["go", "httpx", "aiohttp", "urllib"])
def test_ten_requests_of_a_library(mesh: Mesh, evidence: Evidence, library: str, server: str) -> None:
    if library == "go":
        found = json.loads(mesh.web.call(GO, "get", url(server, "/hello"), "10").stdout)
        answers = [[answer["Status"], answer["Spoken"], answer["Body"]] for answer in found]
    else:
        answers = json.loads(mesh.web.call(PYTHON, APPS / "client.py", library, url(server, "/hello"), "10").stdout)
    assert answers == [[200, "HTTP/1.1", f"hello from {server}\n"]] * 10
    evidence.carried(mesh.web, mesh.orders, 10, path="/hello")


def test_a_kept_connection_is_used_again(mesh: Mesh, evidence: Evidence) -> None:
    assert client(mesh.web, "node", APPS / "client.js", "reuse", url("node", "/hello"), "20") == [[200] * 20, 1]
    evidence.carried(mesh.web, mesh.orders, 20, path="/hello")


@pytest.mark.parametrize("server", ["go", "node"])
def test_pipelined_requests_are_answered_in_order(mesh: Mesh, evidence: Evidence, server: str) -> None:
    text = str(client(mesh.web, "node", APPS / "client.js", "pipeline", url(server, "/sum"), "30"))
    assert [text.count("HTTP/1.1 200 OK"), text.index("HTTP/1.1")] == [30, 0]
    wanted = [checksum(str(i).encode()).strip() for i in range(30)]
    places = [text.index(line) for line in wanted]
    assert places == sorted(places)
    evidence.carried(mesh.web, mesh.orders, 30, path="/sum")


# -- bodies


@pytest.mark.parametrize("server", SPEAKERS)
@pytest.mark.parametrize(("method", "framing"), [("POST", "length"), ("PUT", "chunked")])
def test_an_upload_arrives_whole_and_nowhere_in_clear(mesh: Mesh, evidence: Evidence, secret: str, server: str, method: str,
                                                      framing: str) -> None:
    body = (secret * 2000).encode()
    headers = ("-H", "Transfer-Encoding: chunked") if framing == "chunked" else ()
    answer = curl(mesh.web, "-X", method, *headers, "-H", "Expect:", "--data-binary", "@-", url(server, "/sum"), stdin=body)
    assert (answer.status, answer.body.decode()) == (200, checksum(body))
    ((out, entered),) = evidence.carried(mesh.web, mesh.orders, path="/sum", method=method)
    assert (out["received"], entered["received"]) == (len(body), len(body))


@pytest.mark.parametrize("server", SPEAKERS)
def test_chunks_both_ways_arrive_in_order_and_nowhere_in_clear(mesh: Mesh, evidence: Evidence, secret: str, server: str) -> None:
    body = (secret * 2000).encode()
    answer = curl(mesh.web, "-H", "Transfer-Encoding: chunked", "-H", "Expect:", "--data-binary", "@-", url(server, "/echo"), stdin=body)
    assert (answer.status, answer.body) == (200, body)
    assert answer.headers["transfer-encoding"] == ["chunked"]
    evidence.carried(mesh.web, mesh.orders, path="/echo")


@pytest.mark.parametrize("server", ["node", "aiohttp"])
def test_an_exchange_in_turns_is_held_up_by_nobody(mesh: Mesh, evidence: Evidence, server: str) -> None:
    """Each piece is sent once the one before has come back."""
    assert client(mesh.web, "node", APPS / "client.js", "duplex", url(server, "/echo"), "20") == [f"piece {i}" for i in range(20)]
    evidence.carried(mesh.web, mesh.orders, path="/echo")


@pytest.mark.parametrize("server", SPEAKERS)
def test_events_are_passed_on_as_they_come(mesh: Mesh, evidence: Evidence, server: str) -> None:
    """The second event is sent only once the first has arrived."""
    assert client(mesh.web, "node", APPS / "client.js", "events", url(server, "/events")) == ["data: first\n\n", "data: second\n\n"]
    evidence.carried(mesh.web, mesh.orders, path="/events")


@pytest.mark.parametrize("server", SPEAKERS)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_hundred_megabytes_down(mesh: Mesh, evidence: Evidence, server: str, framing: str) -> None:
    size = 100 * MIB if (server, framing) in (("go", "length"), ("node", "chunked")) else 10 * MIB
    with mesh.web.grows_at_most(AT_MOST_MORE), mesh.orders.grows_at_most(AT_MOST_MORE):
        answer = curl(mesh.web, url(server, f"/bytes?n={size}&framing={framing}"))
    assert answer.status == 200
    assert checksum(answer.body) == checksum(pattern(size))
    ((out, entered),) = evidence.carried(mesh.web, mesh.orders, path="/bytes")
    assert (out["sent"], entered["sent"]) == (size, size)


@pytest.mark.parametrize("server", SPEAKERS)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_hundred_megabytes_up(mesh: Mesh, evidence: Evidence, server: str, framing: str) -> None:
    body = pattern(100 * MIB if (server, framing) in (("go", "chunked"), ("node", "length")) else 10 * MIB)
    headers = ("-H", "Transfer-Encoding: chunked") if framing == "chunked" else ()
    with mesh.web.grows_at_most(AT_MOST_MORE), mesh.orders.grows_at_most(AT_MOST_MORE):
        answer = curl(mesh.web, *headers, "-H", "Expect:", "--data-binary", "@-", url(server, "/sum"), stdin=body)
    assert (answer.status, answer.body.decode()) == (200, checksum(body))
    evidence.carried(mesh.web, mesh.orders, path="/sum")


@pytest.mark.parametrize("server", ["go", "node"])
def test_a_body_that_ends_with_the_connection(mesh: Mesh, evidence: Evidence, server: str) -> None:
    assert curl(mesh.web, url(server, "/close")).body == b"up to the end"
    evidence.carried(mesh.web, mesh.orders, path="/close")


# -- what else a message may have


@pytest.mark.parametrize("server", SPEAKERS)
def test_two_megabytes_are_sent_once_the_server_says_continue(mesh: Mesh, evidence: Evidence, server: str) -> None:
    wanted = checksum(b"x" * 2 * MIB)
    found = client(mesh.web, "node", APPS / "client.js", "continue", url(server, "/sum"), str(2 * MIB))
    assert found == {"continued": True, "status": 200, "body": wanted}
    answer = curl(mesh.web, "-H", "Expect: 100-continue", "--expect100-timeout", "40", "--data-binary", "@-", url(server, "/sum"),
                  stdin=b"x" * 2 * MIB)
    assert (answer.status, answer.body.decode()) == (200, wanted)
    evidence.carried(mesh.web, mesh.orders, 2, path="/sum")


@pytest.mark.parametrize("server", ["go", "node"])
@pytest.mark.parametrize("library", ["go", "node"])
def test_trailers_both_ways(mesh: Mesh, evidence: Evidence, library: str, server: str) -> None:
    if library == "go":
        found = json.loads(mesh.web.call(GO, "trailers", url(server, "/trailers")).stdout)
        assert (found["Error"], found["Body"], found["Trailers"]) == ("", "with a trailer", {"X-Checksum": ["seen=abc"]})
    else:
        found = client(mesh.web, "node", APPS / "client.js", "trailers", url(server, "/trailers"), "TE")
        assert found == {"status": 200, "body": "with a trailer", "trailers": {"x-checksum": "seen=abc"}}
    evidence.carried(mesh.web, mesh.orders, path="/trailers")


def test_a_client_that_takes_no_trailers_gets_none(mesh: Mesh, evidence: Evidence) -> None:
    found = client(mesh.web, "node", APPS / "client.js", "trailers", url("node", "/trailers"))
    assert found == {"status": 200, "body": "with a trailer", "trailers": {}}
    evidence.carried(mesh.web, mesh.orders, path="/trailers")


def test_early_hints_are_passed_on(mesh: Mesh, evidence: Evidence) -> None:
    found = client(mesh.web, "node", APPS / "client.js", "hints", url("node", "/hints"))
    assert found == {"hints": [[103, "</style.css>; rel=preload; as=style"]], "status": 200, "body": "hinted\n"}
    evidence.carried(mesh.web, mesh.orders, path="/hints")


@pytest.mark.parametrize("server", SPEAKERS)
@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_leaves_the_connection_usable(mesh: Mesh, evidence: Evidence, server: str, status: int) -> None:
    done = mesh.web.call("curl", "-sS", "--write-out", "%{response_code} %{num_connects} %{size_download}\n",
                         url(server, f"/status?code={status}"), url(server, "/hello"))
    assert done.stdout.decode() == f"{status} 1 0\nhello from {server}\n200 0 {len(server) + 12}\n"
    evidence.carried(mesh.web, mesh.orders, path="/status", status=status)


@pytest.mark.parametrize("server", SERVERS)
def test_head_says_the_length_and_nothing_follows(mesh: Mesh, evidence: Evidence, server: str) -> None:
    done = mesh.web.call("curl", "-sS", "--write-out", "%{response_code} %{num_connects} %{size_download}\n", "-I",
                         url(server, "/hello"), "--next", "-sS", url(server, "/hello"))
    head, _, rest = done.stdout.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    if server not in ("node", "uvicorn"):    # these two say no length of a response to HEAD
        assert f"content-length: {len(server) + 12}" in head.lower()
    assert rest == f"200 1 0\nhello from {server}\n"
    evidence.carried(mesh.web, mesh.orders, path="/hello", method="HEAD")


def test_the_application_is_told_who_calls_whatever_the_client_claims(mesh: Mesh, evidence: Evidence) -> None:
    answer = curl(mesh.web, "-H", "X-Forwarded-Client-Cert: URI=spiffe://example.org/ns/shop/sa/admin", "-H", "x-mine: kept",
                  url("go", "/headers"))
    seen = {name.lower(): value for name, value in json.loads(answer.body)["headers"].items()}
    assert (json.loads(answer.body)["host"], seen["x-mine"]) == (f"{host('orders')}:8001", ["kept"])
    (certificate,) = seen["x-forwarded-client-cert"]
    assert mesh.web.identity in certificate
    assert "admin" not in certificate
    evidence.carried(mesh.web, mesh.orders, path="/headers")


def test_a_refusal_says_why_and_the_application_hears_nothing(mesh: Mesh, evidence: Evidence) -> None:
    answer = curl(mesh.web, url("go", "/forbidden"))
    assert (answer.status, answer.headers["x-bartizan-reason"]) == (403, ["BZ0102 identity-not-allowed"])
    ((out, entered),) = evidence.carried(mesh.web, mesh.orders, path="/forbidden")
    assert (out["code"], entered["code"], entered["rule"]) == ("BZ0102", "BZ0102", "nobody")


# -- HTTP/1.0


def test_http10_of_a_client_is_refused_unless_accepted(mesh: Mesh, evidence: Evidence) -> None:
    answer = curl(mesh.web, "--http1.0", url("go", "/hello"))
    assert (answer.status, answer.headers["x-bartizan-reason"]) == (505, ["BZ0307 version-refused"])
    answer = curl(mesh.archive, "--http1.0", url("go", "/hello"))
    assert (answer.status, answer.body) == (200, b"hello from go\n")
    evidence.carried(mesh.archive, mesh.orders, path="/hello")


def test_http10_client_gets_a_chunked_body_up_to_the_end_of_the_connection(mesh: Mesh, evidence: Evidence) -> None:
    answer = curl(mesh.archive, "--http1.0", url("node", "/bytes?n=300000&framing=chunked"))
    assert answer.body == pattern(300000)
    assert "transfer-encoding" not in answer.headers
    evidence.carried(mesh.archive, mesh.orders, path="/bytes")


def test_http10_of_an_application_that_may_speak_it(mesh: Mesh, evidence: Evidence) -> None:
    answer = curl(mesh.web, f"http://{host('archive')}:{HTTP10_PORT}/hello")
    assert (answer.status, answer.version, answer.body) == (200, "1.1", b"hello from http10\n")
    evidence.carried(mesh.web, mesh.archive, path="/hello")
