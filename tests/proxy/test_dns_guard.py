"""Questions of the application: which are asked on, which do not exist, and which get no answer at all."""

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
import trio
from trio.testing import MockClock

from sidecar.model.address import Address
from sidecar.model.egress import EgressHost, Outbound
from sidecar.model.errors import ConnectFailed
from sidecar.net.socket_stream import SocketStream
from tests.helpers.leave import Pod, pod
from tests.helpers.mesh import is_gone
from tests.helpers.runtime import rules

FIRST, SECOND = Address("10.96.0.10", 53), Address("10.96.0.11", 5353)
KNOWN = rules(outbound=Outbound(
    hosts=(EgressHost("api.partner.example", "api"), EgressHost("*.store.example", "store")),
    resolvers=("10.96.0.10", "10.96.0.11:5353"),
))


def replying(web: Pod, name: str, kind: str = "A", *data: str) -> None:
    """The first resolver's answer to the next question."""
    reply = dns.message.make_response(dns.message.make_query(name, kind))
    if data:
        reply.answer.append(dns.rrset.from_text(dns.name.from_text(name), 30, "IN", kind, *data))
    web.resolver.replies[FIRST] = reply


async def ask(web: Pod, name: str, kind: str = "A", *, edns: int | bool = 0, payload: int = 1232) -> dns.message.Message:
    query = dns.message.make_query(name, kind, use_edns=edns, payload=payload)
    data = await web.guard.answer(query.to_wire())
    assert data is not None
    reply = dns.message.from_wire(data)
    assert query.is_response(reply)
    return reply


def texts(reply: dns.message.Message) -> list[str]:
    return [item.to_text() for rrset in reply.answer for item in rrset]


