import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocol.detect import MAX_LOOKAHEAD_BYTES, PREFACE, Detected, detect

TLS, HTTP1, HTTP2, OTHER = Detected.TLS, Detected.HTTP1, Detected.HTTP2, Detected.OTHER


@pytest.mark.parametrize(
    ("data", "kind", "needed"),
    [
        (b"\x16\x03\x01\x02\x00\x01", TLS, 3),
        (b"\x16\x03\x03", TLS, 3),
        (PREFACE + b"\x00", HTTP2, 24),
        (b"GET / HTTP/1.1\r\n", HTTP1, 5),
        (b"OPTIONS * HTTP/1.1\r\n", HTTP1, 9),
        (b"\r\nGET / HTTP/1.1\r\n", HTTP1, 7),
        (b"GET http://a/ HTTP/1.1\r\n", HTTP1, 9),
        (b"PROPFIND /a HTTP/1.1\r\n", HTTP1, 22),
        (b"CONNECT a:443 HTTP/1.1\r\n", HTTP1, 24),
        (b"PRI * HTTP/2.0\r\n\r\nX", HTTP1, 19),
        (b"PUT /\x01", HTTP1, 5),
        (b"purge a HTTP/1.0\n", HTTP1, 17),
        (b"\x16\x02\x00", OTHER, 2),
        (b"\x16\x03\x05", OTHER, 3),
        (b"\x00\x00\x00\x08\x04\xd2\x16/", OTHER, 1),
        (b"EHLO mail.example\r\n", OTHER, 19),
        (b"SET a b\r\n", OTHER, 9),
        (b"PING\r\n", OTHER, 5),
        (b"SSH-2.0-OpenSSH_9.2\r\n", OTHER, 20),
        (b"{\"a\"", OTHER, 1),
        (b"GET key\r\n", OTHER, 9),
        (b"\r\n\r\n", OTHER, 3),
    ],
)
def test_detect(data: bytes, kind: Detected, needed: int) -> None:
    """`needed`: with how many bytes the answer is there, and not before."""
    assert [detect(data[:end]) for end in range(needed)] == [None] * needed
    assert all(detect(data[:end]) is kind for end in range(needed, len(data) + 1))


def test_lookahead_is_bounded() -> None:
    assert detect(b"FETCH " + b"a" * (MAX_LOOKAHEAD_BYTES - 7)) is None
    assert detect(b"FETCH " + b"a" * (MAX_LOOKAHEAD_BYTES - 6)) is OTHER
    assert detect(b"A" * 65) is OTHER


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_an_answer_is_final(data: bytes, more: bytes) -> None:
    """Whatever follows, what was said once stays true."""
    said = detect(data)
    assert said is None or detect(data + more) is said
