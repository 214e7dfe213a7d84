"""The table of our own answers, and each reason given once by the recipe whose word it is."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import unquote

import dns.message
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model import errors, ports
from sidecar.model.address import Address
from sidecar.model.decision import Permit
from sidecar.model.edge import Access, ApiKeys, External, TlsHost
from sidecar.model.egress import ClientCertificate, DnsLimits, EgressHost, EgressRange, GatewayRef, Origination, Outbound
from sidecar.model.reason import BY_CODE, Reason
from sidecar.model.route import Caller, Fault, Jwt, RateLimit, Route
from sidecar.model.service import Backend, Balancing, Limits, Service
from sidecar.model.snapshot import Inbound
from sidecar.model.trust import Revoked
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import ALPN_HTTP2, ALPN_TCP
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.rules import Rules
from sidecar.protocol.head import read_response
from sidecar.protocol.http2 import frames
from sidecar.protocol.start_tls.postgres import TLS_REQUEST
from sidecar.proxy.respond import TABLE, explain, explanation
from tests.helpers import edge, network, pki
from tests.helpers.clients import Door, edge_rules
from tests.helpers.exchange import GET, post
from tests.helpers.http2 import OPENING, goaways
from tests.helpers.leave import https, partner, pod
from tests.helpers.mesh import APP, arrive, call, echo, http_app, meshed, read_rest, root, sidecar
from tests.helpers.network import isolation
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import POD, Bench, Serve, rules
from tests.protocol.start_tls.test_postgres import STARTUP
from tests.proxy.outbound.support import ENDPOINT, ONE, VIP, mesh
from tests.proxy.test_egress import DIALLED, HOST, SERVER, approved
from tests.proxy.test_egress_tcp import approved as approved_for_tcp
from tests.proxy.test_egress_tcp import outside as outside_by_tcp
from tests.proxy.test_start_tls import speaking


def test_the_table_has_a_row_for_each_reason() -> None:
    assert set(TABLE) == set(Reason)
    for row in TABLE.values():
        assert row.status in set(HTTPStatus)
        assert 1 <= row.grpc <= 16


def _leaves(kind: type[Exception]) -> list[type[Exception]]:
    below = kind.__subclasses__()
    return [leaf for sub in below for leaf in _leaves(sub)] if below else [kind]


def test_each_error_with_a_reason_of_its_own_has_a_row() -> None:
    named = [leaf.reason for leaf in _leaves(errors.ReasonedError) if hasattr(leaf, "reason")]      # type: ignore[attr-defined]
    assert len(named) >= 10
    assert all(reason in TABLE for reason in named)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_explanation_is_one_response(reason: Reason) -> None:
    data = explain(reason, "a rule \u2603\r\nx: y", "a detail \ud800\r\n")
    found = read_response(data, b"GET")
    assert found is not None
    head, length = found
    assert head.status == TABLE[reason].status
    assert head.is_last
    assert len(data) - length == head.body.length
    fields = dict(head.headers)
    assert fields[b"x-bartizan-reason"] == f"{reason.code} {reason.token}".encode()
    challenge = {b"www-authenticate"} if head.status == 401 else set()
    assert set(fields) == {b"content-type", b"x-bartizan-reason", b"x-bartizan-rule"} | challenge
    for text in (reason.code, reason.cause, reason.cure, "rule: "):
        assert text.encode() in data[length:]


@pytest.mark.parametrize("reason", list(Reason))
def test_a_grpc_caller_is_told_in_its_own_words(reason: Reason) -> None:
    head, body = explanation(reason, "rule", "100 % \u2603\r\nx: y", is_grpc=True)
    fields = dict(head.headers)
    assert (head.status, body, fields[b"content-type"]) == (200, b"", b"application/grpc")
    assert fields[b"grpc-status"] == str(TABLE[reason].grpc).encode()
    message = fields[b"grpc-message"]
    assert unquote(message.decode("ascii")) == f"{reason.code} {reason.token}: 100 % \u2603\r\nx: y"
    assert b"\r" not in message
    assert fields[b"x-bartizan-reason"] == f"{reason.code} {reason.token}".encode()


# -- each reason, given by a recipe

Give = Callable[[trio.Nursery], Awaitable[tuple[Bench, bytes]]]


def entering(
    inbound: Inbound = Inbound(), text: bytes = GET, *, wall: float = 0, known: bool = True,  # noqa: B008
    before: Callable[[Bench], object] = lambda _: None, connected: Callable[[Bench], object] = lambda _: None,
) -> Give:
    """By mesh mTLS, from WEB; `wall` is how far the clock jumps before the request, when `connected` has been called."""
    async def give(nursery: trio.Nursery) -> tuple[Bench, bytes]:
        bench = meshed(nursery, rules(inbound, identity=ORDERS))
        before(bench)
        stream = await call(arrive(nursery, bench))
        connected(bench)
        if not known:
            bench.runtime.rules.set(None)
        bench.wall += wall
        await stream.send_all(text)
        answer = await stream.receive_some()
        stream.close()
        return bench, answer

    return give


def plain(inbound: Inbound, text: bytes = GET, *, to: Address = APP) -> Give:
    async def give(nursery: trio.Nursery) -> tuple[Bench, bytes]:
        bench = meshed(nursery, rules(inbound, identity=ORDERS))
        stream = SocketStream(arrive(nursery, bench, to))
        try:
            await stream.send_all(text)
            answer = await read_rest(stream)
        except trio.BrokenResourceError:
            answer = b""
        stream.close()
        return bench, answer

    return give


async def opaque_bytes(nursery: trio.Nursery) -> tuple[Bench, bytes]:
    bench = meshed(nursery, rules(Inbound(ports={APP.port: "http"}), identity=ORDERS))
    bench.dialer.servers[APP] = echo
    stream = await call(arrive(nursery, bench), alpn=ALPN_TCP)
    await wait_all_tasks_blocked()
    stream.close()
    return bench, b""


def frames_of_nobody(bad: bytes) -> Give:
    """A connection that speaks HTTP/2 and then sends `bad`."""
    async def give(nursery: trio.Nursery) -> tuple[Bench, bytes]:
        bench = meshed(nursery, rules(identity=ORDERS))
        stream = await call(arrive(nursery, bench), alpn=ALPN_HTTP2)
        await stream.send_all(OPENING + bad)
        assert goaways(await read_rest(stream))
        stream.close()
        return bench, b""

    return give


async def wrong_certificate(nursery: trio.Nursery) -> tuple[Bench, bytes]:
    bench = meshed(nursery, rules(identity=ORDERS))
    stranger = pki.mesh_client(pki.issue(root("stranger"), pki.uri(WEB)), root())
    client = TlsStream(stranger, arrive(nursery, bench), is_server=False)
    await client.handshake(errors.NotVerified)
    await wait_all_tasks_blocked()
    client.close()
    return bench, b""


def leaving(
    known: Rules | None = None, *, to: Address = DIALLED, host: str = HOST, found: str = SERVER.host,
    names: tuple[str, ...] = (HOST,), is_open: bool = True, serve: Serve | None = None, has_certificate: bool = True,
) -> Give:
    async def give(nursery: trio.Nursery) -> tuple[Bench, bytes]:
        web = pod(nursery, known or approved())
        if found:
            web.resolver.names[HOST] = (found,)
        web.bench.dialer.servers[SERVER] = serve or https(partner(*names), http_app([], b"SSH-2.0\r\n\r\n"))
        web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, http_app([], b""), identity=WEB)[1]
        web.bench.runtime.is_outbound_open.set(is_open)
        if not has_certificate:
            web.bench.runtime.tls.set(None)
        app = web.dial(to)
        await app.send_all(f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
        answer = await app.receive_some()
        app.close()
        return web.bench, answer

    return give


async def no_name_at_all(nursery: trio.Nursery) -> tuple[Bench, bytes]:
    web = pod(nursery, approved())
    app = web.dial(DIALLED)
    await app.send_all(b"\x00\x01")
    await wait_all_tasks_blocked()
    app.close()
    return web.bench, b""


def asking(name: str) -> Give:
    """The DNS guard, where *.partner.example is approved."""
    async def give(nursery: trio.Nursery) -> tuple[Bench, bytes]:
        wild = EgressHost("*.partner.example", "partner")
        web = pod(nursery, rules(outbound=Outbound(hosts=(wild,), dns=DnsLimits(name_bytes=10))))
        assert await web.guard.answer(dns.message.make_query(name, "A").to_wire())
        return web.bench, b""

    return give


async def database_without_tls(nursery: trio.Nursery) -> tuple[Bench, bytes]:
    known = approved_for_tcp(Origination(start_tls="postgres"))
    web, to = outside_by_tcp(nursery, known, speaking([(TLS_REQUEST, b"N")], echo))
    app = web.dial(to)
    await app.send_all(STARTUP)
    assert b"BZ0213" in await read_rest(app)    # in its own words, not in those of HTTP
    app.close()
    return web.bench, b""


async def one_too_many(nursery: trio.Nursery) -> tuple[Bench, bytes]:
    limited = Service("orders.shop", 80, (VIP.host,), endpoints=(ONE,), balancing=Balancing(limits=Limits(requests=1)))
    web = pod(nursery, rules(outbound=Outbound(services=(limited,))))
    web.bench.dialer.silent.add(ENDPOINT)
    await web.dial(VIP).send_all(GET)
    await wait_all_tasks_blocked()
    app = web.dial(VIP)
    await app.send_all(GET)
    return web.bench, bytes(await app.receive_some())


async def hung_up(sock: object) -> None:
    pass


async def silent(sock: object) -> None:
    await trio.sleep_forever()


def from_outside(text: bytes, host: TlsHost | None = None) -> Give:
    """What a client of an ingress gateway sends in plain HTTP, or its handshake with a host."""
    async def give(nursery: trio.Nursery) -> tuple[Bench, bytes]:
        known = edge.front(nursery, edge.edge_rules(edge.route(hosts=(edge.HOST,)), tls=(host,) if host is not None else ()))
        if host is not None:
            with pytest.raises(errors.NotVerified):
                await known.tls()
            return known.bench, b""
        stream = known.plain()
        await stream.send_all(text)
        return known.bench, bytes(await stream.receive_some())

    return give


def get_of(host: str) -> bytes:
    return f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()


def head(text: bytes) -> Give:
    return entering(text=text)


def by(**more: object) -> Inbound:
    return Inbound(routes=(replace(FOR_ANYBODY, **more),))


FOR_ANYBODY = Route("r", (Caller(),))
ONE_A_DAY = by(rate_limit=RateLimit(1, 86400.0))


def use_up(bench: Bench) -> None:
    (route,) = ONE_A_DAY.routes or ()
    assert bench.runtime.admission.limit(Permit("r", route), None, WEB) is None


def revoke(bench: Bench) -> None:
    tls = bench.runtime.tls.current
    assert tls is not None
    bench.runtime.tls.set(MeshTls.of(tls.credentials, pki.anchors(root(), revoked=Revoked(identities=(WEB,)))))


def at_the_door(access: Access, authorizer: bytes = b"") -> Give:
    async def give(nursery: trio.Nursery) -> tuple[Bench, bytes]:
        service = Service("orders.shop", 80, (VIP.host,), endpoints=(ONE,) if authorizer else ())
        door = Door(nursery, edge_rules(access, outbound=Outbound((service,))))
        door.gateway.bench.dialer.servers[ENDPOINT] = sidecar(nursery, http_app([], authorizer), at=ENDPOINT)[1]
        return door.gateway.bench, await door.knock(GET)

    return give


ASKS = Access(external=External(service=Backend("orders.shop", 80)))
GIVEN: dict[Reason, Give] = {
    Reason.NO_ROUTE: entering(Inbound(routes=())),
    Reason.NOT_ALLOWED: entering(Inbound(routes=(Route("r", (Caller("other", "shop"),)),))),
    Reason.PLAINTEXT: plain(Inbound()),
    Reason.PERMISSIVE_ENDED: plain(Inbound(mode="permissive", permissive_until=1.0)),
    Reason.OWN_PORT: plain(Inbound(), to=Address(POD, ports.OUTBOUND)),
    Reason.RATE_LIMITED: entering(ONE_A_DAY, before=use_up),
    Reason.TOO_MANY_REQUESTS: entering(by(concurrency=1), before=lambda bench: bench.runtime.admission.under_way.update("r")),
    Reason.BODY_TOO_LARGE: entering(by(max_body_bytes=1), post(2, b"ab")),
    Reason.TOKEN_REFUSED: entering(by(jwt=Jwt("https://issuer.example", ("shop",)))),
    Reason.CALLER_DENIED: entering(by(deny=(Caller("web", "shop"),))),
    Reason.FAULT_INJECTED: entering(by(fault=Fault(abort_status=503))),
    Reason.NETWORK_POLICY_IN: entering(Inbound(isolation=isolation("192.0.2.0/24"))),
    Reason.NO_EDGE_ROUTE: from_outside(get_of("elsewhere.example")),
    Reason.NOT_AUTHENTICATED: at_the_door(Access(api_keys=ApiKeys(()))),
    Reason.REFUSED_BY_AUTHORIZER: at_the_door(ASKS, b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"),
    Reason.AUTHORIZER_UNREACHED: at_the_door(ASKS),
    Reason.ACCESS_UNUSABLE: at_the_door(Access(unusable="the Secret shop/users is missing")),
    Reason.HOST_NOT_APPROVED: leaving(host="evil.example"),
    Reason.ADDRESS_NOT_APPROVED: no_name_at_all,
    Reason.NETWORK_POLICY_OUT: leaving(network.leaving(approved(), "192.0.2.0/24")),
    Reason.BUDGET_EXHAUSTED: leaving(approved(bytes_per_hour=1)),
    Reason.ENTRY_UNREADABLE: leaving(approved(unreadable="hosts[0].tls: there is no field x")),
    Reason.REQUEST_NOT_APPROVED: leaving(approved(methods=("POST",))),
    Reason.GATEWAY_UNREACHED: leaving(approved(gateway=GatewayRef("egress.gateways", 443))),
    Reason.CLIENT_CERTIFICATE_MISSING: leaving(approved(client_certificate=ClientCertificate("s"))),
    Reason.SPECIAL_ADDRESS: leaving(found="169.254.169.254"),
    Reason.ROOTS_UNUSABLE: leaving(approved(roots="no PEM")),
    Reason.SERVER_NOT_VERIFIED: leaving(names=("other.example",)),
    Reason.REDIRECT_LOST: leaving(is_open=False),
    Reason.MISDIRECTED: leaving(host=f"{HOST}:8080"),
    Reason.NAME_NOT_APPROVED: asking("evil.example"),
    Reason.NAME_SUSPICIOUS: asking(f"{'a' * 20}.partner.example"),
    Reason.START_TLS_REFUSED: database_without_tls,
    Reason.BAD_HEAD: head(b"GET / HTTP/1.1\nhost: a\n\n"),
    Reason.BAD_FRAMING: head(post(1, b"a", b"content-length: 2")),
    Reason.BAD_HOST: head(b"GET / HTTP/1.1\r\n\r\n"),
    Reason.BAD_TARGET: head(b"GET /../x HTTP/1.1\r\nhost: a\r\n\r\n"),
    Reason.METHOD: head(b"TRACE / HTTP/1.1\r\nhost: a\r\n\r\n"),
    Reason.HEAD_TOO_LARGE: head(b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 70_000),
    Reason.VERSION: head(b"GET / HTTP/1.2\r\nhost: a\r\n\r\n"),
    Reason.EXPECTATION: head(post(1, b"", b"expect: tea")),
    Reason.TARGET_TOO_LONG: head(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nhost: a\r\n\r\n"),
    Reason.NOT_HTTP: opaque_bytes,
    Reason.TIMED_OUT_DOWNSTREAM: head(GET[:-2]),
    Reason.CONNECT_FAILED: entering(),
    Reason.TIMED_OUT: leaving(serve=silent),
    Reason.RESET: leaving(serve=https(partner(HOST), hung_up)),
    Reason.NO_ENDPOINT: leaving(rules(outbound=Outbound(services=(Service("orders.shop", 80, (VIP.host,)),))), to=VIP),
    Reason.BAD_RESPONSE: leaving(),
    Reason.NAME_NOT_RESOLVED: leaving(found=""),
    Reason.CIRCUIT_OPEN: one_too_many,
    Reason.PEER_NOT_VERIFIED: wrong_certificate,
    Reason.HTTP2_VIOLATION: frames_of_nobody(frames.render(frames.DATA, 0, 0, b"x")),
    Reason.HTTP2_FLOOD: frames_of_nobody(frames.render(frames.PING, 0, 0, b"12345678") * 5000),
    Reason.WRONG_IDENTITY: leaving(mesh(ONE), to=VIP),
    Reason.NO_IDENTITY: leaving(mesh(ONE), to=VIP, has_certificate=False),
    Reason.REVOKED: entering(connected=revoke),
    Reason.CERTIFICATE_UNUSABLE: from_outside(b"", TlsHost("shop/gone", (edge.HOST,))),
    Reason.CLIENT_TLS: from_outside(b"", edge.tls_host("other.example.com")),
    Reason.NO_SNAPSHOT: entering(known=False),
    Reason.NOT_TOLD: leaving(rules(outbound=Outbound(mesh_ranges=("10.96.7.0/24",), ranges=(EgressRange("10.96.7.0/24", "all"),))), to=VIP),
}
WITHOUT_WORDS = {       # nothing is said to a peer that does not speak HTTP, or that is nobody
    Reason.OWN_PORT, Reason.ADDRESS_NOT_APPROVED, Reason.NOT_HTTP, Reason.PEER_NOT_VERIFIED, Reason.START_TLS_REFUSED,
    Reason.HTTP2_VIOLATION, Reason.HTTP2_FLOOD,
    Reason.CLIENT_TLS, Reason.CERTIFICATE_UNUSABLE,     # in an alert of TLS: tests/proxy/test_edge.py
    Reason.NAME_NOT_APPROVED, Reason.NAME_SUSPICIOUS,   # in the words of DNS: tests/proxy/test_dns_guard.py
}


def test_each_reason_has_its_code_and_its_recipe() -> None:
    assert set(GIVEN) == set(Reason)
    assert len(BY_CODE) == len(Reason)


@pytest.mark.parametrize("reason", list(Reason))
async def test_each_reason_is_given(reason: Reason, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bench, answer = await GIVEN[reason](nursery)
    await wait_all_tasks_blocked()
    codes = bench.codes if reason not in (Reason.REFUSED_BY_AUTHORIZER, Reason.AUTHORIZER_UNREACHED) else bench.codes[1:]
    assert codes == [reason.code]       # but for the question, which is an exchange of its own
    if reason in WITHOUT_WORDS:
        assert answer == b""
    else:
        assert answer.startswith(b"HTTP/1.1 %d " % TABLE[reason].status)
        assert f"\r\nx-bartizan-reason: {reason.code} {reason.token}\r\n".encode() in answer
        assert bench.lines[-1]["status"] == TABLE[reason].status
    assert f'code="{reason.code}"' in bench.runtime.metrics.render({})
