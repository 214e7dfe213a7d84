"""Who an application believes is calling: spoofed names through the real inbound recipe, then ID and trace on each way."""

import random
import re
from collections.abc import Callable
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from sidecar.model.client import Client
from sidecar.model.message import NO_BODY, Headers, RequestHead
from sidecar.model.snapshot import Inbound
from sidecar.net.socket_stream import SocketStream
from sidecar.protocol.client_word import word_of
from sidecar.proxy.headers import caller_headers, edge_headers, egress_headers, inbound_headers, mesh_headers
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import OK
from tests.helpers.mesh import APP, arrive, call, http_app, meshed, read_until
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import CLIENT, NOW, bench, rules

RNG = random.Random(1)
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01".encode()

CERTIFICATE = "x-forwarded-client-cert"
SPELLINGS = [
    CERTIFICATE, "X-Forwarded-Client-Cert", "X-FORWARDED-CLIENT-CERT", "x-forwarded-Client-cert", "x_forwarded_client_cert",
    "x-forwarded_client-cert", "X_Forwarded-Client_Cert", f"{CERTIFICATE} ", f" {CERTIFICATE}", f"{CERTIFICATE}\t",
    f"{CERTIFICATE}\x00", f"{CERTIFICATE}\x0b", f"{CERTIFICATE}\x85", f"{CERTIFICATE}\r\n ", "\u017f-forwarded-client-cert",
    "x\u2010forwarded-client-cert", f"{CERTIFICATE}:", f"\x7f{CERTIFICATE}", f"({CERTIFICATE})",
]
CLAIMS = [
    "x-forwarded-for", "X-Forwarded-Proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-by", "x-forwarded-user",
    "x-forwarded-email", "x-forwarded-groups", "x-forwarded-server", "x-forwarded-prefix", "x_forwarded_for", "forwarded", "Forwarded",
    "x-real-ip", "X_Real_IP", "client-ip", "X-Client-IP", "x-cluster-client-ip", "True-Client-IP", "CF-Connecting-IP",
    "cf-connecting-ipv6", "fastly-client-ip", "x-remote-ip", "x-remote-addr", "x-originating-ip", "client-cert", "Client-Cert-Chain",
    "X-Client-Cert", "x-client-certificate", "x-ssl-client-verify", "X-SSL-Client-S-DN", "ssl-client-cert", "ssl-client-subject-dn",
    "x-arr-clientcert", "x-amzn-oidc-data", "x-amzn-oidc-identity", "x-goog-authenticated-user-email", "x-ms-client-principal-name",
    "cf-pseudo-ipv4", "Fly-Client-IP", "X-Azure-ClientIP", "x-azure-socketip", "X-AppEngine-User-IP", "x-proxyuser-ip", "Proxy-Client-IP",
    "Forwarded-For", "x-forwarded", "X-Scheme", "x-url-scheme", "Front-End-Https", "WL-Proxy-Client-IP", "wl-proxy-client-cert",
    "x-ssl-cert", "X-TLS-Client-Cert", "X-Amzn-Mtls-Clientcert", "x-goog-iap-jwt-assertion", "Cf-Access-Authenticated-User-Email",
    "x-apigateway-api-userinfo", "X-Endpoint-API-UserInfo",
    "l5d-client-id", "L5D-remote-ip", "x-envoy-external-address", "X-Envoy-Peer-Metadata", "x-envoy-original-path",
    "x-istio-attributes", "x-bartizan-tls", "X-BARTIZAN-PEER", "x_bartizan_tls",
    "x-bartizan-client-cert", "bartizan-client", "Bartizan-Client", "bartizan_client",
]
OVERRIDES = [
    "x-original-url", "X-Original-URI", "x-original-host", "x-original-method", "X-Original-Forwarded-For", "X-Rewrite-URL", "x-host",
    "x-http-host-override", "X-HTTP-Method", "X-HTTP-Method-Override", "x-method-override", "x_http_method_override", "Proxy",
    "X-Sendfile-Type", "x-accel-mapping",
]
SPOOFED = SPELLINGS + CLAIMS + OVERRIDES
OURS = {"host", "content-length", "x-forwarded-for", "x-forwarded-proto", "forwarded", CERTIFICATE, "x-bartizan-tls", "x-request-id"}


