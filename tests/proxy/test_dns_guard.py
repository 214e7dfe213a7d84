"""The guard answers every question, however large or broken the resolver's answer is."""

import socket

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import trio

from sidecar.model.address import Address
from sidecar.model.errors import ConnectFailed
from sidecar.model.snapshot import Outbound
from sidecar.net.resolve import Resolver
from sidecar.net.watched import Watched
from sidecar.proxy.dns_guard import DnsGuard
from sidecar.telemetry.metrics import Metrics
from tests.helpers.runtime import rules

NAME = "orders.shop.svc.cluster.local"
FIRST, SECOND = "10.96.0.10", "10.96.0.11"


class FakeResolver(Resolver):
    """Answers with `count` addresses; the first name server, asked by `failure`, fails."""

    def __init__(self, count: int, failure: Exception | None = None) -> None:
        super().__init__()
        self._count = count
        self._failure = failure

    async def exchange(self, query: dns.message.Message, server: Address) -> dns.message.Message:
        if self._failure is not None and server.host == FIRST:
            raise self._failure
        reply = dns.message.make_response(query)
        reply.answer.append(dns.rrset.from_text(
            query.question[0].name, 5, "IN", "A", *(f"10.244.{i // 250}.{i % 250 + 1}" for i in range(self._count))))
        return reply


def guard(resolver: Resolver) -> DnsGuard:
    outbound = Outbound(cluster_domain="cluster.local", resolvers=(FIRST, SECOND))
    return DnsGuard(Watched(rules(outbound=outbound)), Watched(True), resolver, Metrics())


async def test_an_answer_too_large_for_a_datagram_is_truncated() -> None:
    data = await guard(FakeResolver(100)).answer(dns.message.make_query(NAME, "A").to_wire())
    assert data is not None
    assert len(data) <= 512
    assert dns.message.from_wire(data).flags & dns.flags.TC


async def test_no_datagram_is_larger_than_the_stub_says() -> None:
    data = await guard(FakeResolver(3000)).answer(dns.message.make_query(NAME, "A", use_edns=0, payload=65535).to_wire())
    assert data is not None
    assert dns.message.from_wire(data).rcode() == dns.rcode.NOERROR


async def test_over_tcp_the_whole_answer_arrives() -> None:
    ours, theirs = socket.socketpair()
    question = dns.message.make_query(NAME, "A").to_wire()
    with trio.fail_after(5), ours:
        ours.sendall(len(question).to_bytes(2, "big") + question)
        ours.shutdown(socket.SHUT_WR)
        await guard(FakeResolver(100)).serve_tcp(theirs)
        theirs.close()
        received = b""
        while piece := ours.recv(65536):
            received += piece
    reply = dns.message.from_wire(received[2:])
    assert len(reply.answer[0]) == 100
    assert not reply.flags & dns.flags.TC


async def test_a_resolver_that_breaks_off_is_passed_over_for_the_next() -> None:
    for failure in (ConnectFailed("refused"), trio.BrokenResourceError("reset"), OSError("unreachable")):
        data = await guard(FakeResolver(1, failure)).answer(dns.message.make_query(NAME, "A").to_wire())
        assert data is not None
        assert len(dns.message.from_wire(data).answer) == 1
