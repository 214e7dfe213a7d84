"""The operator's question gets the recipe's own verdict: in every situation what the application meets is what is said, and no byte
of a request is sent for it.
"""

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest
import trio
from OpenSSL import SSL
from OpenSSL._util import lib
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.egress import ClientCertificate, EgressHost, EgressRange, GatewayCaller, GatewayRef, Origination, Outbound, Waiver
from sidecar.model.errors import ConfigError, NotVerified
from sidecar.model.explanation import MAX_ANSWER_BYTES, STEPS, Explanation, Question, Step
from sidecar.model.reason import Reason
from sidecar.model.route import Caller, Match, PathMatch, Route
from sidecar.model.service import Endpoint, Service
from sidecar.model.snapshot import Inbound
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import https_client
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.rules import Rules
from sidecar.protocol.gateway_preface import render_refusal
from sidecar.proxy.explain import PLACES, WITHIN_S, explain
from tests.helpers import gateway, pki
from tests.helpers.exchange import OK
from tests.helpers.leave import Pod, https, partner, pod
from tests.helpers.mesh import echo, http_app, root, sidecar, tls_of
from tests.helpers.network import POLICY, leaving
from tests.helpers.pki import ORDERS
from tests.helpers.runtime import rules
from tests.protocol.start_tls.test_mysql import greeting

HOST = "api.partner.example"
SERVER = Address("203.0.113.80", 443)
DATABASE = Address(SERVER.host, 5432)
DIALLED = Address(SERVER.host, 80)
ROOTS = pki.pem([root("public").certificate])
CLIENT = pki.issue(root("clients"), subject="shop-web", purposes=[pki.CLIENT])
VIP, DB = Address("10.96.7.1", 80), Address("10.96.7.2", 5432)
ENDPOINT = Address("10.1.0.7", 8080)
FAR = Address("198.51.100.7", 5432)


def known(services: tuple[Service, ...] = (), **changed: Any) -> Rules:
    of_tls = {"roots": ROOTS} | {name: changed.pop(name) for name in list(changed) if name in Origination.__struct_fields__}
    ranges = (EgressRange("198.51.100.0/24", "far-db", (5432,), gateway=changed.pop("range_gateway", None)),)
    host = EgressHost(HOST, "partners/api", tls=Origination(**of_tls), **changed)
    return rules(outbound=Outbound(services, (host,), ranges, resolvers=("10.96.0.10",)))


def observing() -> Rules:
    return rules(outbound=Outbound(mode="observe", observe_until=9e9, resolvers=("10.96.0.10",)))


def by_name(*, is_originated: bool = True, **changed: Any) -> Rules:
    tls = Origination(**{"roots": ROOTS} | changed) if is_originated else None
    host = EgressHost(HOST, "partners/db", plain_ports=(), tls_ports=(), tcp_ports=(DATABASE.port,), tls=tls)
    return rules(outbound=Outbound(hosts=(host,), resolvers=("10.96.0.10",)))


def mesh(identity: str = ORDERS, endpoints: int = 1) -> Rules:
    places = (Endpoint(ENDPOINT.host, ENDPOINT.port, identity),) * endpoints
    return known((Service("orders.shop", 80, (VIP.host,), "http", places), Service("db.shop", DB.port, (DB.host,), "opaque", places)))


@dataclass(frozen=True)
class Situation:
    """
    Args:
        at: the step that says no; empty: none does.
        to: what the application dials.
        holder: of the host's certificate.
        serve: what the host does behind TLS; None: nothing listens there.
    """

    name: str
    rules: Rules | None
    question: Question
    code: str = ""
    at: str = ""
    to: Address = DIALLED
    holder: pki.Holder | None = None
    answers: bytes | None = OK
    client_root: bool = False
    prepare: Callable[[Pod], None] = lambda _: None


def resolves_to(*addresses: str) -> Callable[[Pod], None]:
    return lambda web: web.resolver.names.update({HOST: addresses})


