"""The first message of TLS, read without answering it: which name it asks for, which protocols it offers.

Trust: what comes in is what a stranger sent so far; what leaves is a name that egress rules are asked about. A hello that two
readers could understand differently (a name twice, an extension twice, a length that does not add up) is refused whole.
Attacked by tests/protocol/test_client_hello.py.
Spec: RFC 8446 s4.1.2 and s5.1, RFC 6066 s3, RFC 7301 s3.1, RFC 9849 s5 (ECH).
"""


import msgspec

from .authority import is_host_name

MAX_HELLO_BYTES = 65536 - 1024  # with its records it fits into the 64 KiB that are peeked at
MAX_RECORDS = 64                # four would do; ever more tiny ones, read again at each byte, would be work for nothing

_RECORD_HEADER_BYTES = 5
_CLIENT_HELLO = 1
_EXTENSION_HEADER_BYTES = 4
_SERVER_NAME, _ALPN, _ECH = b"\x00\x00", b"\x00\x10", b"\xfe\x0d"
_HOST_NAME = 0


class ClientHello(msgspec.Struct, frozen=True):
    """
    Args:
        server_name: lower case, letters-digits-hyphens labels; None if the hello names none.
        alpn: in the client's order.
        has_ech: an encrypted hello is inside (or a decoy of one), so that `server_name` may be the outer name only.
    """

    server_name: str | None
    alpn: tuple[bytes, ...]
    has_ech: bool


class _Reader:
    """Takes vectors off the front of `data`; whatever is too short raises ValueError."""

    __slots__ = ("_at", "_data", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self._what = what

    def take(self, count: int) -> bytes:
        piece = self._data[self._at:self._at + count]
        if len(piece) < count:
            raise ValueError(f"{self._what} is shorter than its lengths say")
        self._at += count
        return piece

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def vector(self, length_bytes: int) -> bytes:
        return self.take(self.number(length_bytes))

    @property
    def has_more(self) -> bool:
        return self._at < len(self._data)

    def end(self) -> None:
        if self.has_more:
            raise ValueError(f"bytes behind the end of {self._what}")


def read_client_hello(data: bytes) -> ClientHello | None:
    """The hello that `data` begins with, over however many records; None while more bytes are needed.

    Raises: ValueError if it is none, is not well-formed, is longer than 63 KiB, or comes in more than 64 records.
    """
    message = _join_records(data)
    return None if message is None else _read_message(message)


def _join_records(data: bytes) -> bytes | None:
    """The handshake message without its header, or None if it is not complete."""
    joined = b""
    at = 0
    for _ in range(MAX_RECORDS):
        header = data[at:at + _RECORD_HEADER_BYTES]
        if header[:2] != b"\x16\x03"[:len(header)]:
            raise ValueError("not a TLS handshake record")
        if len(header) < _RECORD_HEADER_BYTES:
            return None
        # > Implementations MUST NOT send zero-length fragments of Handshake types; the length MUST NOT exceed 2^14 (s5.1).
        length = int.from_bytes(header[3:], "big")
        if not 1 <= length <= 16384:
            raise ValueError(f"a TLS record of {length} bytes")
        at += _RECORD_HEADER_BYTES
        claimed = len(joined) + length
        joined += data[at:at + length]
        at += length
        if joined and joined[0] != _CLIENT_HELLO:
            raise ValueError("the first TLS message is no ClientHello")
        if len(joined) >= 4:
            total = 4 + int.from_bytes(joined[1:4], "big")
            if total > MAX_HELLO_BYTES:
                raise ValueError(f"the ClientHello has {total} bytes; {MAX_HELLO_BYTES} are allowed")
            if claimed > total:
                raise ValueError("bytes behind the end of the ClientHello in its record")
            if len(joined) == total:
                return joined[4:]
        if len(joined) < claimed:
            return None
    raise ValueError(f"the ClientHello is in more than {MAX_RECORDS} records")


def _read_message(message: bytes) -> ClientHello:
    hello = _Reader(message, "the ClientHello")
    if hello.take(2)[0] != 3:
        raise ValueError("not a version of TLS")
    hello.take(32)              # random
    if len(hello.vector(1)) > 32:
        raise ValueError("the session id is longer than 32 bytes")
    suites = hello.vector(2)
    if not suites or len(suites) % 2:
        raise ValueError("no list of cipher suites")
    if not hello.vector(1):
        raise ValueError("no list of compression methods")
    extensions = _read_extensions(hello.vector(2)) if hello.has_more else {}
    hello.end()
    return ClientHello(
        _read_server_name(extensions[_SERVER_NAME]) if _SERVER_NAME in extensions else None,
        _read_alpn(extensions[_ALPN]) if _ALPN in extensions else (),
        _ECH in extensions,
    )


def _read_extensions(data: bytes) -> dict[bytes, bytes]:
    """By their type. As a `_Reader` would take them, at a third of its cost: there are a dozen."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        kind, begin = data[at:at + 2], at + _EXTENSION_HEADER_BYTES
        at = begin + int.from_bytes(data[at + 2:begin], "big")
        # > There MUST NOT be more than one extension of the same type in a given extension block (RFC 8446 s4.2).
        if kind in found:
            raise ValueError(f"extension {int.from_bytes(kind, 'big')} twice")
        found[kind] = data[begin:at]
    if at > len(data):
        raise ValueError("the list of extensions is shorter than its lengths say")
    return found


def _read_server_name(data: bytes) -> str:
    """> The ServerNameList MUST NOT contain more than one name of the same name_type (RFC 6066 s3). Only host_name is defined."""
    outer = _Reader(data, "the server name extension")
    names = _Reader(outer.vector(2), "the list of server names")
    outer.end()
    if names.number(1) != _HOST_NAME:
        raise ValueError("a server name that is no host name")
    name = names.vector(2).lower()
    names.end()
    # > Literal IPv4 and IPv6 addresses are not permitted in "HostName" (RFC 6066 s3). Nor is the trailing dot.
    if not is_host_name(name):
        raise ValueError(f"the server name is no plain host name: {name[:80]!r}")
    return name.decode("ascii")


def _read_alpn(data: bytes) -> tuple[bytes, ...]:
    outer = _Reader(data, "the ALPN extension")
    names = _Reader(outer.vector(2), "the list of protocols")
    outer.end()
    found: list[bytes] = []
    while names.has_more:
        found.append(names.vector(1))
    if not found or b"" in found:
        raise ValueError("an empty list of protocols, or an empty name in it")
    return tuple(found)
