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
        (b"PING\r\n", OTHER, 6),
        (b"SSH-2.0-OpenSSH_9.2\r\n", OTHER, 21),
        (b"{\"a\"", OTHER, 1),
        (b"GET key\r\n", OTHER, 9),
        (b"\r\n\r\nPING\r\n", OTHER, 10),
        # What no reader of ours takes, but one server or another would: it must be refused, not relayed unread.
        (b"\r\n\r\n\r\nGET / HTTP/1.1\r\n", HTTP1, 11),
        (b" GET / HTTP/1.1\r\n", HTTP1, 6),
        (b"\n\nGET / HTTP/1.1\r\n", HTTP1, 7),
        (b"\t\x0b GET / HTTP/1.1\r\n", HTTP1, 8),
        (b"GET\t/ HTTP/1.1\r\n", HTTP1, 5),
        (b"GET \xa0/ HTTP/1.1\r\n", HTTP1, 6),
        (b"LOOK\x0ba\x1cHTTP/1.1 \r\n", HTTP1, 18),
        (b"A" * 100 + b" / HTTP/1.1\n", HTTP1, 112),
        (b"GET HTTP/1.1\r\n", HTTP1, 14),
        (b"LOOK \x01\x00 HTTP/1.1\r\n", HTTP1, 18),
    ],
)
def test_detect(data: bytes, kind: Detected, needed: int) -> None:
    """`needed`: with how many bytes the answer is there, and not before."""
    assert [detect(data[:end]) for end in range(needed)] == [None] * needed
    assert all(detect(data[:end]) is kind for end in range(needed, len(data) + 1))


@pytest.mark.parametrize(("begun", "kind"), [
    (b"FETCH a", OTHER), (b"A", OTHER), (b"FETCH /", HTTP1), (b"\r\n FETCH\thttp:", HTTP1), (b"\n", HTTP1),
])
def test_lookahead_is_bounded(begun: bytes, kind: Detected) -> None:
    data = begun + begun[-1:] * MAX_LOOKAHEAD_BYTES
    assert detect(data[:MAX_LOOKAHEAD_BYTES - 1]) is None
    assert detect(data[:MAX_LOOKAHEAD_BYTES]) is kind


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_an_answer_is_final(data: bytes, more: bytes) -> None:
    """Whatever follows, what was said once stays true."""
    said = detect(data)
    assert said is None or detect(data + more) is said
