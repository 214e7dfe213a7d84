"""What h11 alone would let through, and that its refusals come out with our reasons and without the client's secrets."""

import pytest

from sidecar.model.errors import BadResponse, ProtocolViolation
from sidecar.model.reason import Reason
from sidecar.protocol.http1 import parse_request, parse_response


def test_request_parts() -> None:
    head = b"\r\nGET /a HTTP/1.0\r\nHost:a\r\nX-B: \t c d \r\nConTENT-Length: 1\r\n\r\n"
    assert parse_request(head) == (b"GET", b"/a", b"1.0", [(b"Host", b"a"), (b"X-B", b"c d"), (b"ConTENT-Length", b"1")])


@pytest.mark.parametrize("values", [["5", "5"], ["5, 5"]])
def test_repeated_length_reaches_the_law_as_it_was_sent(values: list[str]) -> None:
    fields = [(b"Content-Length", value.encode()) for value in values]
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    assert parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")[3] == [(b"Host", b"a"), *fields]
    assert parse_response(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")[3] == fields


def test_response_parts() -> None:
    assert parse_response(b"HTTP/1.0 200\r\nA:b\r\n\r\n") == (200, b"", b"1.0", [(b"A", b"b")])
    assert parse_response(b"HTTP/1.1 103 Early Hints\r\n\r\n") == (103, b"Early Hints", b"1.1", [])


@pytest.mark.parametrize(
    ("lines", "reason", "detail"),
    [
        ("GET / HTTP/1.1\nHost: a\r\n", Reason.BAD_HEAD, "line feed without carriage return at byte 14 of the head"),
        ("GET / HTTP/1.1\r\nHost: a\rb\r\n", Reason.BAD_HEAD, "carriage return without line feed at byte 23 of the head"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n", Reason.BAD_HEAD,
            "folded line, or whitespace before a field name at byte 23 of the head",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nB : c\r\n", Reason.BAD_HEAD,
            "whitespace before the colon of a field at byte 23 of the head",
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nB\r\n", Reason.BAD_HEAD, "field without colon at byte 23 of the head"),
        ("GET / HTTP/1.1\r\nHost: a\r\n: c\r\n", Reason.BAD_HEAD, "empty field name at byte 23 of the head"),
        ("GET / HTTP/1.1\r\nHost: a\x01\r\n", Reason.BAD_HEAD, "control byte at byte 23 of the head"),
        (" GET / HTTP/1.1\r\nHost: a\r\n", Reason.BAD_HEAD, "whitespace before the first line at byte 0 of the head"),
        ("GET /\xe9 HTTP/1.1\r\nHost: a\r\n", Reason.BAD_TARGET, "byte outside ASCII in the target; escape it"),
        ("GET /\r\nHost: a\r\n", Reason.BAD_HEAD, "illegal request line"),
        ("GET / HTTP/1.1\r\nHost: a\r\nB(: secret\r\n", Reason.BAD_HEAD, "illegal header line"),
        ("GET / HTTP/1.1\r\n", Reason.BAD_HOST, "Missing mandatory Host: header"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", Reason.BAD_HOST, "Found multiple Host: headers"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n", Reason.BAD_FRAMING, "bad Content-Length"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n", Reason.BAD_FRAMING,
            "Only Transfer-Encoding: chunked is supported",
        ),
    ],
)
def test_refused_request(lines: str, reason: Reason, detail: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        parse_request(lines.encode("latin-1") + b"\r\n")
    assert (caught.value.reason, caught.value.detail) == (reason, detail)


@pytest.mark.parametrize(
    ("head", "detail"),
    [
        (b"HTTP/1.1 20 OK\r\n\r\n", "illegal status line"),
        (b"HTTP/1.1 200 OK\r\nA\n: b\r\n\r\n", "line feed without carriage return at byte 18 of the head"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n", "conflicting Content-Length headers"),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", "empty first line at byte 0 of the head"),
    ],
)
def test_refused_response(head: bytes, detail: str) -> None:
    with pytest.raises(BadResponse) as caught:
        parse_response(head)
    assert caught.value.detail == detail
