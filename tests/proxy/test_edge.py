"""What comes in from outside: clients with TLS and without before the real recipe, a pod's real sidecar behind it."""

import hashlib
import json
import socket

import h2.events
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.edge import Access, ApiKey, ApiKeys, ClaimHeader, ClientCertificates, EdgeRoute, External, TlsHost
from sidecar.model.errors import NotVerified
from sidecar.model.message import NO_BODY, Body, BodyKind, Headers, RequestHead
from sidecar.model.network import Block, Isolation, NetworkRule, PortRange
from sidecar.model.reason import Reason
from sidecar.model.route import (
    Caller,
    DirectResponse,
    Fault,
    HeaderEdit,
    HeaderMatch,
    Match,
    PathMatch,
    RateLimit,
    Redirect,
    Rewrite,
    Route,
)
from sidecar.model.service import Backend, Balancing, CallRule, Endpoint, Limits, Mirror, Retries, Service
from sidecar.model.snapshot import Inbound
from sidecar.net.http2_client import Http2Client
from sidecar.net.listener import Tally
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_edge import INTERNAL_ERROR, UNRECOGNIZED_NAME
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.rules import Rules
from sidecar.proxy.edge import GRACE_S, HANDSHAKE_S, TAKE_S
from sidecar.proxy.http import REQUEST_HEAD_S
from tests.helpers import pki
from tests.helpers.edge import (
    ASKS,
    AT,
    BELIEVES,
    GATEWAY,
    HOST,
    ORDERS_80,
    TO_ORDERS,
    VISITOR,
    Front,
    edge_rules,
    front,
    route,
    tls_host,
)
from tests.helpers.h2_peer import Peer
from tests.helpers.http2 import GET as HTTP2_GET
from tests.helpers.http2 import OPENING, headers
from tests.helpers.mesh import ELSEWHERE, echo, http_app, is_gone, read_rest, read_until, root, sidecar
from tests.helpers.pki import ORDERS
from tests.helpers.runtime import CLIENT

GET = f"GET /a HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode()
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
OTHER = "api.example.com"
FORGED = "bartizan-client"
NEXT = Address("10.1.0.8", 8080)


async def ask(stream: trio.abc.HalfCloseableStream, request: bytes = GET) -> bytes:
    await stream.send_all(request)
    return bytes(await stream.receive_some())


def get(host: str = HOST, path: str = "/a", *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"host: {host}", *fields, "", ""]).encode()


def told(head: bytes) -> dict[str, str]:
    lines = [line.partition(": ")[::2] for line in head.decode().split("\r\n")[1:]]
    assert len(dict(lines)) == len(lines)
    return dict(lines)


# -- what the application and the logs are told


async def test_a_request_from_outside_to_a_pod(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery)
    stream = await known.tls()
    assert await ask(stream) == OK
    assert await ask(stream) == OK
    fields = told(known.seen[0])
    identified = fields.pop("x-request-id"), fields.pop("x-forwarded-client-cert")
    assert fields == {
        "host": HOST, "x-forwarded-for": VISITOR, "x-forwarded-proto": "https", "x-forwarded-host": HOST, "x-forwarded-port": "443",
        "forwarded": f'for={VISITOR};host="{HOST}";proto=https', "x-bartizan-tls": "TLSv1.3",
    }
    assert identified[1].endswith(f";URI={GATEWAY}")
    stream.close()
    await wait_all_tasks_blocked()
    here, there = known.bench.lines[0], known.pod.lines[0]
    names = ("direction", "client", "source", "peer", "rule", "status", "security", "host", "path", "request_id", "dst")
    assert [here.get(name) for name in names] == [
        "edge", VISITOR, VISITOR, ORDERS, "all", 200, "mtls", HOST, "/a", identified[0], f"{AT}:443"]
    assert [there.get(name) for name in names] == [
        "inbound", VISITOR, CLIENT, GATEWAY, "without-routes", 200, "mtls", HOST, "/a", identified[0], str(ELSEWHERE)]
    assert here["connection"] == there["connection"]


