"""Any bytes: one question or none; and whoever asked it finds it again, letter by letter, in a refusal and in an answer."""

import dns.message

from sidecar.protocol.dns_message import add_addresses, read_question, refuse, render, reply_to

PIECES = (
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", b"\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01",
    b"\x03api\x07Partner\x07example\x00",
    b"\x00\x01\x00\x01", b"\x00\x1c\x00\x01", b"\x00\x10\x00\x01", b"\x00\x41\x00\x01", b"\x00\xff\x00\xff", b"\xc0\x0c", b"\xc0\x00",
    b"\x3f" + b"a" * 63, b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00", b"\x00\x00\xfa\x00\xff", b"\x80\x00", b"\x28\x00",
)


def fuzz(data: bytes) -> None:
    query = read_question(data)
    if query is None:
        return
    refuse(refused := reply_to(query), query, "why")
    replies = [refused]
    for count in (1, 28, 200):
        replies.append(reply_to(query))
        add_addresses(replies[-1], "A", [f"192.0.2.{i}" for i in range(count)], 5)
    for reply in replies:
        for is_datagram, limit in ((True, 1232), (False, 65535)):
            sent = render(reply, query, is_datagram=is_datagram)
            assert len(sent) <= limit
            (question,) = dns.message.from_wire(sent).question
            assert question.name.labels == query.question[0].name.labels
            assert (sent[:2], question.rdtype) == (data[:2], query.question[0].rdtype)