@pytest.mark.parametrize("name", ["api.partner.example.", "API.partner.example", "a.store.example", "a.b.store.example"])
async def test_an_approved_name_is_asked_on(name: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    replying(web, name, "A", "203.0.113.80")
    reply = await ask(web, name)
    assert (reply.rcode(), texts(reply)) == (dns.rcode.NOERROR, ["203.0.113.80"])
    assert web.bench.runtime.metrics.get("bartizan_dns_queries_total", (("decision", "allowed"),)) == 1


@pytest.mark.parametrize("name", [
    "evil.example", "partner.example", "x.api.partner.example", "store.example", "evilstore.example",
    "cluster.local.evil.example", "xcluster.local", ".", "com", r"x\.store.example", r"a\.cluster.local", r"api\.partner.example",
    r"\000.store.example",
    r"a\032b.store.example",
])
@pytest.mark.parametrize("kind", ["A", "TXT", "NS"])
async def test_what_is_not_approved_does_not_exist(
    name: str, kind: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = pod(nursery, KNOWN)
    reply = await ask(web, name, kind)
    assert reply.rcode() == dns.rcode.NXDOMAIN
    (option,) = reply.options
    assert isinstance(option, dns.edns.EDEOption)
    assert option.code == dns.edns.EDECode.BLOCKED == 15
    assert web.resolver.asked == []         # not a byte of the name leaves
    assert web.bench.runtime.metrics.get("bartizan_dns_queries_total", (("decision", "refused"),)) == 1


async def test_who_speaks_no_edns_gets_none(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    reply = await ask(pod(nursery, KNOWN), "evil.example", edns=False)
    assert (reply.rcode(), reply.edns) == (dns.rcode.NXDOMAIN, -1)


@pytest.mark.parametrize("kind", ["HTTPS", "SVCB"])
@pytest.mark.parametrize("name", ["api.partner.example", "orders.shop.svc.cluster.local"])
async def test_types_64_and_65_have_no_data(name: str, kind: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    reply = await ask(web, name, kind)
    assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])
    assert web.resolver.asked == []


@pytest.mark.parametrize("kind", ["TXT", "MX", "NS", "ANY", "AXFR", "NULL"])
async def test_of_approved_names_only_addresses_are_asked(kind: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    reply = await ask(web, "api.partner.example", kind)
    assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])
    assert web.resolver.asked == []


@pytest.mark.parametrize(("name", "kind", "data"), [
    ("orders.shop.svc.cluster.local", "A", "10.96.7.1"),
    ("_http._tcp.orders.shop.svc.cluster.local", "SRV", "0 0 80 orders.shop."), ("cluster.local", "NS", "ns.dns.cluster.local."),
])
async def test_names_of_the_cluster(name: str, kind: str, data: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    replying(web, name, kind, data)
    assert texts(await ask(web, name, kind)) == [data]


async def test_a_name_that_does_not_exist_upstream(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    replying(web, "a.store.example")
    web.resolver.replies[FIRST].set_rcode(dns.rcode.NXDOMAIN)   # type: ignore[union-attr]
    reply = await ask(web, "a.store.example")
    assert reply.rcode() == dns.rcode.NXDOMAIN
    assert reply.options == ()      # it is not we who refuse


# -- resolvers


async def test_the_next_resolver_is_asked(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    for failure in (None, OSError("no"), dns.exception.FormError(), ConnectFailed("no"), trio.BrokenResourceError()):
        web = pod(nursery, KNOWN)
        started = trio.current_time()
        if failure is not None:
            web.resolver.replies[FIRST] = failure
        replying_second = dns.message.make_response(dns.message.make_query("a.store.example", "A"))
        replying_second.answer.append(dns.rrset.from_text("a.store.example.", 30, "IN", "A", "203.0.113.80"))
        web.resolver.replies[SECOND] = replying_second
        assert texts(await ask(web, "a.store.example")) == ["203.0.113.80"]
        assert trio.current_time() - started == (0 if failure else 2.5)


async def test_nobody_answers(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    reply = await ask(pod(nursery, KNOWN), "a.store.example")
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert trio.current_time() == 5


# -- our own state


async def test_while_the_way_out_is_not_whole_nothing_exists(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    web.bench.runtime.is_outbound_open.set(False)
    assert (await ask(web, "api.partner.example")).rcode() == dns.rcode.NXDOMAIN
    web.bench.runtime.is_outbound_open.set(True)
    web.bench.runtime.rules.set(None)
    assert (await ask(web, "orders.shop.svc.cluster.local")).rcode() == dns.rcode.NXDOMAIN


# -- what is no question


def _query() -> bytes:
    return dns.message.make_query("api.partner.example", "A").to_wire()


def _changed(**changes: object) -> bytes:
    query = dns.message.make_query("api.partner.example", "A")
    for name, value in changes.items():
        getattr(query, name)(value) if callable(getattr(query, name)) else setattr(query, name, value)
    return query.to_wire()


@pytest.mark.parametrize("data", [
    b"", b"\x00", b"garbage", b"bartizan canary " + b"0123456789abcdef",
    b"\xff" * 600, _query()[:-1], _query() + b"x", b"GET / HTTP/1.1\r\n\r\n",
    dns.message.make_response(dns.message.make_query("api.partner.example", "A")).to_wire(),
    _changed(set_opcode=dns.opcode.UPDATE), _changed(set_opcode=dns.opcode.NOTIFY), _changed(question=[]),
    b"\x12\x34\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00" + _query()[12:] * 2,
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01",
])
async def test_garbage_gets_silence(data: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    assert await web.guard.answer(data) is None
    assert web.resolver.asked == []


async def test_whatever_may_come_it_is_no_bug(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Every message with one byte changed: an answer or silence, nothing else."""
    web = pod(nursery, KNOWN)
    replying(web, "api.partner.example", "A", "203.0.113.80")
    good = dns.message.make_query("api.partner.example", "A", use_edns=0).to_wire()
    for at in range(len(good)):
        for byte in (0, 1, 0x3f, 0x40, 0x80, 0xc0, 0xff):
            reply = await web.guard.answer(good[:at] + bytes([byte]) + good[at + 1:])
            assert reply is None or len(reply) >= 12


# -- long answers


MANY = [f"203.0.113.{i}" for i in range(1, 101)]


@pytest.mark.parametrize(("edns", "payload", "limit"), [
    (False, 0, 512), (0, 512, 512), (0, 1232, 1232), (0, 65535, 1232), (0, 16, 512),
])
async def test_an_answer_that_is_too_long_for_udp(
    edns: int | bool, payload: int, limit: int, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = pod(nursery, KNOWN)
    replying(web, "a.store.example", "A", *MANY)
    query = dns.message.make_query("a.store.example", "A", use_edns=edns, payload=payload)
    data = await web.guard.answer(query.to_wire())
    assert data is not None
    assert len(data) <= limit
    assert dns.message.from_wire(data).flags & dns.flags.TC


async def test_over_tcp_it_is_whole(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    replying(web, "a.store.example", "A", *MANY)
    app = web.dial(Address("8.8.8.8", 53))      # whatever server the application meant
    query = dns.message.make_query("a.store.example", "A")
    for wire in (query.to_wire(), query.to_wire()):
        for piece in (len(wire).to_bytes(2, "big")[:1], len(wire).to_bytes(2, "big")[1:] + wire[:5], wire[5:]):
            await app.send_all(piece)
        reply = dns.message.from_wire(await _read_message(app))
        assert sorted(texts(reply)) == sorted(MANY)
        assert not reply.flags & dns.flags.TC
    assert web.resolver.asked == [f"a.store.example. {FIRST}"] * 2


async def _read_message(app: SocketStream) -> bytes:
    data = b""
    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
        data += await app.receive_some()
    return data[2:]


async def test_over_tcp_garbage_is_an_end_and_silence_is_bounded(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    assert await is_gone(web.dial(Address("8.8.8.8", 53)), b"\x00\x07garbage")
    assert await is_gone(web.dial(Address("8.8.8.8", 53)), b"\x00\x00")
    assert trio.current_time() == 0
    assert await is_gone(web.dial(Address("8.8.8.8", 53)), b"\xff")
    assert trio.current_time() == 30