async def test_a_plain_request(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery)
    stream = known.plain()
    assert await ask(stream, get(f"{HOST}:8080")) == OK
    fields = told(known.seen[0])
    assert (fields["x-forwarded-proto"], fields["x-forwarded-host"], fields["x-forwarded-port"]) == ("http", f"{HOST}:8080", "80")
    assert fields["host"] == f"{HOST}:8080"


FORGERY = json.dumps({"address": "198.51.100.66", "scheme": "https", "host": "evil.example", "port": 443})


@pytest.mark.parametrize("name", ["bartizan-client", "Bartizan-Client", "x-forwarded-for", "x-forwarded-host", "forwarded", "x-request-id",
                                  "x-real-ip", "x-bartizan-client-cert", "x-forwarded-client-cert", "traceparent"])
async def test_what_a_client_says_of_itself_goes_nowhere(name: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery)
    for fields in ([f"{name}: {FORGERY}"], [f"{name}: {FORGERY}"] * 2):
        known.seen.clear()
        assert await ask(await known.tls(), get(HOST, "/a", *fields)) == OK
        assert b"198.51.100.66" not in known.seen[0]
        assert told(known.seen[0])["x-forwarded-for"] == VISITOR
    assert all(line["client"] == VISITOR for line in known.pod.lines)


