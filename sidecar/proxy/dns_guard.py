"""The pod's questions to any name server come here: names of the cluster and approved hosts are asked on, the rest does not exist.

What is asked goes to the resolvers of the snapshot, whatever server the application meant. Refusals are NXDOMAIN with the
extended error "blocked" (RFC 8914, code 15). HTTPS and SVCB records (64, 65) get no data: they would hide the name of the next
connection (ECH) or move it to QUIC.

Trust: the question is the application's; nothing of it leaves but name and type of an approved name, in a message of our making.
"""

import socket

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import trio

from sidecar.model.address import server_address
from sidecar.model.errors import ConnectFailed
from sidecar.net.resolve import Resolver
from sidecar.net.socket_stream import SocketStream
from sidecar.net.watched import Watched
from sidecar.policy.rules import Rules
from sidecar.telemetry.metrics import Metrics

ANSWER_S = 5.0
IDLE_S = 30.0
DATAGRAM_BYTES = 512, 1232     # without EDNS (RFC 1035 s4.2.1), and at most with it: what arrives unfragmented everywhere
MESSAGE_BYTES = 65535           # over TCP
ADDRESSES = (dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.CNAME)
WITHOUT_DATA = (dns.rdatatype.SVCB, dns.rdatatype.HTTPS)


class DnsGuard:
    """
    Args:
        is_open: the interception was found whole.
    """

    def __init__(self, rules: Watched[Rules | None], is_open: Watched[bool], resolver: Resolver, metrics: Metrics) -> None:
        self._rules = rules
        self._is_open = is_open
        self._resolver = resolver
        self._metrics = metrics

    async def answer(self, data: bytes, *, is_datagram: bool = True) -> bytes | None:
        """The reply to one message, truncated (TC) if it is too large; None (silence) for what is no question."""
        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return None
        if query.flags & dns.flags.QR or query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
            return None
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        reply = await self._reply(query, name, question.rdtype)
        least, most = DATAGRAM_BYTES
        wanted = query.payload if query.edns >= 0 else least
        return reply.to_wire(max_size=min(max(wanted, least), most) if is_datagram else MESSAGE_BYTES, prefer_truncation=True)

    async def _reply(self, query: dns.message.Message, name: str, kind: dns.rdatatype.RdataType) -> dns.message.Message:
        reply = dns.message.make_response(query, recursion_available=True)
        rules = self._rules.current
        is_ours = rules is not None and _is_below(name, rules.snapshot.outbound.cluster_domain)
        is_known = is_ours or (rules is not None and rules.outbound.named(name) is not None)
        # A name that needs escaping is not what its text looks like: `x\.store.example` is below example, not below store.example.
        if rules is None or not self._is_open.current or not is_known or "\\" in name:
            self._metrics.count("bartizan_dns_queries_total", (("decision", "refused"),))
            reply.set_rcode(dns.rcode.NXDOMAIN)
            if query.edns >= 0:
                reply.use_edns(options=[dns.edns.EDEOption(dns.edns.EDECode.BLOCKED, "not approved for this workload")])
            return reply
        self._metrics.count("bartizan_dns_queries_total", (("decision", "allowed"),))
        if kind in WITHOUT_DATA or not (is_ours or kind in ADDRESSES):
            return reply
        ours = dns.message.make_query(query.question[0].name, kind)
        for text in rules.snapshot.outbound.resolvers:
            with trio.move_on_after(ANSWER_S / 2):
                try:
                    theirs = await self._resolver.exchange(ours, server_address(text))
                except (OSError, dns.exception.DNSException, ConnectFailed, trio.BrokenResourceError):
                    continue
                reply.set_rcode(theirs.rcode())
                reply.answer = theirs.answer
                reply.authority = theirs.authority
                return reply
        reply.set_rcode(dns.rcode.SERVFAIL)
        return reply

    async def serve_tcp(self, sock: socket.socket) -> None:
        """Questions over TCP (RFC 7766), one after the other."""
        stream = SocketStream(sock)
        data = b""
        with trio.move_on_after(IDLE_S) as idle:
            while True:
                while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
                    more = await stream.receive_some()
                    if not more:
                        return
                    data += more
                end = 2 + int.from_bytes(data[:2], "big")
                question, data = data[2:end], data[end:]
                reply = await self.answer(question, is_datagram=False)
                if reply is None:
                    return
                await stream.send_all(len(reply).to_bytes(2, "big") + reply)
                idle.deadline = trio.current_time() + IDLE_S


def _is_below(name: str, domain: str) -> bool:
    return name == domain or name.endswith("." + domain)
