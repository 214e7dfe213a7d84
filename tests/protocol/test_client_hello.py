"""Hellos of a real client, and hand-made ones that no honest client sends; each whole and byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from sidecar.protocol.client_hello import MAX_RECORDS, ClientHello, read_client_hello
from tests.helpers.tls13 import client_hello


def _vector(data: bytes, size: int = 2) -> bytes:
    return len(data).to_bytes(size, "big") + data


def _extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "big") + _vector(data)


def _sni(*names: bytes, kind: int = 0) -> bytes:
    return _extension(0, _vector(b"".join(bytes([kind]) + _vector(name) for name in names)))


def _alpn(*names: bytes) -> bytes:
    return _extension(16, _vector(b"".join(_vector(name, 1) for name in names)))


def _message(extensions: bytes | None, *, suites: bytes = b"\x13\x01", session: bytes = b"", tail: bytes = b"") -> bytes:
    body = b"\x03\x03" + bytes(32) + _vector(session, 1) + _vector(suites) + b"\x01\x00"
    return b"\x01" + _vector(body + (b"" if extensions is None else _vector(extensions)) + tail, 3)


def _records(message: bytes, size: int = 16384) -> bytes:
    return b"".join(b"\x16\x03\x01" + _vector(message[at:at + size]) for at in range(0, len(message), size))


def _hello(extensions: bytes | None) -> bytes:
    return _records(_message(extensions))


def _real(name: str | None) -> bytes:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_alpn_protos([b"h2", b"http/1.1"])
    return client_hello(name, context)


GOOD = {
    "openssl": (_real("API.Stripe.com"), ClientHello("api.stripe.com", (b"h2", b"http/1.1"), False)),
    "openssl without name": (_real(None), ClientHello(None, (b"h2", b"http/1.1"), False)),
    "no extensions": (_hello(None), ClientHello(None, (), False)),
    "empty extensions": (_hello(b""), ClientHello(None, (), False)),
    "name": (_hello(_sni(b"a.example")), ClientHello("a.example", (), False)),
    "ech": (_hello(_sni(b"outer.example") + _extension(0xFE0D, b"x")), ClientHello("outer.example", (), True)),
    "many records": (_records(_message(_sni(b"a.example") + _alpn(b"h2")), 3), ClientHello("a.example", (b"h2",), False)),
    "large": (_hello(_extension(21, bytes(40000)) + _sni(b"a.example")), ClientHello("a.example", (), False)),
}

BAD = {
    "not tls": b"GET / HTTP/1.1\r\n",
    "alert": b"\x15\x03\x01\x00\x02\x02\x00",
    "ssl 2": b"\x80\x2e\x01\x00\x02",
    "empty record": b"\x16\x03\x01\x00\x00",
    "record too long": b"\x16\x03\x01\x40\x01",
    "server hello": _records(b"\x02" + _vector(bytes(40), 3)),
    "interrupted by an alert": _records(_message(None), 4)[:9] + b"\x15\x03\x01\x00\x02\x02\x00",
    "too long": b"\x16\x03\x01\x40\x00\x01\x01\x00\x00",
    "bytes behind it": _records(_message(None) + b"\x00"),
    "second message": _records(_message(None) * 2),
    "empty": _records(b"\x01\x00\x00\x00"),
    "cut": _records(b"\x01" + _vector(b"\x03\x03" + bytes(20), 3)),
    "version": _records(b"\x01" + _vector(b"\x02\x00" + _message(None)[6:], 3)),
    "session id": _records(_message(None, session=bytes(33))),
    "no suites": _records(_message(None, suites=b"")),
    "odd suites": _records(_message(None, suites=b"abc")),
    "tail": _records(_message(b"", tail=b"x")),
    "extension cut": _hello(b"\x00\x00\x00\x05a"),
    **{f"extension header cut to {size}": _hello(_extension(21, b"x") + b"\x00\x00\x00"[:size]) for size in (1, 2, 3)},
    "name twice": _hello(_sni(b"a.example") * 2),
    "two names": _hello(_sni(b"a.example", b"b.example")),
    "no name": _hello(_extension(0, _vector(b""))),
    "empty name extension": _hello(_extension(0, b"")),
    "empty name": _hello(_sni(b"")),
    "other kind of name": _hello(_sni(b"a.example", kind=1)),
    "bytes behind names": _hello(_extension(0, _vector(b"\x00" + _vector(b"a")) + b"x")),
    "ipv4": _hello(_sni(b"10.0.0.1")),
    "ipv4 in short": _hello(_sni(b"127.1")),
    "ipv6": _hello(_sni(b"::1")),
    "trailing dot": _hello(_sni(b"a.example.")),
    "nul": _hello(_sni(b"a.example\x00.evil.example")),
    "underscore": _hello(_sni(b"a_b.example")),
    "not ascii": _hello(_sni("bücher.example".encode())),
    "wildcard": _hello(_sni(b"*.example")),
    "name too long": _hello(_sni(b".".join([b"a" * 60] * 5))),
    "alpn twice": _hello(_alpn(b"h2") * 2),
    "alpn empty": _hello(_alpn()),
    "alpn empty name": _hello(_alpn(b"")),
    "ech twice": _hello(_extension(0xFE0D, b"") * 2),
}


@pytest.mark.parametrize(("data", "hello"), GOOD.values(), ids=GOOD)
def test_good(data: bytes, hello: ClientHello) -> None:
    assert read_client_hello(data) == hello
    assert read_client_hello(data + b"\x14\x03\x03\x00\x01\x01") == hello
    assert not any(read_client_hello(data[:end]) for end in range(0, len(data), 1 if len(data) < 2000 else 997))


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_client_hello(data)
    with pytest.raises(ValueError):
        for end in range(len(data) + 1):
            assert read_client_hello(data[:end]) is None


def test_tiny_records_do_not_go_on_for_ever() -> None:
    data = _records(_message(_extension(21, bytes(20000))), 10)
    assert read_client_hello(data[:15 * MAX_RECORDS - 1]) is None
    with pytest.raises(ValueError, match="more than 64 records"):
        read_client_hello(data[:15 * MAX_RECORDS])


@given(st.sampled_from(list(GOOD.values())), st.data())
def test_any_bytes_a_hello_none_or_value_error_nothing_else(good: tuple[bytes, ClientHello], draw: st.DataObject) -> None:
    data = bytearray(good[0][:600])
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        hello = read_client_hello(bytes(data))
    except ValueError:
        return
    assert hello is None or hello.server_name is None or hello.server_name == hello.server_name.lower()
