"""What a sidecar says first to an egress gateway, inside mTLS, and what it is answered.

    bartizan-egress/1 tls api.partner.example:443       kind and destination; one connection, one destination
    ok                                                  from here on the bytes are the destination's
    no BZ0201 api.partner.example is not approved       the reason, and the connection ends

The caller waits for the answer, so that bytes behind the line are nobody's: they are refused.

Trust: the gateway reads what a workload's sidecar sent, which may have been taken over: what leaves here is one kind, a host in its one
spelling, and a port, or ValueError. The caller reads a gateway's answer: the verdict names a reason of ours, and is one line of the log.
Attacked by tests/protocol/test_gateway_preface.py.
"""

import re
from typing import Literal, NamedTuple, cast

from sidecar.model.reason import BY_CODE, Reason

from .authority import parse_authority

# http1, http2: plain HTTP, to which the gateway originates TLS. tls: the application's own. tcp: whatever it speaks.
Carried = Literal["http1", "http2", "tls", "tcp"]

MAX_PREFACE_BYTES = 320     # room for the longest name
MAX_DETAIL_BYTES = 400

_PREFACE = re.compile(rb"bartizan-egress/1 (http1|http2|tls|tcp) ([!-~]+)\n")
_REFUSAL = re.compile(rb"no (BZ[0-9]{4})(?: ([ -~]*))?\n")
OK = b"ok\n"


class Preface(NamedTuple):
    """
    Args:
        host: a DNS name, or an address; IPv6 in brackets.
    """

    carried: Carried
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Refusal(NamedTuple):
    """
    Args:
        reason: None: one that this version does not know.
    """

    reason: Reason | None
    detail: str


def render_preface(preface: Preface) -> bytes:
    return f"bartizan-egress/1 {preface.carried} {preface}\n".encode("ascii")


def read_preface(data: bytes) -> Preface | None:
    """The preface that `data` is; None while more bytes are needed.

    Raises: ValueError if it is none, is too long, has a second spelling, or has bytes behind it.
    """
    if b"\n" not in data:
        if len(data) >= MAX_PREFACE_BYTES:
            raise ValueError(f"no line within {MAX_PREFACE_BYTES} bytes")
        return None
    match = _PREFACE.fullmatch(data)
    if match is None or len(data) > MAX_PREFACE_BYTES:
        raise ValueError(f"not one line with kind and destination: {data[:80]!r}")
    carried, destination = match.groups()
    host, port = parse_authority(destination)
    if port is None or b"%b:%d" % (host, port) != destination:
        raise ValueError(f"not the one spelling of a host with its port: {destination[:80]!r}")
    return Preface(cast(Carried, carried.decode()), host.decode("ascii"), port)


def render_refusal(reason: Reason, detail: str) -> bytes:
    told = re.sub(rb"[^ -~]", b"?", detail.encode("ascii", "replace"))[:MAX_DETAIL_BYTES]
    return b"no %b %b\n" % (reason.code.encode(), told)


def read_answer(data: bytes) -> Refusal | bool:
    """What `data`, as far as it has come, says: True is ok, False not all of it.

    Whoever reads no more than three bytes first and the rest only of a refusal takes nothing of what follows `ok`.

    Raises: ValueError if it is neither, or too long.
    """
    if data == OK:
        return True
    if not data.endswith(b"\n"):
        begun = data[:3]
        if not (OK.startswith(begun) or b"no ".startswith(begun)) or len(data) > MAX_DETAIL_BYTES + 16:
            raise ValueError(f"no answer of an egress gateway: {data[:80]!r}")
        return False
    match = _REFUSAL.fullmatch(data)
    if match is None:
        raise ValueError(f"no answer of an egress gateway: {data[:80]!r}")
    return Refusal(BY_CODE.get(match[1].decode()), (match[2] or b"").decode("ascii"))
