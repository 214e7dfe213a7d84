"""Questions of the application: which are asked on, which do not exist, and which get no answer at all."""

from typing import Any

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
from msgspec.structs import replace
from trio.testing import MockClock

from sidecar.model.address import Address
from sidecar.model.egress import Alias, DnsLimits, EgressHost, EgressMode, Outbound
from sidecar.model.errors import ConnectFailed
from sidecar.model.service import Service
from sidecar.net.resolve import ASK_S, ATTEMPT_S
from sidecar.net.socket_stream import SocketStream
from sidecar.policy.egress import OBSERVED
from sidecar.policy.rules import Rules
from sidecar.proxy.discovery import WAIT_S
from sidecar.proxy.dns_guard import LINES_AT_ONCE, LINES_PER_S, SEARCH_DOMAINS
from sidecar.proxy.synthetic import MOST_NAMES
from tests.helpers.leave import Pod, pod
from tests.helpers.mesh import is_gone
from tests.helpers.pki import WEB
from tests.helpers.runtime import NOW, rules

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


def counted(web: Pod, decision: str, code: str = "") -> float:
    return web.bench.runtime.metrics.get("bartizan_dns_queries_total", (("code", code), ("decision", decision)))


def texts(reply: dns.message.Message) -> list[str]:
    return [item.to_text() for rrset in reply.answer for item in rrset]