def plain(host: str = HOST, port: int = 80, **more: Any) -> Question:
    return Question(host, port, "plain", **more)


GOOD = known()
MUTUAL = {"client_certificate": ClientCertificate("web-client", CLIENT.chain_pem, CLIENT.key_pem)}
ONE = Endpoint(ENDPOINT.host, ENDPOINT.port, ORDERS)
NOBODY = Address("203.0.113.1", 80)
SITUATIONS = [
    Situation("approved", GOOD, plain()),
    Situation("by approval alone", GOOD, Question(HOST, 80)),
    Situation("mutual", known(**MUTUAL), plain(), client_root=True),
    Situation("without its client certificate", GOOD, plain(), "BZ0403", "proof", client_root=True),
    Situation("no snapshot", None, plain(), "BZ0601", "snapshot"),
    Situation("packet rules lost", GOOD, plain(), "BZ0207", "interception",
              prepare=lambda web: web.bench.runtime.is_outbound_open.set(False)),
    Situation("unapproved", GOOD, plain("evil.example"), "BZ0201", "approval"),
    Situation("unapproved port", GOOD, plain(port=8080), "BZ0201", "approval", to=Address(SERVER.host, 8080)),
    Situation("unapproved method", known(methods=("POST",)), plain(), "BZ0210", "approval"),
    Situation("unapproved path", known(paths=("/v1",)), plain(path="/v2"), "BZ0210", "approval"),
    Situation("path below", known(paths=("/v1",)), plain(path="/v1/x?y=z")),
    Situation("no name", GOOD, plain("0177.0.0.1"), "BZ0303", "destination"),
    Situation("unsafe path", GOOD, plain(path="/a/../b"), "BZ0304", "destination"),
    Situation("an address by HTTP", GOOD, plain("203.0.113.80"), "BZ0201", "approval"),
    Situation("secret missing", known(client_certificate=ClientCertificate("web-client")), plain(), "BZ0203", "verification"),
    Situation("roots unusable", known(roots="no PEM"), plain(), "BZ0205", "verification"),
    Situation("name unknown", GOOD, plain(), "BZ0406", "resolution", prepare=lambda web: web.resolver.names.clear()),
    Situation("name without address", GOOD, plain(), "BZ0406", "resolution", prepare=resolves_to()),
    Situation("special address", GOOD, plain(), "BZ0204", "resolution", prepare=resolves_to("169.254.169.254")),
    Situation("nobody listens", GOOD, plain(), "BZ0401", "connection", answers=None),
    Situation("black hole", GOOD, plain(), "BZ0401", "connection", prepare=lambda web: web.bench.dialer.silent.add(SERVER)),
    Situation("another's certificate", GOOD, plain(), "BZ0206", "proof", holder=partner("other.example")),
    Situation("ended certificate", GOOD, plain(), "BZ0206", "proof", holder=pki.issue(root("public"), pki.host(HOST), ends=-pki.HOUR / 2)),
    Situation("unknown authority", GOOD, plain(), "BZ0206", "proof", holder=partner(HOST, authority="stranger")),
    Situation("TLS of its own", GOOD, Question(HOST, 443), to=SERVER),
    Situation("TLS of its own, roots that are none", known(roots="no PEM"), Question(HOST, 443), to=SERVER),
    Situation("TLS of its own, unapproved", GOOD, Question("evil.example", 443), "BZ0201", "approval", to=SERVER),
    Situation("TLS of its own, nobody listens", GOOD, Question(HOST, 443, "tls"), "BZ0401", "connection", to=SERVER, answers=None),
    Situation("TLS of its own, special address", GOOD, Question(HOST, 443, "tls"), "BZ0204", "resolution", to=SERVER,
              prepare=resolves_to("10.0.0.1")),
    Situation("range", GOOD, Question(FAR.host, FAR.port), to=FAR),
    Situation("range, another port", GOOD, Question(FAR.host, 5433), "BZ0202", "approval", to=Address(FAR.host, 5433)),
    Situation("no range", GOOD, Question("192.0.2.1", 5432, "tcp"), "BZ0202", "approval", to=Address("192.0.2.1", 5432)),
    Situation("Service", mesh(), plain("orders"), to=VIP),
    Situation("Service by its whole name", mesh(), plain("orders.shop.svc.cluster.local"), to=VIP),
    Situation("Service by its address", mesh(), plain(VIP.host), to=VIP),
    Situation("Service of an impostor", mesh(pki.WEB), plain("orders.shop"), "BZ0502", "proof", to=VIP),
    Situation("Service, no identity", mesh(), plain("orders"), "BZ0503", "verification", to=VIP,
              prepare=lambda web: web.bench.runtime.tls.set(None)),
    Situation("opaque Service", mesh(), Question("db", DB.port), to=DB),
    Situation("opaque Service of an impostor", mesh(pki.WEB), Question("db", DB.port), "BZ0502", "proof", to=DB),
    Situation("isolated", leaving(GOOD, f"{SERVER.host}/32", port=443), plain()),
    Situation("isolated, unlisted", leaving(GOOD, f"{SERVER.host}/32", port=80), plain(), "BZ0216", "isolation"),
    Situation("isolated, TLS of its own", leaving(GOOD, "192.0.2.0/24"), Question(HOST, 443), "BZ0216", "isolation", to=SERVER),
    Situation("isolated, range", leaving(GOOD, f"{FAR.host}/32"), Question(FAR.host, FAR.port), to=FAR),
    Situation("isolated, range, unlisted", leaving(GOOD, "192.0.2.0/24"), Question(FAR.host, FAR.port), "BZ0216", "isolation", to=FAR),
    Situation("isolated, Service", leaving(mesh(), ONE), plain("orders"), to=VIP),
    Situation("isolated, Service, unlisted", leaving(mesh(), f"{VIP.host}/32"), plain("orders"), "BZ0216", "isolation", to=VIP),
    Situation("isolated, opaque Service, unlisted", leaving(mesh(), "192.0.2.0/24"), Question("db", 5432), "BZ0216", "isolation", to=DB),
    Situation("isolated, unapproved", leaving(GOOD, "0.0.0.0/0"), plain("evil.example"), "BZ0201", "approval"),
    Situation("approved by a policy", leaving(rules(), "198.51.100.0/24", approves=True), Question(FAR.host, FAR.port), to=FAR),
    Situation("approved by no policy", leaving(rules(), "192.0.2.0/24", approves=True), Question(FAR.host, FAR.port), "BZ0216",
              "isolation", to=FAR),
    Situation("approved by no policy, HTTP", leaving(rules(), "192.0.2.0/24", approves=True), plain(DIALLED.host), "BZ0216", "isolation"),
    Situation("gateway not there", known(gateway=GatewayRef("gate.egress", 8443)), plain(), "BZ0214", "connection"),
    Situation("gateway not there, TLS of its own", known(gateway=GatewayRef("gate.egress", 8443)), Question(HOST, 443), "BZ0214",
              "connection", to=SERVER),
    Situation("gateway not there, range", known(range_gateway=GatewayRef("gate.egress", 8443)), Question(FAR.host, FAR.port), "BZ0214",
              "connection", to=FAR),
    Situation("observed", observing(), plain("new.example"), to=Address("203.0.113.90", 80)),
    Situation("observed address", observing(), Question(FAR.host, 5433), to=Address(FAR.host, 5433)),
    Situation("budget spent", known(bytes_per_hour=10), plain(), "BZ0209", "approval",
              prepare=lambda web: web.bench.runtime.budgets._budget("partners/api").spend(11, trio.current_time())),
    Situation("waived", known(waivers=(Waiver("expiry", 9e9),)), plain(),
              holder=pki.issue(root("public"), pki.host(HOST), ends=-pki.HOUR / 2)),
    Situation("TCP by name", by_name(), Question(HOST, 5432), to=DATABASE),
    Situation("TCP by name, as it speaks", by_name(is_originated=False), Question(HOST, 5432), to=DATABASE),
    Situation("TCP by name, unapproved port", by_name(), Question(HOST, 5433, "tcp"), "BZ0201", "approval", to=Address(SERVER.host, 5433)),
    Situation("TCP by name, secret missing", by_name(client_certificate=ClientCertificate("web-client")), Question(HOST, 5432), "BZ0203",
              "verification", to=DATABASE),
    Situation("TCP by name, special address", by_name(), Question(HOST, 5432), "BZ0204", "resolution", to=DATABASE,
              prepare=resolves_to("10.0.0.1")),
    Situation("TCP by name, nobody listens", by_name(), Question(HOST, 5432), "BZ0401", "connection", to=DATABASE, answers=None),
    Situation("TCP by name, another's certificate", by_name(), Question(HOST, 5432), "BZ0206", "proof", to=DATABASE,
              holder=partner("other.example")),
    Situation("TCP by name, TLS asked for in vain", by_name(start_tls="postgres"), Question(HOST, 5432), "BZ0213", "proof", to=DATABASE),
    Situation("own port", GOOD, plain(port=15001), "BZ0105", "destination", to=Address(SERVER.host, 15001)),
]
each = pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.name)


