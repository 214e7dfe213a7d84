"""What the first bytes of a connection are: TLS, HTTP/1, HTTP/2 or something else.

It only guesses which reader to ask; that reader then judges. Malformed HTTP is still called HTTP where it can be known, so that
it is refused with a reason rather than relayed unread. Spec: RFC 8446 s5.1, RFC 9112 s3, RFC 9113 s3.4.
"""

import re
from enum import Enum

from .client_hello import ClientHello, read_client_hello

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_LOOKAHEAD_BYTES = 8192 + 64     # the longest target that is taken, and what stands around it


class Detected(Enum):
    TLS = "tls"
    HTTP1 = "http/1"
    HTTP2 = "http/2"
    OTHER = "other"


# Record type handshake, any version 3.x that was ever written there.
_TLS = re.compile(rb"\x16\x03[\x00-\x04]")
# What one server or another skips before a request line, and takes for a space in it (str.split of Latin-1, for one).
_SPACE = rb"[\t\x0b-\r\x1c- \x85\xa0]"
_WORD = rb"[\n%b*+[!#$%%&'*+\-.^_`|~0-9A-Za-z]++" % _SPACE[1:]
_TARGET = rb"%b++(?:/|\*|https?:)" % _SPACE
# Unmistakable from its first word and the first byte of its target.
_KNOWN_METHOD = re.compile(rb"[\n%b*+(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE)%b" % (_SPACE[1:], _TARGET))
# Any other request line shows itself at its end; other line protocols (SMTP, FTP, Redis) also begin with a word.
_REQUEST_LINE = re.compile(rb"%b%b++(?:[^\n]*%b)?HTTP/[0-9.]++%b*+\n" % (_WORD, _SPACE, _SPACE, _SPACE))
_BEGUN_LINE = re.compile(rb"(?:[\n%b*+|%b(?:%b[^\n]*+)?)" % (_SPACE[1:], _WORD, _SPACE))
# One that is longer than we look: its reader refuses it.
_LONG_LINE = re.compile(rb"[\n%b*+\Z|%b%b" % (_SPACE[1:], _WORD, _TARGET))


def detect(data: bytes) -> Detected | None:
    """What `data` begins; None while it could be several. At most MAX_LOOKAHEAD_BYTES are asked for."""
    if PREFACE.startswith(data[:len(PREFACE)]):
        return Detected.HTTP2 if len(data) >= len(PREFACE) else None
    if data[:1] == b"\x16":
        if _TLS.match(data):
            return Detected.TLS
        return None if b"\x16\x03".startswith(data[:3]) else Detected.OTHER
    if _KNOWN_METHOD.match(data) or _REQUEST_LINE.match(data):
        return Detected.HTTP1
    if not _BEGUN_LINE.fullmatch(data):
        return Detected.OTHER
    if len(data) < MAX_LOOKAHEAD_BYTES:
        return None
    return Detected.HTTP1 if _LONG_LINE.match(data) else Detected.OTHER


def recognise(data: bytes) -> ClientHello | Detected | None:
    """A whole ClientHello where one begins, else the kind; None: more bytes are needed. A broken hello is nobody's TLS: OTHER."""
    kind = detect(data)
    if kind is not Detected.TLS:
        return kind
    try:
        return read_client_hello(data)
    except ValueError:
        return Detected.OTHER