@pytest.mark.parametrize("inbound", [Inbound(), Inbound(edges=(pki.WEB, f"{GATEWAY}-2"))])
async def test_only_a_gateway_that_the_snapshot_names_is_believed(
    inbound: Inbound, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    known = front(nursery, inbound=inbound)
    assert await ask(await known.tls()) == OK
    fields = told(known.seen[0])
    assert "x-forwarded-host" not in fields
    assert (fields["forwarded"], FORGED in fields) == (f"for={CLIENT};proto=https", False)
    await wait_all_tasks_blocked()
    assert "client" not in known.pod.lines[0]


async def test_a_client_certificate_is_told(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery, edge_rules(tls=(tls_host(HOST, clients=ASKS),)))
    ann = pki.issue(root("clients"), subject='ann "a\\b"', purposes=(pki.CLIENT,))
    assert await ask(await known.tls(holder=ann)) == OK
    fingerprint = ann.certificate.fingerprint(pki.hashes.SHA256()).hex()
    assert told(known.seen[0])["x-bartizan-client-cert"] == f'Hash={fingerprint};Subject="CN=ann %5C%22a%5C%5Cb%5C%22"'


# -- which listener, which name


async def test_a_port_that_the_snapshot_does_not_name(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery)
    answer = await ask(known.plain(8080))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"nothing is served at 8080" in answer
    assert await ask(known.plain(8080), hello_of(HOST)) == UNRECOGNIZED_NAME
    assert known.bench.codes == [Reason.NO_EDGE_ROUTE.code] * 2


async def test_before_the_first_snapshot(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery)
    known.bench.runtime.rules.set(None)
    for port in (80, 443):
        assert b"BZ0601" in await ask(known.plain(port))


def hello_of(name: str | None) -> bytes:
    """A whole ClientHello."""
    from OpenSSL import SSL

    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    if name is not None:
        connection.set_tlsext_host_name(name.encode())
    connection.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(65536)


@pytest.mark.parametrize("name", ["other.example.com", "example.com", f"x.{HOST}", None])
async def test_whose_name_nobody_has(name: str | None, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery)
    assert await read_rest_after(known.plain(443), hello_of(name)) == UNRECOGNIZED_NAME
    with pytest.raises(NotVerified, match="unrecognized name"):
        await known.tls(name)
    await wait_all_tasks_blocked()
    assert known.bench.codes == [Reason.CLIENT_TLS.code] * 2


async def read_rest_after(stream: SocketStream, sent: bytes) -> bytes:
    await stream.send_all(sent)
    return await read_rest(stream)


async def test_a_missing_certificate_is_replaced_by_none(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery, edge_rules(tls=(TlsHost("shop/gone", (HOST,)), tls_host("other", "*.example.com"))))
    assert await read_rest_after(known.plain(443), hello_of(HOST)) == INTERNAL_ERROR
    await wait_all_tasks_blocked()
    assert known.bench.codes == [Reason.CERTIFICATE_UNUSABLE.code]
    assert "shop/gone" in known.bench.lines[0]["detail"]


async def test_plain_http_at_a_port_of_tls(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery)
    assert (await ask(known.plain(443))).startswith(b"HTTP/1.1 421 ")
    assert await read_rest_after(known.plain(443), b"\x16\x03\x01\x00\x00") == b""
    assert known.bench.codes == [Reason.MISDIRECTED.code] * 2
    assert known.bench.dialer.dialled == []


async def test_who_only_looks_whether_anybody_listens(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A load balancer's probe, each second: no line of the log."""
    known = front(nursery)
    for port in (80, 443, 8080):
        stream = known.plain(port)
        await stream.send_eof()
        assert await read_rest(stream) == b""
    assert known.bench.lines == []


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
async def test_host_is_the_server_name(alpn: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Per request: a browser brings the next host on the same HTTP/2 connection, since the certificate is for both; it is told to
    connect anew."""
    known = front(nursery, edge_rules(tls=(tls_host(HOST, HOST, OTHER, "*.example.org"),)))
    stream = await known.tls(HOST, alpn=alpn)
    if alpn == "h2":
        client = Http2Client(stream)
        assert [await ask2(client, host) for host in (HOST, OTHER, "a.example.org", HOST)] == [200, 421, 421, 200]
    else:
        assert await ask(stream, get(f"{HOST}:443")) == OK
        assert await ask(stream, get(f"{HOST}.")) == OK
        assert (await ask(stream, get(OTHER))).startswith(b"HTTP/1.1 421 ")
        assert await is_gone(stream)
    assert set(known.bench.codes) == {"", Reason.MISDIRECTED.code}


async def test_without_a_server_name(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The host-less certificate serves any host, but not round what another one asks its clients for."""
    asks = tls_host("secret.example.com", clients=ASKS)
    known = front(nursery, edge_rules(tls=(replace(tls_host("default.example.com"), hosts=()), tls_host(OTHER), asks)))
    stream = await known.tls(None)
    for host in ("192.0.2.1", HOST, OTHER):
        assert await ask(stream, get(host)) == OK
    assert (await ask(stream, get("secret.example.com"))).startswith(b"HTTP/1.1 421 ")
    # An unknown server name gets it, too, and is held to that name.
    stream = await known.tls("unknown.example.net")
    assert await ask(stream, get("unknown.example.net")) == OK
    assert (await ask(stream, get(HOST))).startswith(b"HTTP/1.1 421 ")


async def test_a_host_that_begins_to_ask_asks_those_who_are_there(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery)
    stream = await known.tls()
    assert await ask(stream) == OK
    known.bench.runtime.rules.set(edge_rules(tls=(tls_host(HOST, clients=ASKS),)))
    assert (await ask(stream)).startswith(b"HTTP/1.1 421 ")


async def test_a_client_certificate_that_ends(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery, edge_rules(tls=(tls_host(HOST, clients=ClientCertificates(ASKS.roots, is_required=False)),)))
    ann = pki.issue(root("clients"), subject="ann", purposes=(pki.CLIENT,))
    stream = await known.tls(holder=ann)
    assert await ask(stream) == OK
    known.bench.wall = ann.certificate.not_valid_after_utc.timestamp()
    assert b"BZ0506" in await ask(stream)


async def test_credentials_are_looked_at_and_stay_here(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Also where an upgraded connection is asked about again, whose request they were taken out of."""
    key = ApiKeys((ApiKey(hashlib.sha256(b"secret").hexdigest(), "ann"),))
    known = front(nursery, edge_rules(
        route(access="keys", allow=(Caller(claims={"sub": ("ann",)}),), matches=(Match(headers=(HeaderMatch("x-api-key", "secret"),)),)),
        access={"keys": Access(api_keys=key, claim_headers=(ClaimHeader("sub", "x-user"),))},
    ), inbound=MAY_UPGRADE)
    stream = await known.tls()
    assert (await ask(stream)).startswith(b"HTTP/1.1 404 ")
    assert await ask(stream, get(HOST, "/a", "x-api-key: secret", "x-user: eve")) == OK
    fields = told(known.seen[0])
    assert (fields["x-user"], "x-api-key" in fields) == ("ann", False)
    known.bench.dialer.servers[ELSEWHERE] = sidecar(nursery, speak_websocket, MAY_UPGRADE)[1]
    known.bench.runtime.pool.close()
    stream = await known.tls()
    answer = await ask(stream, get(HOST, "/a", "x-api-key: secret", "connection: upgrade", "upgrade: websocket"))
    assert answer.startswith(b"HTTP/1.1 101 ")
    await trio.sleep(20)
    await stream.send_all(b"still")
    assert await read_until(stream, b"still") == b"still"


# -- which rule, which Service


ROUTES = (
    route("api", hosts=(OTHER,), matches=(Match(PathMatch("/v1")),)), route("one", hosts=("*.example.org",)),
    route("more", hosts=("**.example.org",)), route("tls", ports=(443,), hosts=(HOST,)),
)


@pytest.mark.parametrize(("host", "path", "rule"), [
    (OTHER, "/v1/x", "api"), (OTHER, "/v2", ""), ("a.example.org", "/", "one"), ("b.a.example.org", "/", "more"), ("example.org", "/", ""),
    (HOST, "/", ""), ("nowhere.example", "/", ""),
])
async def test_the_rule_decides(host: str, path: str, rule: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery, edge_rules(*ROUTES))
    answer = await ask(known.plain(), get(host, path))
    await wait_all_tasks_blocked()
    (line,) = known.bench.lines
    if rule:
        assert answer == OK
        assert line["rule"] == rule
    else:
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert (line["code"], known.bench.dialer.dialled) == (Reason.NO_EDGE_ROUTE.code, [])


@pytest.mark.parametrize(("allow", "deny", "code"), [
    ((Caller(source="192.0.2.0/24"),), (), ""), ((Caller(source="10.2.0.0/24"),), (), "BZ0102"), ((), (), "BZ0102"),
    ((Caller(),), (Caller(source=f"{VISITOR}/32"),), "BZ0110"), ((Caller(claims={"sub": ("ann",)}),), (), "BZ0102"),
])
async def test_whom_the_rule_lets_in(
    allow: tuple[Caller, ...], deny: tuple[Caller, ...], code: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    known = front(nursery, edge_rules(route(allow=allow, deny=deny)))
    answer = await ask(known.plain())
    assert (answer == OK) == (not code)
    await wait_all_tasks_blocked()
    assert known.bench.codes == [code]
    assert bool(known.bench.dialer.dialled) == (not code)


async def test_whom_network_policies_keep_out(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """By the port where we listen, which is the one that a policy means; on connections that are there already, too."""
    def isolated(*blocks: str, port: int = 443) -> Rules:
        rule = NetworkRule("sys/edge", blocks=tuple(map(Block, blocks)), ports=(PortRange(port, port),))
        snapshot = edge_rules().snapshot
        return Rules.of(replace(snapshot, inbound=Inbound(isolation=Isolation(("sys/edge",), (rule,)))), "digest")

    known = front(nursery, isolated("192.0.2.0/24"))
    stream = await known.tls()
    assert await ask(stream) == OK
    known.bench.runtime.rules.set(isolated("198.51.100.0/24"))
    assert b"BZ0112" in await ask(stream)
    with pytest.raises(NotVerified):
        await known.tls()
    known.bench.runtime.rules.set(isolated("192.0.2.0/24", port=80))
    assert await ask(known.plain()) == OK
    await wait_all_tasks_blocked()
    assert known.bench.codes == ["", "BZ0112", "BZ0112", ""]


@pytest.mark.parametrize(("backends", "services"), [
    ((Backend("gone.shop", 80),), (ORDERS_80,)),
    ((Backend("orders.shop", 81),), (ORDERS_80,)), ((Backend("orders.shop", 80, 0),), (ORDERS_80,)),
    (TO_ORDERS, (replace(ORDERS_80, endpoints=()),)), (TO_ORDERS, (replace(ORDERS_80, protocol="opaque"),)),
    (TO_ORDERS, (replace(ORDERS_80, endpoints=(Endpoint(AT, 8443, GATEWAY),)),)),
])
async def test_a_service_that_nothing_stands_behind(
    backends: tuple[Backend, ...], services: tuple[Service, ...], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Nor does the gateway lead to itself. What was not begun is not counted as under way."""
    known = front(nursery, edge_rules(route(backends=backends, concurrency=1), services=services))
    stream = known.plain()
    for _ in range(2):
        assert (await ask(stream)).startswith(b"HTTP/1.1 503 ")
    await wait_all_tasks_blocked()
    assert known.bench.codes == [Reason.NO_ENDPOINT.code] * 2
    assert known.bench.dialer.dialled == []


async def test_a_canary_by_weight(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    second = Service("next.shop", 80, endpoints=(Endpoint(NEXT.host, NEXT.port, ORDERS),))
    split = (Backend("orders.shop", 80, 3), Backend("next.shop", 80, 1), Backend("gone.shop", 80, 100))
    known = front(nursery, edge_rules(route(backends=split), services=(ORDERS_80, second)))
    known.bench.dialer.servers[NEXT] = sidecar(
        nursery, http_app([], OK.replace(b"ok", b"no")), at=NEXT)[1]
    stream = known.plain()
    got = [await ask(stream) for _ in range(200)]
    assert 20 < sum(answer.endswith(b"no") for answer in got) < 80
    assert {answer[-2:] for answer in got} == {b"ok", b"no"}


@pytest.mark.parametrize(("more", "expected"), [
    ({"redirect": Redirect(scheme="https", status=308)}, b"location: https://www.example.com/a\r\n"),
    ({"direct_response": DirectResponse(418, "tea")}, b"HTTP/1.1 418 "),
    ({"rate_limit": RateLimit(1, 3600.0)}, b"BZ0106"),
    ({"fault": Fault(abort_status=500)}, b"HTTP/1.1 500 "),
    ({"max_body_bytes": 0}, b"HTTP/1.1 413 "),
])
async def test_what_else_a_rule_says(more: dict[str, object], expected: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery, edge_rules(route(**more)))
    stream = known.plain()
    if "rate_limit" in more:
        assert await ask(stream) == OK
    assert expected in await ask(stream, f"POST /a HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 1\r\n\r\nx".encode())


async def test_edits_and_rewrites_reach_the_pod(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The destination's own rules for its callers see what is sent; the application learns what the client asked for."""
    known = front(nursery, edge_rules(route(
        matches=(Match(PathMatch("/a")),), rewrite=Rewrite(prefix="/b", hostname="orders.shop"),
        request_headers=HeaderEdit(set={"x-new": "1"}, remove=("x-old",)), response_headers=HeaderEdit(add={"x-edge": "yes"}),
    )))
    answer = await ask(known.plain(), get(HOST, "/a/c", "x-old: 1"))
    assert b"x-edge: yes\r\n" in answer
    assert known.seen[0].startswith(b"GET /b/c HTTP/1.1\r\nhost: orders.shop\r\n")
    fields = told(known.seen[0])
    assert (fields["x-new"], "x-old" in fields, fields["x-forwarded-host"]) == ("1", False, HOST)


# -- callers' rules


DECLARED = CallRule("declared", request_s=3.0, retries=Retries(1, on=("503",)))


@pytest.mark.parametrize(("more", "seconds"), [({}, 3.0), ({"request_s": 1.0}, 1.0), ({"request_s": 7.0}, 7.0), ({"idle_s": 2.0}, 3.0)])
async def test_time_is_the_rules_or_the_destinations(
    more: dict[str, float], seconds: float, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def silent(sock: socket.socket) -> None:
        await trio.sleep_forever()

    services = (replace(ORDERS_80, rules=(DECLARED,)),)
    known = front(nursery, edge_rules(route(**more), services=services), app=silent)
    assert (await ask(known.plain())).startswith(b"HTTP/1.1 504 ")
    assert trio.current_time() == pytest.approx(seconds, abs=0.2)


@pytest.mark.parametrize(("more", "rules", "tries"), [
    ({}, (), 1), ({}, (DECLARED,), 2),
    ({"retries": Retries(2, on=("503",))}, (DECLARED,), 3), ({"retries": Retries(2, on=("503",))}, (), 3),
])
async def test_retries_are_the_rules_or_the_destinations(
    more: dict[str, Retries], rules: tuple[CallRule, ...], tries: int, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    services = (replace(ORDERS_80, rules=rules),)
    known = front(nursery, edge_rules(route(**more), services=services), answer=b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")
    assert (await ask(known.plain())).startswith(b"HTTP/1.1 503 ")
    assert len(known.seen) == tries


async def test_concurrency_and_the_limits_of_the_destination_both_hold(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def silent(sock: socket.socket) -> None:
        await trio.sleep_forever()

    for more, limits, code in (({"concurrency": 1}, 9, "BZ0107"), ({"concurrency": 9}, 1, "BZ0407")):
        service = replace(ORDERS_80, balancing=Balancing(limits=Limits(requests=limits)))
        known = front(nursery, edge_rules(route(**more), services=(service,)), app=silent)
        first = known.plain()
        await first.send_all(GET)
        await wait_all_tasks_blocked()
        assert code.encode() in await ask(known.plain())
        await read_rest(first)
        await trio.sleep(1)     # what was held is given back
        assert not known.bench.runtime.admission.under_way
        known.bench.dialer.servers[ELSEWHERE] = sidecar(nursery, http_app([], OK), BELIEVES)[1]
        assert await ask(known.plain()) == OK


async def test_a_mirror(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    second = Service("next.shop", 80, endpoints=(Endpoint(NEXT.host, NEXT.port, ORDERS),))
    known = front(nursery, edge_rules(route(mirror=Mirror("next.shop", 80)), services=(ORDERS_80, second)))
    copies: list[bytes] = []
    known.bench.dialer.servers[NEXT] = sidecar(nursery, http_app(copies, OK), at=NEXT)[1]
    nursery.start_soon(known.bench.runtime.mirrors.run, known.bench.runtime.pool, Tally())
    assert await ask(known.plain()) == OK
    await wait_all_tasks_blocked()
    assert len(copies) == len(known.seen) == 1


# -- versions of HTTP, upgrades


async def ask2(client: Http2Client, host: str = HOST, fields: Headers | None = None, body: bytes | None = None) -> int:
    end = client.open()
    kind = NO_BODY if body is None else Body(BodyKind.CHUNKED)
    request = RequestHead(b"POST", b"/a", host.encode(), None, fields or [], kind, False, takes_trailers=True, is_http2=True)
    await end.send_request(request, host.encode(), [], body or b"", is_end=True)
    head = await end.read_head()
    while not end.is_body_done:
        await end.read_body()
    end.finish()
    return head.status


async def test_http2_goes_on_as_http1(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery)
    client = Http2Client(await known.tls(alpn="h2"))
    assert [await ask2(client) for _ in range(3)] == [200] * 3
    assert known.seen[0].startswith(b"POST /a HTTP/1.1\r\n")
    assert told(known.seen[0])["x-forwarded-proto"] == "https"


async def test_http2_with_prior_knowledge(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery)
    stream = known.plain()
    await stream.send_all(OPENING + headers(1, [*HTTP2_GET[:2], (b":authority", HOST.encode()), HTTP2_GET[3]]))
    await wait_all_tasks_blocked()
    assert known.seen[0].startswith(b"GET /a HTTP/1.1\r\n")


@pytest.mark.parametrize(("protocol", "kind", "is_http2"), [
    ("http", b"application/grpc", True), ("http", b"text/plain", False),
    ("http2", b"text/plain", True), ("http1", b"application/grpc", False),
])
async def test_what_the_application_speaks(
    protocol: str, kind: bytes, is_http2: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    spoken: list[bytes] = []

    async def app(sock: socket.socket) -> None:
        spoken.append(bytes(await SocketStream(sock).receive_some()))

    inbound = Inbound(edges=(GATEWAY,), ports={ELSEWHERE.port: protocol})     # type: ignore[dict-item]
    known = front(nursery, edge_rules(services=(replace(ORDERS_80, protocol=protocol),)), inbound=inbound, app=app)
    await ask2(Http2Client(await known.tls(alpn="h2")), fields=[(b"content-type", kind)], body=b"x")
    assert spoken[0].startswith(b"PRI " if is_http2 else b"POST ")


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
UPGRADE = get(HOST, "/a", "connection: upgrade", "upgrade: websocket")
MAY_UPGRADE = Inbound(edges=(GATEWAY,), routes=(Route("ws", (Caller(),), upgrades=("websocket",)),))


async def upgraded(known: Front) -> TlsStream:
    stream = await known.tls()
    assert (await ask(stream, UPGRADE)).startswith(b"HTTP/1.1 101 ")
    await stream.send_all(b"ping")
    assert await read_until(stream, b"ping") == b"ping"
    return stream


async def speak_websocket(sock: socket.socket) -> None:
    stream = SocketStream(sock)
    await read_until(stream, b"\r\n\r\n")
    await stream.send_all(SWITCH)
    await echo(sock)


async def test_a_websocket_until_nobody_permits_it_any_more(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery, inbound=MAY_UPGRADE, app=speak_websocket)
    stream = await upgraded(known)
    for kept in (edge_rules(route(), route("other", hosts=("x.example",))), edge_rules(route(), tls=(tls_host(HOST, HOST, OTHER),))):
        known.bench.runtime.rules.set(kept)
        await wait_all_tasks_blocked()
        await stream.send_all(b"still")
        assert await read_until(stream, b"still") == b"still"
    known.bench.runtime.rules.set(edge_rules(route(allow=())))
    assert await is_gone(stream)
    assert trio.current_time() == 0


@pytest.mark.parametrize("later", [
    edge_rules(tls=(tls_host(HOST, clients=ASKS),)), edge_rules(services=()), edge_rules(route("another")),
])
async def test_a_websocket_ends_with_what_it_rests_on(later: object, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery, inbound=MAY_UPGRADE, app=speak_websocket)
    stream = await upgraded(known)
    known.bench.runtime.rules.set(later)    # type: ignore[arg-type]
    assert await is_gone(stream)
    assert trio.current_time() == 0


# -- slow clients


async def end_of(stream: trio.abc.HalfCloseableStream, *pieces: bytes, every_s: float = 1.0) -> float:
    """When the gateway has ended its side, while the client sends so and says nothing else."""
    async with trio.open_nursery() as nursery:

        async def trickle() -> None:
            try:
                for piece in pieces:
                    await stream.send_all(piece)
                    await trio.sleep(every_s)
            except trio.BrokenResourceError:
                pass

        nursery.start_soon(trickle)
        try:
            await read_rest(stream)
        except trio.BrokenResourceError:
            pass
        nursery.cancel_scope.cancel()
    return trio.current_time()


async def test_a_handshake_that_does_not_begin(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery)
    assert await end_of(known.plain(443)) == HANDSHAKE_S
    assert known.bench.codes == [Reason.TIMED_OUT_DOWNSTREAM.code]


async def test_a_handshake_that_does_not_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The hello and what follows it have one time together."""
    known = front(nursery)
    stream = known.plain(443)
    await trio.sleep(HANDSHAKE_S - 1)
    assert await end_of(stream, hello_of(HOST)) == HANDSHAKE_S


async def test_a_head_that_trickles(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery)
    assert await end_of(known.plain(), *(GET[i:i + 1] for i in range(30))) == REQUEST_HEAD_S


SLOW = [
    f"POST /a HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 100000\r\n\r\n".encode(),
    f"POST /a HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n".encode(),
]


@pytest.mark.parametrize("head", SLOW)
@pytest.mark.parametrize("piece", [b"", b"1\r\nx\r\n"])
async def test_a_body_that_trickles(head: bytes, piece: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery, app=swallow)
    assert await end_of(known.plain(), head, *[piece] * 40) <= 15
    assert known.bench.codes == [Reason.TIMED_OUT_DOWNSTREAM.code]


async def swallow(sock: socket.socket) -> None:
    await read_rest(SocketStream(sock))


@pytest.mark.parametrize("head", SLOW)
async def test_a_body_to_nowhere_that_trickles(head: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery, edge_rules(route(hosts=("other.example",))))
    assert await end_of(known.plain(), head, *[b"1\r\nx\r\n"] * 40) <= 15
    assert known.bench.codes == [Reason.NO_EDGE_ROUTE.code]


@pytest.mark.parametrize(("kind", "is_hurried"), [(b"text/plain", True), (b"application/grpc", False)])
async def test_a_stream_of_http2_that_trickles(
    kind: bytes, is_hurried: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It holds no connection of ours, but one of the application's; a call of gRPC may be silent for long."""
    known = front(nursery, app=swallow)
    client = Http2Client(await known.tls(alpn="h2"))
    end = client.open()
    request = RequestHead(b"POST", b"/a", HOST.encode(), None, [(b"content-type", kind)], Body(BodyKind.CHUNKED), False, is_http2=True)
    await end.send_request(request, HOST.encode(), [], b"x", is_end=False)
    with trio.move_on_after(100):
        await end.read_head()
    assert (trio.current_time() <= 15) == is_hurried


async def test_an_honest_upload_may_take_its_time(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def app(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        await read_until(stream, b"end")
        await stream.send_all(OK)

    known = front(nursery, app=app)
    stream = known.plain()
    await stream.send_all(f"POST /a HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 60003\r\n\r\n".encode())
    for _ in range(60):
        await stream.send_all(b"x" * 1000)
        await trio.sleep(1)
    assert await ask(stream, b"end") == OK


async def test_an_answer_that_is_not_taken(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def app(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        await read_until(stream, b"\r\n\r\n")
        try:
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n" + b"x" * 100_000_000)
        except trio.BrokenResourceError:
            pass

    known = front(nursery, app=app)
    stream = known.plain()
    await stream.send_all(GET)
    await trio.sleep(TAKE_S - 1)
    assert known.bench.codes == []
    await trio.sleep(2)
    assert known.bench.codes == [Reason.TIMED_OUT_DOWNSTREAM.code]


def test_the_times_of_the_edge_are_short_enough() -> None:
    assert max(HANDSHAKE_S, GRACE_S, TAKE_S, REQUEST_HEAD_S) <= 15


# -- draining


async def test_what_is_idle_is_told_when_we_drain(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = front(nursery)
    stream = await known.tls()
    assert await ask(stream) == OK
    known.bench.runtime.draining.set(True)
    assert b"connection: close" in await ask(stream)
    assert await is_gone(stream)


# -- the rules change while somebody else is asked


@pytest.mark.parametrize(("changed", "status"), [
    pytest.param((route(access="asked", allow=()),), b"403", id="nobody may"),
    pytest.param((route("another", access="asked"),), b"403", id="the rule is gone"),
    pytest.param((route(access="asked"), route("closer", matches=(Match(PathMatch("/a")),))), b"403", id="another decides"),
    pytest.param((route(access=""),), b"200", id="it asks for less"),
    pytest.param((route(access="asked", backends=(Backend("gone.shop", 80),)),), b"503", id="it leads elsewhere"),
])
@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
async def test_what_was_let_in_by_rules_that_are_no_more_is_judged_again(
    alpn: str, changed: tuple[EdgeRoute, ...], status: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """An authorizer may take its time, and what it says counts for the rules as they are then."""
    access = {"asked": Access(external=External(service=TO_ORDERS[0])), "": Access()}

    def answer(head: bytes) -> bytes:
        known.bench.runtime.rules.set(edge_rules(*changed, access=access))
        return OK

    seen: list[bytes] = []
    known = front(nursery, edge_rules(route(access="asked"), access=access), app=http_app(seen, answer))
    stream = await known.tls(alpn=alpn)
    if alpn == "h2":
        peer = Peer(stream, is_client=True)
        await peer.begin()
        await peer.ask(1, [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", HOST.encode()), (b":path", b"/a")])
        event = await peer.first(h2.events.ResponseReceived, 1)
        assert dict(event.headers)[b":status"] == status
    else:
        assert (await ask(stream)).split()[1] == status
    assert len(seen) == (2 if status == b"200" else 1)
    stream.close()
