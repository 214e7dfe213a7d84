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
# Unmistakable from its first word and the first byte of its target.
_KNOWN_METHOD = re.compile(rb"(?:\r\n)?(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE) (?:/|\*|https?:)")
# Any other request line shows itself at its end; other line protocols (SMTP, FTP, Redis) also begin with a word.
_REQUEST_LINE = re.compile(rb"(?:\r\n)?[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64} [^\r\n]* HTTP/[0-9.]+\r?\n")
_BEGUN_LINE = re.compile(rb"\r?|(?:\r\n)?(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}(?: [^\x00-\x1f\x7f]*\r?)?)?")


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
    if len(data) < MAX_LOOKAHEAD_BYTES and _BEGUN_LINE.fullmatch(data):
        return None
    return Detected.OTHER


def recognise(data: bytes) -> ClientHello | Detected | None:
    """A whole ClientHello where one begins, else the kind; None: more bytes are needed. A broken hello is nobody's TLS: OTHER."""
    kind = detect(data)
    if kind is not Detected.TLS:
        return kind
    try:
        return read_client_hello(data)
    except ValueError:
        return Detected.OTHER
