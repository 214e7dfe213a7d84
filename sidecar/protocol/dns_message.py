"""Questions to a name server, and our replies to them: bytes <-> dnspython's messages. RFC 1035, RFC 6891, RFC 8914.

Trust: the bytes are the application's, or those of whoever speaks through it. What leaves here is one question of one class; a reply
echoes that question letter by letter, so that clients that vary the case of a name (0x20) find it again. Searched by
tests/fuzz/dns_question.py.
"""

from collections.abc import Iterable

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

QUESTION_BYTES = 4096
DATAGRAM_BYTES = 512, 1232     # without EDNS (RFC 1035 s4.2.1), and at most with it: what arrives unfragmented everywhere
MESSAGE_BYTES = 65535           # over TCP


def read_question(data: bytes) -> dns.message.Message | None:
    """The query that the message is; None for everything else: no query, several questions, a class of its own, nothing well-formed."""
    if len(data) > QUESTION_BYTES:
        return None
    try:
        query = dns.message.from_wire(data)
    except dns.exception.DNSException:
        return None
    if query.flags & dns.flags.QR or query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
        return None
    return query if query.question[0].rdclass == dns.rdataclass.IN else None


def reply_to(query: dns.message.Message) -> dns.message.Message:
    """Without data: the name exists, and has none of this type."""
    # Without padding, whatever was asked: nothing is encrypted here, and dnspython pads beyond what the asker takes.
    return dns.message.make_response(query, recursion_available=True, pad=0)


def refuse(reply: dns.message.Message, query: dns.message.Message, text: str) -> None:
    """There is no such name; whoever understands extended errors is told that it is blocked, and why."""
    reply.set_rcode(dns.rcode.NXDOMAIN)
    explain(reply, query, text)


def postpone(reply: dns.message.Message, query: dns.message.Message, text: str) -> None:
    """Nobody knows by now: whoever asked may ask again, and must not take it that there is no such name."""
    reply.set_rcode(dns.rcode.SERVFAIL)
    explain(reply, query, text, dns.edns.EDECode.NOT_READY)


def explain(
    reply: dns.message.Message, query: dns.message.Message, text: str, code: dns.edns.EDECode = dns.edns.EDECode.BLOCKED
) -> None:
    if query.edns >= 0:
        reply.use_edns(options=[dns.edns.EDEOption(code, text)])


def add_addresses(reply: dns.message.Message, kind: str, addresses: Iterable[str], ttl_s: float) -> None:
    """Of the name that was asked for itself, whatever aliases led to them."""
    texts = list(addresses)
    if texts:
        reply.answer.append(dns.rrset.from_text_list(reply.question[0].name, max(1, round(ttl_s)), "IN", kind, texts))


def add_alias(reply: dns.message.Message, host: str, ttl_s: float) -> None:
    """What the reply says so far is of `host`, for which the name that was asked for stands."""
    owner, target = reply.question[0].name, dns.name.from_text(host)
    for rrset in reply.answer:
        rrset.name = target
    reply.answer.insert(0, dns.rrset.from_text(owner, max(1, round(ttl_s)), "IN", "CNAME", target.to_text()))


def add_texts(reply: dns.message.Message, theirs: dns.message.Message) -> None:
    """The TXT records, and nothing else, of another server's answer; SERVFAIL if its aliases lead nowhere."""
    assert isinstance(theirs, dns.message.QueryMessage)
    reply.set_rcode(theirs.rcode())
    try:
        found = theirs.resolve_chaining().answer
    except dns.exception.DNSException:
        reply.set_rcode(dns.rcode.SERVFAIL)
        return
    if found is not None and found.rdtype == dns.rdatatype.TXT:
        reply.answer.append(dns.rrset.from_rdata_list(reply.question[0].name, found.ttl, list(found)))


def render(reply: dns.message.Message, query: dns.message.Message, *, is_datagram: bool) -> bytes:
    """Truncated (TC) if it is too large for who asked."""
    least, most = DATAGRAM_BYTES
    wanted = query.payload if query.edns >= 0 else least
    return reply.to_wire(max_size=min(max(wanted, least), most) if is_datagram else MESSAGE_BYTES, prefer_truncation=True)
