"""The authority: a host with an optional port, as Host, an absolute target and SNI name it.

Trust: what comes in is a client's bytes; what leaves is a host with exactly one spelling, so that policy, name resolution,
certificate checks and the log cannot each mean another one. Attacked by tests/protocol/test_authority.py.
Spec: RFC 9110 s7.2, RFC 3986 s3.2.2, RFC 1123 s2.1.
"""

import ipaddress
import re
from functools import lru_cache

from sidecar.model.address import canonical

MAX_NAME_BYTES = 253  # RFC 1035 s2.3.4 in text, without the root's dot

# > reg-name = *( unreserved / pct-encoded / sub-delims )
# We are stricter: letters, digits and hyphens in labels of 1..63, for nothing else is a name that a certificate can prove.
_LABEL = rb"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rb"%b(?:\.%b)*" % (_LABEL, _LABEL))
_AUTHORITY = re.compile(rb"(?:(%b)\.?|\[([0-9a-f:.]{2,45})\])(?::([1-9][0-9]{0,4}))?" % _NAME.pattern)
# What inet_aton reads as an address or a part of one: 127.1, 2130706433, 0x7f.1.
_NUMERIC = re.compile(rb"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.DOTALL)


def is_host_name(text: bytes) -> bool:
    """True for a DNS name in lower case that no resolver takes for an address."""
    return len(text) <= MAX_NAME_BYTES and _NAME.fullmatch(text) is not None and _NUMERIC.fullmatch(text) is None


@lru_cache(1024)
def parse_authority(text: bytes) -> tuple[bytes, int | None]:
    """The (host, port) that `text` names. Remembered, since few are named again and again; who names others pays 2 us for each.

    Returns: host in lower case without trailing dot; an IPv6 address canonical and in brackets, one that maps IPv4 as the
        plain IPv4 address. The port is None where none is given.
    Raises: ValueError with the rule that is broken.
    """
    match = _AUTHORITY.fullmatch(text.lower())
    if match is None:
        raise ValueError(f"not a host name or address with an optional port: {text[:80]!r}")
    host, literal, digits = match.groups()
    port = int(digits) if digits else None
    if port is not None and port > 65535:
        raise ValueError(f"port {port} is above 65535")
    if literal is not None:
        return _address(literal, text), port
    if len(host) > MAX_NAME_BYTES:
        raise ValueError(f"the host name is longer than {MAX_NAME_BYTES} bytes")
    if _NUMERIC.fullmatch(host) is not None:
        _ipv4(host)
    return host, port


def _ipv4(host: bytes) -> None:
    try:
        ipaddress.IPv4Address(host.decode())
    except ValueError:
        raise ValueError(f"neither a name nor four decimal octets: {host[:80]!r}") from None


def _address(literal: bytes, text: bytes) -> bytes:
    try:
        ipaddress.IPv6Address(literal.decode())
    except ValueError:
        raise ValueError(f"no IPv6 address between the brackets: {text[:80]!r}") from None
    ip = canonical(literal.decode())
    return f"[{ip}]".encode() if ip.version == 6 else str(ip).encode()