async def greet(sock: socket.socket) -> None:
    """A server that speaks first, and not of TLS."""
    await SocketStream(sock).send_all(b"hello")
    await echo(sock)


def arrange(situation: Situation, nursery: trio.Nursery, seen: list[bytes]) -> Pod:
    web = pod(nursery, situation.rules)
    web.resolver.names[HOST] = (SERVER.host,)
    if situation.answers is not None:
        behind = http_app(seen, situation.answers) if situation.question.kind == "plain" or situation.question.port == 80 else echo
        web.bench.dialer.servers[SERVER] = https(
            situation.holder or partner(HOST), behind, client_root=root("clients") if situation.client_root else None)
    if situation.rules is not None and situation.to == DATABASE and situation.answers is not None:
        tls = situation.rules.snapshot.outbound.hosts[0].tls
        said = greet if tls is None or tls.start_tls is not None else https(situation.holder or partner(HOST), greet)
        web.bench.dialer.servers[DATABASE] = said
    web.bench.dialer.servers[FAR] = web.bench.dialer.servers[Address(FAR.host, 5433)] = echo
    web.resolver.names["new.example"] = ("203.0.113.90",)
    web.bench.dialer.servers[Address("203.0.113.90", 80)] = http_app(seen, OK)
    opaque = situation.question.port == DB.port
    inbound = Inbound(ports={ENDPOINT.port: "opaque"}) if opaque else Inbound()
    web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, echo if opaque else http_app(seen, OK), inbound)[1]
    situation.prepare(web)
    return web


