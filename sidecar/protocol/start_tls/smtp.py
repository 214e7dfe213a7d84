"""SMTP: the server greets, the client says EHLO, and STARTTLS if that is among what the server offers.

Trust: the server is a stranger until TLS, and so is whoever stands between. Each answer is well-formed and the only one; of them
the greeting alone is passed on, as text. Attacked by tests/protocol/start_tls/test_smtp.py.
Spec: RFC 5321 s4.2, RFC 3207 s4.
"""

import re
from typing import NamedTuple

# > The SMTP client ... SHOULD send an address literal (RFC 5321 s4.1.4), if it has no name to tell. After TLS the application greets.
EHLO = b"EHLO [127.0.0.1]\r\n"
STARTTLS = b"STARTTLS\r\n"

MOST_REPLY_BYTES = 8192
_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])([\t -~\x80-\xff]*+))?\r\n")


class Reply(NamedTuple):
    code: int
    lines: list[bytes]


def read_reply(data: bytes) -> Reply | None:
    at, code, lines = 0, b"", []
    while (line := _LINE.match(data, at)) is not None:
        # > In a multiline reply, the reply code on each of the lines MUST be the same (RFC 5321 s4.2.1).
        if code not in (b"", line[1]):
            raise ValueError("the server's answer has two codes")
        at, code = line.end(), line[1]
        lines.append(line[3] or b"")
        if line[2] != b"-":
            if at < len(data):
                raise ValueError("bytes behind the server's answer")
            return Reply(int(code), lines)
    if b"\n" in data[at:]:
        raise ValueError("the server's answer is not well-formed SMTP")
    if len(data) > MOST_REPLY_BYTES:
        raise ValueError(f"the server's answer is longer than {MOST_REPLY_BYTES} bytes")
    return None


def read_greeting(data: bytes) -> bytes | None:
    """The greeting, as it came."""
    return data if _expect(read_reply(data), 220, "its greeting") is not None else None


def read_offer(data: bytes) -> Reply | None:
    """The answer to EHLO, if it offers TLS."""
    reply = _expect(read_reply(data), 250, "EHLO")
    if reply is not None and not any(line.strip().upper() == b"STARTTLS" for line in reply.lines[1:]):
        raise ValueError("the server does not offer STARTTLS")
    return reply


def read_go_ahead(data: bytes) -> Reply | None:
    """The answer to STARTTLS, if it is yes."""
    return _expect(read_reply(data), 220, "STARTTLS")


def _expect(reply: Reply | None, code: int, what: str) -> Reply | None:
    if reply is not None and reply.code != code:
        raise ValueError(f"the server says {reply.code} {reply.lines[0][:200].decode('ascii', 'replace')!r} to {what}")
    return reply


def refusal(text: str) -> bytes:
    """The greeting of a service that is not available: whoever has mail to deliver keeps it and tries again."""
    words = re.sub(r"[^ -~]+", " ", text)[:400]
    return f"421 4.7.0 {words}\r\n".encode("ascii")