@pytest.mark.parametrize("name", SPOOFED)
async def test_a_spoofed_name_never_arrives(name: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """In any spelling, twice, nominated by Connection, as a trailer: refused, or gone; where the request arrives, ours does, once."""
    seen: list[bytes] = []
    for text in (f"{name}: EVIL", f"{name}: EVIL\r\n{name}: EVIL", f"{name}: EVIL\r\nconnection: {name}",
                 f"transfer-encoding: chunked\r\ntrailer: {name}\r\n\r\n0\r\n{name}: EVIL"):
        known = meshed(nursery)
        known.dialer.servers[APP] = http_app(seen, OK)
        stream = await call(arrive(nursery, known))
        seen.clear()
        await stream.send_all(f"POST / HTTP/1.1\r\nhost: a\r\n{text}\r\n\r\n".encode("utf-8", "surrogateescape"))
        answer = await stream.receive_some()
        if answer.startswith(b"HTTP/1.1 400 "):
            assert seen == []
        else:
            assert answer == OK
            assert b"EVIL" not in b"".join(seen)
            said = [line.partition(b":")[0].decode() for line in seen[0].split(b"\r\n")[1:]]
            assert sorted(said) == sorted(OURS - ({"content-length"} if "chunked" in text else set()) |
                                          ({"transfer-encoding"} if "chunked" in text else set()))
        stream.close()


@pytest.mark.parametrize("name", ["remote-user", "x-auth-request-user", "authorization", "cookie", "b3", "baggage", "origin"])
async def test_what_applications_tell_each_other_arrives(name: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, seen = meshed(nursery), []
    known.dialer.servers[APP] = http_app(seen, OK)
    stream = await call(arrive(nursery, known))
    await stream.send_all(f"GET / HTTP/1.1\r\nhost: a\r\n{name}: x\r\n\r\n".encode())
    assert await read_until(stream, b"ok") == OK
    assert f"\r\n{name}: x\r\n".encode() in seen[0]
    stream.close()


# -- who calls


async def test_a_caller_with_a_certificate(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    known.dialer.servers[APP] = http_app(seen := [], OK)
    stream = await call(arrive(nursery, known), WEB)
    await stream.send_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    await read_until(stream, b"ok")
    told = dict(line.split(b": ", 1) for line in seen[0].split(b"\r\n")[1:])
    assert re.fullmatch(f"By={ORDERS};Hash=[0-9a-f]{{64}};URI={WEB}".encode(), told[CERTIFICATE.encode()])
    assert (told[b"x-forwarded-for"], told[b"forwarded"]) == (CLIENT.encode(), f"for={CLIENT};proto=https".encode())
    stream.close()


async def test_a_caller_that_is_nobody(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Plaintext: address and nothing else, a new ID, and no trace, which would let strangers switch the recording of traces."""
    known = meshed(nursery)
    known.runtime.rules.set(rules(Inbound(mode="permissive", permissive_until=known.wall + 60), identity=ORDERS))
    known.dialer.servers[APP] = http_app(seen := [], OK)
    stream = SocketStream(arrive(nursery, known))
    await stream.send_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-request-id: theirs\r\ntraceparent: %b\r\ntracestate: a=b\r\n\r\n" % PARENT)
    await read_until(stream, b"ok")
    *told, last = seen[0].decode().split("\r\n")[2:]
    assert told == [f"x-forwarded-for: {CLIENT}", "x-forwarded-proto: http", f"forwarded: for={CLIENT};proto=http"]
    assert re.fullmatch("x-request-id: [0-9a-f]{32}", last)
    stream.close()


async def test_an_ipv6_address_is_quoted(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """> Note that an IPv6 address is always enclosed in square brackets, and must be quoted (RFC 7239 s6)."""
    told = dict(caller_headers(bench(nursery).runtime, None, "", "fd00::9"))
    assert told == {b"x-forwarded-for": b"fd00::9", b"x-forwarded-proto": b"http", b"forwarded": b'for="[fd00::9]";proto=http'}


# -- the word of an ingress gateway


VISITOR = Client("2001:db8::7", "https", 443, "www.example.com")
WORD = word_of(VISITOR, b"www.example.com", 8443)
CALLER = [
    (b"x-forwarded-for", b"10.1.0.9"), (b"x-forwarded-proto", b"https"), (b"forwarded", b"for=10.1.0.9;proto=https"), (b"x-other", b"1"),
]


def entering(*fields: tuple[bytes, bytes], is_edge: bool = True) -> tuple[dict[bytes, bytes], Record]:
    """What the application is told, and what is written down."""
    request, told = head(*fields), record()
    headers = inbound_headers(request, told, CALLER, RNG, is_mesh=True, is_edge=lambda: is_edge)
    assert request.headers == [(b"Accept", b"*/*"), (b"Cookie", b"a=b")]
    assert len(dict(headers)) == len(headers)
    return dict(headers), told


def test_a_gateways_word_about_its_client() -> None:
    headers, told = entering((b"Bartizan-Client", WORD))
    del headers[b"x-request-id"]
    assert headers == {
        b"x-forwarded-for": b"2001:db8::7", b"x-forwarded-proto": b"https", b"x-forwarded-host": b"www.example.com:8443",
        b"x-forwarded-port": b"443", b"forwarded": b'for="[2001:db8::7]";host="www.example.com:8443";proto=https', b"x-other": b"1",
    }
    assert told.client == "2001:db8::7"


@pytest.mark.parametrize(("fields", "is_edge"), [
    (((b"bartizan-client", WORD),), False), (((b"bartizan-client", WORD), (b"Bartizan-Client", WORD)), True),
    (((b"bartizan-client", WORD[:-1]),), True), (((b"bartizan-client", b""),), True), ((), True),
])
def test_a_word_that_does_not_count(fields: tuple[tuple[bytes, bytes], ...], is_edge: bool) -> None:
    headers, told = entering(*fields, is_edge=is_edge)
    del headers[b"x-request-id"]
    assert headers == dict(CALLER)
    assert told.client == ""


@pytest.mark.parametrize("way", [mesh_headers, egress_headers])
def test_an_application_cannot_say_it(way: Callable[[RequestHead, Record, random.Random], Headers]) -> None:
    request = head((b"Bartizan-Client", WORD))
    assert b"bartizan-client" not in dict(way(request, record(), RNG))
    assert request.headers == [(b"Accept", b"*/*"), (b"Cookie", b"a=b")]


def test_a_client_cannot_say_it() -> None:
    request, told = head((b"bartizan-client", word_of(Client("192.0.2.66", "http", 80), b"evil", None)), (b"x-request-id", b"a")), record()
    headers = edge_headers(request, told, partial(word_of, VISITOR), RNG)
    assert [name for name, _ in headers] == [b"bartizan-client", b"x-request-id"]
    assert headers[0][1] == word_of(VISITOR, b"a", None)
    assert told.request_id != "a"
    assert request.headers == [(b"Accept", b"*/*"), (b"Cookie", b"a=b")]


# -- ID and trace


Way = Callable[[RequestHead, Record], Headers]


def head(*fields: tuple[bytes, bytes]) -> RequestHead:
    return RequestHead(b"GET", b"/", b"a", None, [(b"Accept", b"*/*"), *fields, (b"Cookie", b"a=b")], NO_BODY, False)


def record() -> Record:
    return Record(NOW, "inbound")


def of_a_peer(request: RequestHead, told: Record) -> Headers:
    return inbound_headers(request, told, [], RNG, is_mesh=True)


def of_nobody(request: RequestHead, told: Record) -> Headers:
    return inbound_headers(request, told, [], RNG, is_mesh=False)


def to_a_peer(request: RequestHead, told: Record) -> Headers:
    return mesh_headers(request, told, RNG)


def to_a_stranger(request: RequestHead, told: Record) -> Headers:
    return egress_headers(request, told, RNG)


@pytest.mark.parametrize("way", [of_a_peer, to_a_peer])
def test_id_and_trace_go_on_once(way: Way) -> None:
    request, told = head((b"X-Request-ID", b"abc-1"), (b"TraceParent", PARENT), (b"tracestate", b"a=1"), (b"Tracestate", b"b=2")), record()
    headers = way(request, told)
    assert request.headers == [(b"Accept", b"*/*"), (b"Cookie", b"a=b")]
    assert headers == [
        (b"x-request-id", b"abc-1"), (b"traceparent", PARENT), (b"tracestate", b"a=1,b=2"),
    ]
    assert (told.request_id, told.trace_id, told.parent_id) == ("abc-1", TRACE, SPAN)


@pytest.mark.parametrize("way", [of_a_peer, to_a_peer, of_nobody, to_a_stranger])
@pytest.mark.parametrize("given", [
    (), (b"a" * 65,), (b"",), (b"a b",), (b"x\xff",), (b"a_b",), (b"a\r\n",), (b"a,b",), (b"a", b"b"), (b"a", b"a"),
])
def test_an_id_that_is_not_plain_is_replaced(given: tuple[bytes, ...], way: Way) -> None:
    request, told = head(*((b"x-request-id", value) for value in given)), record()
    headers = way(request, told)
    assert re.fullmatch("[0-9a-f]{32}", told.request_id)
    assert headers == ([] if way is to_a_stranger else [(b"x-request-id", told.request_id.encode())])
    assert request.headers == [(b"Accept", b"*/*"), (b"Cookie", b"a=b")]


def test_nobody_is_believed_an_id_or_a_trace() -> None:
    request, told = head((b"x-request-id", b"abc-1"), (b"traceparent", PARENT), (b"tracestate", b"a=1")), record()
    ((name, value),) = of_nobody(request, told)
    assert (name, told.trace_id) == (b"x-request-id", "")
    assert value not in (b"abc-1", b"")
    assert request.headers == [(b"Accept", b"*/*"), (b"Cookie", b"a=b")]


def test_a_broken_trace_is_dropped() -> None:
    request, told = head((b"traceparent", PARENT + b"0"), (b"tracestate", b"a=1")), record()
    ((name, _),) = of_a_peer(request, told)
    assert (name, told.trace_id, told.parent_id) == (b"x-request-id", "", "")


@pytest.mark.parametrize("way", [of_a_peer, to_a_peer])
def test_no_trace_begins_here(way: Way) -> None:
    request, told = head((b"tracestate", b"a=1")), record()
    assert [name for name, _ in way(request, told)] == [b"x-request-id"]
    assert told.trace_id == ""
    assert request.headers == [(b"Accept", b"*/*"), (b"Cookie", b"a=b")]


def test_nothing_of_the_mesh_leaves_it() -> None:
    request, told = head((b"x-request-id", b"abc-1"), (b"traceparent", PARENT), (b"tracestate", b"a=1"), (b"Baggage", b"user=7")), record()
    assert to_a_stranger(request, told) == []
    assert request.headers == [(b"Accept", b"*/*"), (b"Cookie", b"a=b")]
    assert (told.request_id, told.trace_id) == ("abc-1", TRACE)     # for the log