def failing(explanation: Explanation) -> list[Step]:
    return [one for one in explanation.steps if one.outcome in ("refused", "failed")]


async def put(web: Pod, question: Question) -> Explanation:
    return await explain(question, web.bench.runtime, web.originator, web.guard)


@each
async def test_each_step_that_says_no(situation: Situation, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    seen: list[bytes] = []
    web = arrange(situation, nursery, seen)
    found = await put(web, situation.question)
    await wait_all_tasks_blocked()
    assert (found.code, [one.name for one in failing(found)]) == (situation.code, [situation.at] if situation.at else [])
    assert [one.code for one in failing(found)] == ([situation.code] if situation.code else [])
    names = [one.name for one in found.steps]
    assert names == sorted(names, key=STEPS.index)
    if situation.at:
        assert all(one.outcome == "skipped" for one in found.steps[names.index(failing(found)[0].name) + 1:])
    assert seen == []                               # not one byte of a request
    assert web.bench.runtime.pool.opened.total() == len(web.bench.runtime.accounts) == 0
    assert len(msgspec.json.encode(found)) < MAX_ANSWER_BYTES


@each
async def test_the_application_meets_the_same(situation: Situation, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = arrange(situation, nursery, [])
    question = situation.question
    name = web.bench.runtime.synthetic.address(question.host) if question.host == HOST and situation.to.port in (5432, 5433) else None
    app = web.dial(Address(name, situation.to.port) if name is not None else situation.to)
    answer = b""
    try:
        if question.kind == "plain" or question.port == 80:
            authority = question.host if question.port == 80 else f"{question.host}:{question.port}"
            await app.send_all(f"{question.method} {question.path} HTTP/1.1\r\nhost: {authority}\r\n\r\n".encode())
            answer = await app.receive_some()
        elif situation.to.port == 443:
            context = https_client([root("public").certificate])
            await TlsStream(context, app.sock, is_server=False, server_name=question.host).handshake(NotVerified)
        else:
            await app.send_all(b"\0")
            answer = await app.receive_some()
    except (NotVerified, trio.BrokenResourceError):
        pass
    app.close()
    await trio.sleep(30)
    told = re.search(rb"x-bartizan-reason: (BZ....)", answer)
    assert (told[1].decode() if told else next(filter(None, web.bench.codes), "")) == situation.code


async def test_what_an_approved_host_shows(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = arrange(SITUATIONS[2], nursery, [])
    steps = {one.name: one for one in (await put(web, plain())).steps}
    assert steps["approval"].facts["rule"] == "partners/api"
    assert steps["verification"].facts["roots"] == "the one of the policy's caBundle"
    assert steps["verification"].facts["client certificate"] == "web-client"
    assert steps["resolution"].facts["addresses"] == SERVER.host
    proof = steps["proof"].facts
    assert (proof["tls"], proof["names"], proof["client"], proof["issuer"]) == ("TLSv1.3", HOST, "CN=shop-web", "CN=public")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", proof["expires"])
    text = msgspec.json.encode(list(steps.values())).decode()
    assert "PRIVATE KEY" not in text
    assert CLIENT.key_pem.splitlines()[1] not in text


async def test_the_certificate_is_that_of_now(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Though the application's sessions with the host are resumed, which shows none."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)    # it keeps sessions as web servers do
    holder = partner(HOST)
    context.use_certificate(holder.certificate)
    context.use_privatekey(holder.key)
    reused: list[bool] = []

    async def serve(sock: socket.socket) -> None:
        stream = TlsStream(context, sock, is_server=True)
        await stream.handshake(NotVerified)
        reused.append(bool(lib.SSL_session_reused(stream.connection._ssl)))
        if await stream.receive_some():
            await stream.send_all(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        stream.close()

    web = arrange(SITUATIONS[0], nursery, [])
    web.bench.dialer.servers[SERVER] = serve
    app = web.dial(DIALLED)
    for _ in range(2):
        await app.send_all(f"GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
        assert (await app.receive_some()).startswith(b"HTTP/1.1 200")
    steps = {one.name: one for one in (await put(web, plain())).steps}
    assert steps["proof"].facts["trusted by"] == "CN=public"
    assert reused == [False, True, False]


async def test_who_is_at_the_other_end_in_the_mesh(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = arrange(next(one for one in SITUATIONS if one.name == "Service"), nursery, [])
    steps = {one.name: one for one in (await put(web, plain("orders"))).steps}
    assert (steps["proof"].facts["peer"], steps["proof"].facts["tls"]) == (ORDERS, "TLSv1.3")
    assert steps["destination"].facts["endpoints"] == str(ENDPOINT)


async def test_who_is_at_the_other_end_of_opaque_bytes(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    situation = next(one for one in SITUATIONS if one.name == "opaque Service")
    steps = {one.name: one for one in (await put(arrange(situation, nursery, []), situation.question)).steps}
    proof = steps["proof"].facts
    assert (proof["peer"], proof["names"], proof["tls"]) == (ORDERS, ORDERS, "TLSv1.3")
    assert proof["expires"] > "20"


async def test_what_a_database_by_name_shows(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    situation = next(one for one in SITUATIONS if one.name == "TCP by name")
    for _ in range(2):      # and each time anew
        steps = {one.name: one for one in (await put(arrange(situation, nursery, []), situation.question)).steps}
        assert steps["resolution"].facts["addresses"] == SERVER.host
        assert steps["connection"].words == f"connected to {HOST}:5432"
        assert (steps["proof"].facts["names"], steps["proof"].facts["trusted by"]) == (HOST, "CN=public")
        assert steps["proof"].facts["expires"] > "20"


async def test_what_only_an_application_that_speaks_could_learn(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A MySQL server is asked for TLS after the application's login."""
    web = pod(nursery, by_name(start_tls="mysql"))
    web.resolver.names[HOST] = (SERVER.host,)

    async def greets(sock: socket.socket) -> None:
        await SocketStream(sock).send_all(greeting())
        await echo(sock)

    web.bench.dialer.servers[DATABASE] = greets
    found = await put(web, Question(HOST, 5432))
    steps = {one.name: one for one in found.steps}
    assert (found.code, steps["proof"].outcome) == ("", "unknown")


async def test_the_applications_connections_are_its_own(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    situation = next(one for one in SITUATIONS if one.name == "Service")
    web = arrange(situation, nursery, [])
    app = web.dial(VIP)
    await app.send_all(b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n")
    assert await app.receive_some() == OK
    assert (await put(web, situation.question)).code == ""
    assert web.bench.dialer.dialled == [ENDPOINT, ENDPOINT]     # a connection for the question, which shows a handshake of now
    await app.send_all(b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n")
    assert await app.receive_some() == OK
    assert len(web.bench.dialer.dialled) == 2                   # and the application's is there


async def test_a_long_answer_is_read(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    long = b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n" + bytes(300_000)
    web = arrange(replace(SITUATIONS[0], answers=long), nursery, [])
    assert (await put(web, plain(sends=True))).code == ""
    await wait_all_tasks_blocked()
    (line,) = web.bench.lines
    assert (line["status"], line["sent"], line.get("code", "")) == (200, 300_000, "")


# -- by a gateway


async def test_the_way_by_a_gateway(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    seen: list[bytes] = []
    out = gateway.gateway(nursery)
    out.bench.dialer.servers[SERVER] = https(partner(HOST), http_app(seen, OK))
    out.bench.dialer.servers[FAR] = echo
    web = gateway.behind(nursery, out)
    for question in (plain(), Question(HOST, 443), Question(FAR.host, FAR.port)):
        found = await put(web, question)
        steps = {one.name: one for one in found.steps}
        assert (found.code, steps["approval"].facts["gateway"]) == ("", "egress.gateways port 443")
        assert "by egress.gateways" in steps["connection"].words
    assert steps["proof"].facts["peer"] == gateway.GATEWAY
    assert seen == web.resolver.asked == []
    sent = await put(web, plain(sends=True))
    assert (sent.code, len(seen)) == ("", 1)


async def test_a_gateway_that_gives_no_leave(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = gateway.gateway(nursery, gateway.gateway_rules(GatewayCaller(pki.ORDERS)))
    out.resolver.names.clear()
    web = gateway.behind(nursery, out)
    for question, code in ((Question(FAR.host, FAR.port), "BZ0202"), (Question(HOST, 443), "BZ0201"), (plain(sends=True), "BZ0201")):
        assert (await put(web, question)).code == code
    assert out.bench.dialer.dialled == []


async def test_a_gateway_that_thinks_before_it_refuses(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def slow(sock: socket.socket) -> None:
        stream = TlsStream(tls_of(gateway.GATEWAY).gateway, sock, is_server=True)
        await stream.handshake(NotVerified)
        await stream.receive_some()
        await trio.sleep(2)     # connected to the gateway is not there yet
        await stream.send_all(render_refusal(Reason.CONNECT_FAILED, "no answer"))
        stream.close()

    web = gateway.behind(nursery, gateway.gateway(nursery))
    web.bench.dialer.servers[gateway.AT] = slow
    assert (await put(web, Question(FAR.host, FAR.port))).code == "BZ0401"


# -- a real request


async def test_a_request_that_is_sent_is_answered(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    seen: list[bytes] = []
    web = arrange(SITUATIONS[0], nursery, seen)
    found = await put(web, plain(path="/v1/charges", sends=True))
    assert (found.code, found.steps[-1].name, found.steps[-1].facts) == ("", "answer", {"status": "200"})
    assert [head.split(b"\r\n")[0] for head in seen] == [b"GET /v1/charges HTTP/1.1"]
    assert b"user-agent: bartizan-verify" in seen[0]
    await wait_all_tasks_blocked()
    (line,) = web.bench.lines       # told like the application's
    assert (line["rule"], line["status"]) == ("partners/api", 200)


async def test_a_request_over_its_own_tls(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    seen: list[bytes] = []
    web = arrange(SITUATIONS[0], nursery, seen)
    found = await put(web, Question(HOST, 443, "tls", sends=True))
    assert (found.code, found.steps[-1].facts) == ("", {"status": "200"})
    assert len(seen) == 1


async def test_the_pod_that_is_called_refuses(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh())
    route = Route("only-secret", (Caller("web", "shop"),), matches=(Match(PathMatch("/secret")),))
    web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, http_app([], OK), Inbound(routes=(route,)))[1]
    assert (await put(web, plain("orders"))).code == ""        # only a request shows it
    found = await put(web, plain("orders", sends=True))
    assert (found.code, failing(found)[0].name) == ("BZ0101", "answer")
    assert (await put(web, plain("orders", path="/secret", sends=True))).code == ""


@pytest.mark.parametrize("question", [
    plain(method="POST", sends=True), plain(method="DELETE", sends=True), Question(HOST, 80, "tcp", sends=True),
])
async def test_nothing_is_sent_that_could_change_anything(question: Question, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    seen: list[bytes] = []
    web = arrange(SITUATIONS[0], nursery, seen)
    with pytest.raises(ConfigError):
        await put(web, question)
    assert seen == web.bench.dialer.dialled == []


# -- what it costs


async def test_it_ends_in_time(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def mute(sock: Any) -> None:
        await trio.sleep_forever()

    web = arrange(SITUATIONS[0], nursery, [])
    web.bench.dialer.servers[SERVER] = https(partner(HOST), mute)
    found = await put(web, plain(sends=True))
    assert trio.current_time() == WITHIN_S
    assert (found.code, failing(found)[0].name) == ("BZ0402", "answer")


async def test_cancelled_it_leaves_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    for after in (0.1, 1, 6):
        web = arrange(SITUATIONS[0], nursery, [])
        web.bench.dialer.silent.add(SERVER)
        with trio.move_on_after(after):
            await put(web, plain())
        assert web.bench.runtime.pool.opened.total() == len(web.bench.runtime.accounts) == 0


def test_every_place_is_one_and_no_reason_has_two() -> None:
    placed = [reason for reasons in PLACES.values() for reason in reasons]
    assert len(placed) == len(set(placed))
    assert all(isinstance(reason, Reason) for reason in placed)


async def test_which_addresses_policies_leave(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = arrange(Situation("", leaving(GOOD, f"{SERVER.host}/32"), plain()), nursery, [])
    web.resolver.names[HOST] = ("203.0.113.79", SERVER.host)
    steps = {one.name: one for one in (await put(web, plain())).steps}
    assert steps["isolation"].facts == {"policies": POLICY}
    assert str(SERVER) in steps["isolation"].words
    assert "203.0.113.79" not in steps["isolation"].words


async def test_without_policies_there_is_no_such_step(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = arrange(Situation("", GOOD, plain()), nursery, [])
    assert "isolation" not in {one.name for one in (await put(web, plain())).steps}
