"""SMTP's answers on the way to STARTTLS."""

from collections.abc import Callable

import pytest

from sidecar.protocol.start_tls.smtp import MOST_REPLY_BYTES, Reply, read_go_ahead, read_greeting, read_offer, read_reply, refusal

GREETING = b"220-mail.partner.example ESMTP\r\n220 ready, d\xc3\xa9j\xc3\xa0\r\n"
OFFER = b"250-mail.partner.example\r\n250-SIZE 1000\r\n250-StartTLS\r\n250 HELP\r\n"


@pytest.mark.parametrize(("data", "reply"), [
    (b"220 hello\r\n", Reply(220, [b"hello"])), (b"220\r\n", Reply(220, [b""])),
    (b"250-a\r\n250-b\r\n250 c\r\n", Reply(250, [b"a", b"b", b"c"])),
    (b"554 5.7.1 no\r\n", Reply(554, [b"5.7.1 no"])), (b"220-\r\n220 \r\n", Reply(220, [b"", b""])),
])
def test_replies_are_read_whole_and_byte_by_byte(data: bytes, reply: Reply) -> None:
    assert [read_reply(data[:end]) for end in range(len(data))] == [None] * len(data)
    assert read_reply(data) == reply


@pytest.mark.parametrize("data", [
    b"220 hello\n", b"hello\r\n", b"22 hello\r\n", b"2200 hello\r\n", b"120 hello\r\n", b"220_hello\r\n", b"220 a\0b\r\n",
    b"220 a\rb\r\n", b"220-a\r\n250 b\r\n", b"220-a\r\nb\r\n", b"\r\n", b"\x16\x03\x01\n", b"220 hello\r\n250 ok\r\n",
    b"220 hello\r\n\x16", b"220 hello\r\n\r\n", b"220 " + b"a" * MOST_REPLY_BYTES, b"220-a\r\n" * 2000,
])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="the server"):
        read_reply(data)


def test_the_greeting_is_kept_as_it_came() -> None:
    assert [read_greeting(GREETING[:end]) for end in range(len(GREETING))] == [None] * len(GREETING)
    assert read_greeting(GREETING) == GREETING


def test_tls_must_be_among_what_is_offered() -> None:
    assert [read_offer(OFFER[:end]) for end in range(len(OFFER))] == [None] * len(OFFER)
    assert read_offer(OFFER) is not None
    # The first line is the server's name, and a word is itself only.
    for data in (b"250 mail\r\n", b"250 STARTTLS\r\n", b"250-STARTTLS\r\n250 HELP\r\n", b"250-mail\r\n250 XSTARTTLS\r\n",
                 b"250-mail\r\n250 STARTTLS-NOT\r\n"):
        with pytest.raises(ValueError, match="does not offer STARTTLS"):
            read_offer(data)


def test_the_go_ahead() -> None:
    assert read_go_ahead(b"220 2.0.0 go ahead\r\n") is not None
    assert read_go_ahead(b"220 2.0.0 go") is None
    # What somebody between puts behind it would be the first answer inside TLS (CVE-2011-0411, from the other side).
    with pytest.raises(ValueError, match="bytes behind"):
        read_go_ahead(b"220 go ahead\r\n250-mail\r\n250 AUTH PLAIN\r\n")


@pytest.mark.parametrize(("read", "data"), [
    (read_greeting, b"554 no service\r\n"), (read_greeting, b"250 ok\r\n"), (read_offer, b"502 what\r\n"),
    (read_offer, b"220-a\r\n220 STARTTLS\r\n"),
    (read_go_ahead, b"454 TLS not available\r\n"), (read_go_ahead, b"250 ok\r\n"),
])
def test_another_code_is_told(read: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(ValueError, match=f"the server says {data[:3].decode()} "):
        read(data)


def test_a_refusal_is_one_line_that_asks_to_come_again() -> None:
    assert refusal("BZ0213 x: d\xe9j\xe0\r\n250 ok") == b"421 4.7.0 BZ0213 x: d j 250 ok\r\n"
    assert len(refusal("x" * 10_000)) < 512
