"""Questions and replies as bytes. What is made of them: tests/proxy/test_dns_guard.py."""

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rrset
import pytest

from sidecar.protocol import dns_message
from sidecar.protocol.dns_message import add_addresses, add_texts, postpone, read_question, refuse, render, reply_to

NAME = "Api.Partner.example."


def asked(kind: str = "A", **more: object) -> dns.message.Message:
    query = read_question(dns.message.make_query(NAME, kind, **more).to_wire())     # type: ignore[arg-type]
    assert query is not None
    return query


def rendered(reply: dns.message.Message, query: dns.message.Message, *, is_datagram: bool = True) -> dns.message.Message:
    return dns.message.from_wire(render(reply, query, is_datagram=is_datagram))


def test_a_question_is_read_as_it_is_written() -> None:
    assert asked("TXT").question[0].to_text() == f"{NAME} IN TXT"


def _changed(**changes: int) -> bytes:
    query = dns.message.make_query(NAME, "A")
    for name, value in changes.items():
        setattr(query, name, value)
    return query.to_wire()


@pytest.mark.parametrize("data", [
    b"", b"\x00" * 11, b"\x00" * 12, _changed(flags=dns.flags.QR), _changed(flags=int(dns.opcode.UPDATE) << 11),
    _changed(flags=int(dns.opcode.IQUERY) << 11), _changed() + b"\x00", _changed()[:-1],
    b"\x12\x34\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00" + _changed()[12:] * 2,
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01",       # a name that points at itself
    dns.message.make_query(NAME, "A", rdclass="CH").to_wire(), dns.message.make_query(NAME, "A", rdclass="ANY").to_wire(),
])
def test_what_is_no_question(data: bytes) -> None:
    assert read_question(data) is None


def test_a_question_longer_than_any() -> None:
    def of(length: int) -> bytes:
        query = dns.message.make_query(NAME, "A", use_edns=0, payload=65535)
        padding = length - len(query.to_wire()) - 4
        query.use_edns(0, options=[dns.edns.GenericOption(dns.edns.OptionType.PADDING, bytes(padding))])
        return query.to_wire(max_size=65535)

    assert len(of(dns_message.QUESTION_BYTES)) == dns_message.QUESTION_BYTES
    assert read_question(of(dns_message.QUESTION_BYTES)) is not None
    assert read_question(of(dns_message.QUESTION_BYTES + 1)) is None


def test_who_asks_for_padding_gets_none() -> None:
    """28 addresses take 472 bytes, padded 936: more than who asked takes."""
    query = asked(use_edns=0, payload=512, options=[dns.edns.GenericOption(dns.edns.OptionType.PADDING, b"")])
    add_addresses(reply := reply_to(query), "A", [f"192.0.2.{i}" for i in range(28)], 5)
    assert 472 < len(render(reply, query, is_datagram=True)) <= 512


@pytest.mark.parametrize("is_extended", [False, True])
def test_a_refusal_says_why_to_who_understands_it(is_extended: bool) -> None:
    query = asked(use_edns=0 if is_extended else False)
    reply = reply_to(query)
    refuse(reply, query, "BZ0211 name-not-approved")
    sent = rendered(reply, query)
    assert query.is_response(sent)
    assert sent.rcode() == dns.rcode.NXDOMAIN
    assert [option.to_text() for option in sent.options] == ["EDE 15 (Blocked): BZ0211 name-not-approved"] * is_extended


def test_what_is_not_known_yet_is_no_refusal() -> None:
    query = asked(use_edns=0)
    postpone(reply := reply_to(query), query, "BZ0601 no-snapshot")
    sent = rendered(reply, query)
    assert sent.rcode() == dns.rcode.SERVFAIL
    assert [option.to_text() for option in sent.options] == ["EDE 14 (Not Ready): BZ0601 no-snapshot"]


def test_addresses_belong_to_the_name_as_it_was_asked_for() -> None:
    query = asked()
    reply = reply_to(query)
    add_addresses(reply, "A", ["192.0.2.1", "192.0.2.2"], 0.2)
    (rrset,) = rendered(reply, query).answer
    assert (rrset.name.to_text(), rrset.ttl, {item.to_text() for item in rrset}) == (NAME, 1, {"192.0.2.1", "192.0.2.2"})
    add_addresses(none := reply_to(query), "A", [], 5)
    assert rendered(none, query).answer == []


@pytest.mark.parametrize(("kind", "limit", "is_whole"), [("udp", 512, False), ("tcp", 65535, True)])
def test_what_is_too_large_is_cut_and_says_so(kind: str, limit: int, is_whole: bool) -> None:
    query = asked()
    add_addresses(reply := reply_to(query), "A", [f"192.0.2.{i}" for i in range(100)], 5)
    data = render(reply, query, is_datagram=kind == "udp")
    assert len(data) <= limit
    assert bool(dns.message.from_wire(data).flags & dns.flags.TC) is not is_whole


def test_of_texts_only_texts_are_taken() -> None:
    query = asked("TXT")
    theirs = dns.message.make_response(query)
    theirs.answer.append(dns.rrset.from_text(NAME, 9, "IN", "TXT", '"a"', '"b"'))
    theirs.answer.append(dns.rrset.from_text("evil.example.", 9, "IN", "TXT", '"c"'))
    add_texts(reply := reply_to(query), dns.message.from_wire(theirs.to_wire()))
    (rrset,) = rendered(reply, query).answer
    assert (rrset.name.to_text(), rrset.ttl, {item.to_text() for item in rrset}) == (NAME, 9, {'"a"', '"b"'})