@pytest.mark.parametrize("name", ["api.partner.example.", "API.partner.example", "a.store.example", "a.b.store.example"])
async def test_an_approved_name_is_asked_on(name: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    replying(web, name, "A", "203.0.113.80")
    reply = await ask(web, name)
    assert (reply.rcode(), texts(reply)) == (dns.rcode.NOERROR, ["203.0.113.80"])
    assert counted(web, "allowed") == 1


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
    assert option.text == "BZ0211 name-not-approved"
    assert web.resolver.asked == []         # not a byte of the name leaves
    assert counted(web, "refused", "BZ0211") == 1
    (line,) = web.bench.lines
    assert (line["code"], line["direction"], line["host"]) == ("BZ0211", "outbound", name.rstrip(".") or ".")
    (entry,) = web.bench.ledger.entries
    assert (entry.kind, entry.decision, entry.host, entry.local) == ("refusal", "refused", name.rstrip(".") or ".", WEB)


@pytest.mark.parametrize(("name", "wanted", "rcode"), [
    ("db-0.db.money", ("db.money",), dns.rcode.NOERROR), ("db-0.other.money", ("other.money",), dns.rcode.NXDOMAIN),
    ("a.b.db.money", (), dns.rcode.NXDOMAIN),
])
async def test_a_pod_of_a_service_that_was_not_told_of(
    name: str, wanted: tuple[str, ...], rcode: int, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    known = KNOWN.snapshot.outbound
    web = pod(nursery, rules(outbound=replace(known, mesh_ranges=("10.96.7.0/24",))))

    async def tell() -> None:
        asked = await web.bench.runtime.discovery.wanted.wait_change(())
        found = (Service("db.money", 5432),) if "db.money" in asked else ()
        web.bench.runtime.rules.set(rules(outbound=replace(known, services=found, mesh_ranges=("10.96.7.0/24",), wanted=asked)))

    nursery.start_soon(tell)
    replying(web, f"{name}.svc.cluster.local", "A", "10.0.1.2")
    assert (await ask(web, f"{name}.svc.cluster.local")).rcode() == rcode
    assert web.bench.runtime.discovery.wanted.current == wanted


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
        assert trio.current_time() - started == (0 if failure else ATTEMPT_S)


async def test_nobody_answers(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    reply = await ask(pod(nursery, KNOWN), "a.store.example")
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert trio.current_time() == ASK_S


# -- our own state


async def test_while_the_way_out_is_not_whole_nothing_is_known(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """SERVFAIL, which clients take for a reason to ask again; that there is no such name they would believe, and keep."""
    web = pod(nursery, KNOWN)
    web.bench.runtime.is_outbound_open.set(False)
    assert (await ask(web, "api.partner.example")).rcode() == dns.rcode.SERVFAIL
    assert (await ask(web, "evil.example")).rcode() == dns.rcode.SERVFAIL
    web.bench.runtime.is_outbound_open.set(True)
    web.bench.runtime.rules.set(None)
    assert (await ask(web, "orders.shop.svc.cluster.local")).rcode() == dns.rcode.SERVFAIL
    assert web.resolver.asked == []


async def test_a_service_of_which_the_injector_does_not_tell_in_time(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, rules(outbound=replace(KNOWN.snapshot.outbound, mesh_ranges=("10.96.7.0/24",))))
    reply = await ask(web, "db-0.db.money.svc.cluster.local")
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert trio.current_time() == WAIT_S
    assert web.bench.codes == ["BZ0602"]
    assert web.resolver.asked == []


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
    b"\xff" * 600, _query() + b"\x00" * 4096,
    dns.message.make_query("api.partner.example", "A", rdclass="CH").to_wire(),
    _query()[:-1], _query() + b"x", b"GET / HTTP/1.1\r\n\r\n",
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
    assert web.resolver.asked == [f"a.store.example. {FIRST}"]


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


async def test_over_tcp_the_server_that_was_meant_is_known(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    app = web.dial(Address("8.8.8.8", 53))
    wire = dns.message.make_query("evil.example", "A").to_wire()
    await app.send_all(len(wire).to_bytes(2, "big") + wire)
    assert dns.message.from_wire(await _read_message(app)).rcode() == dns.rcode.NXDOMAIN
    assert [line["dst"] for line in web.bench.lines] == ["8.8.8.8:53"]


# -- what another name server's answer may say


async def test_of_its_answer_nothing_passes_but_addresses(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    theirs = dns.message.make_response(dns.message.make_query("a.store.example", "A"))
    theirs.answer.append(dns.rrset.from_text("a.store.example.", 60, "IN", "CNAME", "data-on-its-way-in.store.example."))
    theirs.answer.append(dns.rrset.from_text("data-on-its-way-in.store.example.", 20, "IN", "A", "203.0.113.80"))
    theirs.answer.append(dns.rrset.from_text("evil.example.", 20, "IN", "A", "203.0.113.66"))
    theirs.authority.append(dns.rrset.from_text("store.example.", 20, "IN", "NS", "evil.example."))
    theirs.additional.append(dns.rrset.from_text("evil.example.", 20, "IN", "TXT", "hello"))
    web.resolver.replies[FIRST] = theirs
    query = dns.message.make_query("A.sToRe.ExAmPlE", "A")
    data = await web.guard.answer(query.to_wire())
    assert data is not None
    reply = dns.message.from_wire(data)
    assert query.question[0].to_text() == reply.question[0].to_text() == "A.sToRe.ExAmPlE. IN A", "letter by letter (0x20)"
    assert [rrset.to_text() for rrset in reply.answer] == ["A.sToRe.ExAmPlE. 20 IN A 203.0.113.80"]
    assert (reply.authority, reply.additional) == ([], [])


async def test_it_is_remembered_for_its_time_and_no_answer_is_of_no_time(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    replying(web, "a.store.example", "A", "203.0.113.80")
    for seconds, ttl in ((0, 30), (29.5, 1), (0.4, 1), (0.2, 30)):
        await trio.sleep(seconds)
        assert (await ask(web, "a.store.example")).answer[0].ttl == ttl
    assert web.resolver.asked == [f"a.store.example. {FIRST}"] * 2


@pytest.mark.parametrize(("kind", "address"), [
    ("A", "169.254.169.254"), ("A", "10.96.0.1"), ("A", "127.0.0.1"), ("A", "0.0.0.0"), ("AAAA", "::1"), ("AAAA", "fd00:ec2::254"),
    ("AAAA", "64:ff9b::a9fe:a9fe"), ("AAAA", "::ffff:169.254.169.254"),
])
async def test_a_special_address_is_not_told(kind: str, address: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    replying(web, "a.store.example", kind, address)
    reply = await ask(web, "a.store.example", kind)
    assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])
    assert [option.to_text() for option in reply.options] == ["EDE 15 (Blocked): BZ0204 special-address"]
    assert web.bench.codes == ["BZ0204"]
    good = {"A": "203.0.113.80", "AAAA": "2001:db8::80"}[kind]
    replying(web, "b.store.example", kind, address, good)
    assert texts(await ask(web, "b.store.example", kind)) == [good], "among others it is left out"
    assert web.bench.codes == ["BZ0204"]


async def test_an_address_of_the_other_family_is_not_told(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    replying(web, "a.store.example", "AAAA", "::ffff:203.0.113.80", "2001:db8::80")
    assert texts(await ask(web, "a.store.example", "AAAA")) == ["2001:db8::80"]


async def test_a_special_address_that_the_approval_names(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, rules(outbound=Outbound(
        hosts=(EgressHost("db.partner.example", "db", special_addresses=("10.0.0.0/24",)),), resolvers=("10.96.0.10",)
    )))
    replying(web, "db.partner.example", "A", "10.0.0.7")
    assert texts(await ask(web, "db.partner.example")) == ["10.0.0.7"]


# -- texts


def texting(*, txt: bool, mode: EgressMode = "enforce") -> Rules:
    return rules(outbound=Outbound(
        hosts=(EgressHost("api.partner.example", "api"),), resolvers=("10.96.0.10",), dns=DnsLimits(txt=txt, mode=mode)
    ))


async def test_texts_where_the_policy_approves_them(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, texting(txt=True))
    theirs = dns.message.make_response(dns.message.make_query("api.partner.example", "TXT"))
    theirs.answer.append(dns.rrset.from_text("api.partner.example.", 60, "IN", "CNAME", "x.partner.example."))
    theirs.answer.append(dns.rrset.from_text("x.partner.example.", 20, "IN", "TXT", '"v=1"'))
    theirs.authority.append(dns.rrset.from_text("partner.example.", 20, "IN", "NS", "evil.example."))
    web.resolver.replies[FIRST] = theirs
    reply = await ask(web, "api.partner.example", "TXT")
    assert [rrset.to_text() for rrset in reply.answer] == ['api.partner.example. 20 IN TXT "v=1"']
    assert reply.authority == []
    assert (await ask(web, "api.partner.example", "MX")).answer == []


async def test_texts_of_an_endless_alias(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, texting(txt=True))
    theirs = dns.message.make_response(dns.message.make_query("api.partner.example", "TXT"))
    theirs.answer.append(dns.rrset.from_text("api.partner.example.", 60, "IN", "CNAME", "api.partner.example."))
    web.resolver.replies[FIRST] = theirs
    assert (await ask(web, "api.partner.example", "TXT")).rcode() == dns.rcode.SERVFAIL


async def test_texts_while_nobody_answers(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    reply = await ask(pod(nursery, texting(txt=True)), "api.partner.example", "TXT")
    assert reply.rcode() == dns.rcode.SERVFAIL


# -- synthetic addresses


NAMED = rules(outbound=Outbound(hosts=(
    EgressHost("db.partner.example", "db", plain_ports=(), tls_ports=(), tcp_ports=(5432,)),
    EgressHost("*.rds.example", "rds", tcp_ports=(5432,)), EgressHost("web.rds.example", "web"),
), resolvers=("10.96.0.10",), dns=DnsLimits(name_bytes=10)))


@pytest.mark.parametrize("name", ["db.partner.example", "DB.Partner.Example", "a.rds.example"])
async def test_a_name_of_tcp_has_its_synthetic_address(name: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Also one that is approved for HTTP besides: HTTP goes by the name that it says, whatever address it dialled."""
    web = pod(nursery, NAMED)
    (address,) = texts(await ask(web, name))
    assert web.bench.runtime.synthetic.name(address) == name.lower()
    assert texts(await ask(web, name)) == [address]
    for kind in ("AAAA", "HTTPS", "TXT"):
        reply = await ask(web, name, kind)
        assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])
    assert web.resolver.asked == [], "where it leads is asked when it is connected to"


async def test_the_narrowest_approval_decides_what_a_name_is_told(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, NAMED)
    replying(web, "web.rds.example", "A", "203.0.113.80")
    assert texts(await ask(web, "web.rds.example")) == ["203.0.113.80"]


async def test_limits_hold_for_names_of_tcp_too(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, NAMED)
    assert (await ask(web, "a-longer-one.rds.example")).rcode() == dns.rcode.NXDOMAIN
    assert web.bench.codes == ["BZ0212"]


async def test_when_there_are_no_more_it_is_no_proof_that_there_is_no_name(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, NAMED)
    web.bench.runtime.synthetic.give(f"h{i}" for i in range(MOST_NAMES))
    assert (await ask(web, "db.partner.example")).rcode() == dns.rcode.SERVFAIL


# -- names that carry something


def wild(limits: DnsLimits, **more: Any) -> Rules:
    hosts = (EgressHost("*.store.example", "store"), EgressHost(f"{RANDOM}.exact.example", "exact"))
    return rules(outbound=Outbound(hosts=hosts, resolvers=("10.96.0.10",), dns=limits, **more))


RANDOM = "q7x0zk3w9v5b1n8m2l6j4h"


@pytest.mark.parametrize(("name", "why"), [
    (f"{RANDOM}.store.example", "labelBits"), (f"a.{RANDOM}.b.store.example", "labelBits"),
    ("a" * 60 + "." + "b" * 40 + ".store.example", "nameBytes"),
])
@pytest.mark.parametrize("kind", ["A", "AAAA", "TXT", "MX", "HTTPS"])
async def test_a_name_that_carries_something(
    name: str, why: str, kind: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = pod(nursery, wild(DnsLimits(txt=True)))
    reply = await ask(web, name, kind)
    assert reply.rcode() == dns.rcode.NXDOMAIN
    assert [option.to_text() for option in reply.options] == ["EDE 15 (Blocked): BZ0212 name-suspicious"]
    assert web.resolver.asked == []         # not a byte of it leaves
    (line,) = web.bench.lines
    assert (line["code"], line["host"], line["rule"]) == ("BZ0212", name, "store")
    assert why in line["detail"]
    assert counted(web, "refused", "BZ0212") == 1


async def test_a_name_that_was_approved_letter_by_letter_carries_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, wild(DnsLimits(per_s=1, burst=1)))
    for name in (f"{RANDOM}.exact.example", "a.store.example"):
        replying(web, name, "A", "203.0.113.80")
        assert texts(await ask(web, name)) == ["203.0.113.80"], "the first takes nothing of what new names may"


@pytest.mark.parametrize("name", [
    "a!b.store.example", "a*b.store.example", "*.store.example", "a:b.store.example", "a/b=.store.example", "a+b.svc.cluster.local",
])
async def test_no_host_has_such_characters(name: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    assert (await ask(web, name)).rcode() == dns.rcode.NXDOMAIN
    assert web.resolver.asked == []


@pytest.mark.parametrize(("name", "kind"), [("KuBERnetes.DEFault.svc.cluster.LOCAL", "A"), ("API.partner.EXample", "TXT")])
async def test_which_letters_are_large_is_told_to_nobody(name: str, kind: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It could be data; the reply says the question letter by letter all the same."""
    web = pod(nursery, rules(outbound=replace(KNOWN.snapshot.outbound, dns=DnsLimits(txt=True))))
    replying(web, name.lower(), kind, '"a"' if kind == "TXT" else "10.96.0.1")
    reply = await ask(web, name, kind)
    assert (reply.question[0].name.to_text(), len(texts(reply))) == (f"{name}.", 1)
    assert web.resolver.asked == [f"{name.lower()}. {FIRST}"]


async def test_new_names_in_a_flood(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, wild(DnsLimits(per_s=2, burst=10)))

    async def passed(prefix: str) -> int:
        """How many of twenty new names; each is asked for IPv4 and IPv6, which is one name."""
        codes = []
        for i in range(20):
            name = f"{prefix}{i}.store.example"
            replying(web, name, "A", "203.0.113.80")
            codes.append((await ask(web, name)).rcode())
            replying(web, name, "AAAA", "2001:db8::80")
            assert (await ask(web, name, "AAAA")).rcode() == codes[-1]
        return codes.count(dns.rcode.NOERROR)

    assert await passed("a") == 10
    assert await passed("b") == 0
    await trio.sleep(2)
    assert await passed("c") == 4
    assert (await ask(web, "a0.store.example")).rcode() == dns.rcode.NOERROR
    assert "perS" in web.bench.lines[0]["detail"]


async def test_limits_that_only_observe(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, wild(DnsLimits(mode="observe", per_s=1, burst=1)))
    for name, why in ((f"{RANDOM}.store.example", "labelBits"), ("a.store.example", ""), ("b.store.example", "perS")):
        replying(web, name, "A", "203.0.113.80")
        web.bench.lines.clear()
        assert texts(await ask(web, name)) == ["203.0.113.80"]
        assert [(line["host"], "code" in line, line["rule"]) for line in web.bench.lines] == ([(name, False, "store")] if why else [])
        assert all(line["detail"].startswith("BZ0212 name-suspicious: ") and why in line["detail"] for line in web.bench.lines)
    assert web.bench.ledger.entries == []
    replying(web, "a.store.example", "TXT", '"v=1"')
    web.bench.lines.clear()
    assert texts(await ask(web, "a.store.example", "TXT")) == ['"v=1"']
    assert [(line["host"], line["detail"]) for line in web.bench.lines] == [("a.store.example", "TXT is not approved (txt)")]


# -- while egress is observed


async def test_what_nobody_has_approved_is_answered_while_it_is_observed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, wild(DnsLimits(), mode="observe", observe_until=NOW + 60))
    for name in ("api.unheard-of.example", f"{RANDOM}.store.example"):
        replying(web, name, "A", "203.0.113.80")
        assert texts(await ask(web, name)) == ["203.0.113.80"]
    assert [(line["host"], line["rule"]) for line in web.bench.lines] == [
        ("api.unheard-of.example", OBSERVED), (f"{RANDOM}.store.example", "store"),
    ]
    assert web.bench.ledger.entries == []
    replying(web, "metadata.example", "A", "169.254.169.254")
    assert texts(await ask(web, "metadata.example")) == []
    assert (await ask(web, r"x\.store.example")).rcode() == dns.rcode.NXDOMAIN
    web.bench.wall = NOW + 60
    for name in ("api.unheard-of.example", f"{RANDOM}.store.example"):
        assert (await ask(web, name)).rcode() == dns.rcode.NXDOMAIN


# -- what is written down


async def test_a_flood_of_refusals_fills_no_log(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    for i in range(1000):
        await ask(web, f"h{i}.evil.example")
    assert len(web.bench.lines) == len(web.bench.ledger.entries) == LINES_AT_ONCE
    await trio.sleep(1)
    for i in range(1000):
        await ask(web, f"h{i}.evil.example")
    assert len(web.bench.lines) == len(web.bench.ledger.entries) == LINES_AT_ONCE + LINES_PER_S
    assert web.bench.lines[LINES_AT_ONCE]["detail"].endswith(f"; before it {1000 - LINES_AT_ONCE} more questions were not written down")
    assert "before it" not in web.bench.lines[LINES_AT_ONCE + 1]["detail"]
    assert counted(web, "refused", "BZ0211") == 2000


@pytest.mark.parametrize(("name", "code"), [
    ("secret.attacker.example.svc.cluster.local", "BZ0211"), ("secret.cluster.local", "BZ0211"),
    ("secret.attacker.example.shop.svc.cluster.local", "BZ0211"), (f"{RANDOM}.shop.svc.cluster.local", "BZ0212"),
])
async def test_the_clusters_name_server_hears_no_data(name: str, code: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    assert (await ask(web, name)).rcode() == dns.rcode.NXDOMAIN
    assert web.bench.codes == [code]
    assert web.resolver.asked == []


async def test_the_clusters_name_server_hears_few_new_names(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    limits = KNOWN.snapshot.outbound.dns
    for i in range(limits.burst + 5):
        replying(web, f"s{i}.shop.svc.cluster.local", "A")
        await ask(web, f"s{i}.shop.svc.cluster.local")
    assert counted(web, "refused", "BZ0212") == 5
    assert len(web.resolver.asked) == limits.burst


async def test_what_a_search_list_makes_of_names_is_no_attack(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Of the cluster's own search domains nothing is written, of the node's one line."""
    web = pod(nursery, KNOWN)
    for name in ("api.partner.example", "a.store.example", "b.store.example"):
        for domain in ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local"):
            assert (await ask(web, f"{name}.{domain}")).rcode() == dns.rcode.NXDOMAIN
        assert (await ask(web, f"{name}.europe-west1-b.c.project.internal")).rcode() == dns.rcode.NXDOMAIN
    assert [line["host"] for line in web.bench.lines] == ["api.partner.example.europe-west1-b.c.project.internal"]
    assert counted(web, "refused", "BZ0211") == 3 + 9
    for name in ("a.store.example", "b.store.example"):
        await ask(web, f"{name}.{RANDOM}.store.example")
    assert web.bench.codes == ["BZ0211", "BZ0212", "BZ0212"], "of what is suspicious every name is written"
    for i in range(10):
        await ask(web, f"a.store.example.evil{i}.example")
        await ask(web, f"b.store.example.evil{i}.example")
    quiet = SEARCH_DOMAINS - 1
    assert len(web.bench.codes) == 3 + quiet + 2 * (10 - quiet), "of ever new domains every name is written"


async def test_while_the_way_out_is_not_whole_that_is_what_is_written(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, KNOWN)
    web.bench.runtime.is_outbound_open.set(False)
    await ask(web, "api.partner.example")
    web.bench.runtime.rules.set(None)
    await ask(web, "api.partner.example")
    assert web.bench.codes == ["BZ0207", "BZ0601"]


# -- ExternalName Services

STANDS_FOR = Outbound(
    hosts=(EgressHost("api.partner.example", "api"), EgressHost("db.partner.example", "db", tcp_ports=(5432,))),
    resolvers=("10.96.0.10",), aliases=(
        Alias("partner.shop", "api.partner.example"), Alias("db.shop", "db.partner.example"), Alias("evil.shop", "evil.example"),
        Alias("odd.shop", "", "its externalName is an address"),
    ),
)


@pytest.mark.parametrize("name", ["partner.shop.svc.cluster.local", "partner.shop.svc", "partner.shop", "PARTNER.shop"])
async def test_a_service_that_stands_for_an_approved_host(name: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, rules(outbound=STANDS_FOR))
    replying(web, "api.partner.example", "A", "203.0.113.80")
    reply = await ask(web, name)
    assert reply.rcode() == dns.rcode.NOERROR
    assert texts(reply) == ["api.partner.example.", "203.0.113.80"]
    assert reply.resolve_chaining().canonical_name.to_text() == "api.partner.example."  # type: ignore[attr-defined]
    assert web.resolver.asked == [f"api.partner.example. {FIRST}"]      # the cluster's name server is not asked


async def test_one_that_stands_for_a_host_by_tcp_gets_that_hosts_address(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, rules(outbound=STANDS_FOR))
    reply = await ask(web, "db.shop.svc.cluster.local")
    assert texts(reply) == ["db.partner.example.", web.bench.runtime.synthetic.address("db.partner.example")]
    assert texts(await ask(web, "db.shop.svc.cluster.local", "AAAA")) == ["db.partner.example."]


@pytest.mark.parametrize(("name", "words"), [
    ("evil.shop.svc.cluster.local", "evil.example is not approved"), ("evil.shop", "evil.example is not approved"),
    ("odd.shop.svc.cluster.local", "its externalName is an address"),
])
async def test_one_that_stands_for_nobody_approved(name: str, words: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, rules(outbound=STANDS_FOR))
    assert (await ask(web, name)).rcode() == dns.rcode.NXDOMAIN
    (line,) = web.bench.lines
    assert line["code"] == "BZ0211"
    assert words in line["detail"]
    assert web.resolver.asked == []


@pytest.mark.parametrize(("told", "rcode"), [
    ((Alias("pay.money", "api.partner.example"),), dns.rcode.NOERROR), ((Alias("pay.money", "evil.example"),), dns.rcode.NXDOMAIN),
    ((), dns.rcode.NXDOMAIN), (None, dns.rcode.SERVFAIL),
])
async def test_one_that_was_not_told_of(
    told: tuple[Alias, ...] | None, rcode: int, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The cluster's name server may say where it leads; what is passed on is judged by its name all the same."""
    known = replace(STANDS_FOR, mesh_ranges=("10.96.7.0/24",))
    web = pod(nursery, rules(outbound=known))

    async def tell() -> None:
        asked = await web.bench.runtime.discovery.wanted.wait_change(())
        assert asked == ("pay.money",)
        replying(web, "api.partner.example", "A", "203.0.113.80")
        web.bench.runtime.rules.set(rules(outbound=replace(known, aliases=told, wanted=asked)))

    if told is not None:
        nursery.start_soon(tell)
    name = "pay.money.svc.cluster.local"
    replying(web, name)
    web.resolver.replies[FIRST].answer += [  # type: ignore[union-attr]
        dns.rrset.from_text(f"{name}.", 30, "IN", "CNAME", "evil.example."),
        dns.rrset.from_text("evil.example.", 30, "IN", "A", "198.51.100.6"),
    ]
    reply = await ask(web, name)
    assert reply.rcode() == rcode
    assert texts(reply) == (["api.partner.example.", "203.0.113.80"] if rcode == dns.rcode.NOERROR else [])


async def test_an_alias_within_the_cluster_is_passed_on(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, name = pod(nursery, KNOWN), "old.shop.svc.cluster.local"
    replying(web, name)
    inside = dns.rrset.from_text(f"{name}.", 30, "IN", "CNAME", "new.shop.svc.cluster.local.")
    web.resolver.replies[FIRST].answer.append(inside)  # type: ignore[union-attr]
    assert texts(await ask(web, name)) == ["new.shop.svc.cluster.local."]
