
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from sidecar.model.fields import OURS
from sidecar.model.message import NO_BODY, Body, BodyKind, Headers, RequestHead, ResponseHead
from sidecar.protocol.head import read_request, read_response
from sidecar.protocol.render import render_request, render_response

GET = RequestHead(b"GET", b"/a?b", b"shop.example", None, [(b"Accept", b"*/*")], NO_BODY, is_last=True)
OK = ResponseHead(200, b"OK", [(b"Server", b"x")], Body(BodyKind.LENGTH, 5), 5, is_last=True)
CHUNKED = Body(BodyKind.CHUNKED)
UNTIL_CLOSE = Body(BodyKind.UNTIL_CLOSE)


def test_request() -> None:
    assert render_request(GET, b"shop.example:8080", [(b"x-request-id", b"1")]) == (
        b"GET /a?b HTTP/1.1\r\nhost: shop.example:8080\r\nAccept: */*\r\nx-request-id: 1\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "body", "expects_continue", "framing"),
    [
        (b"POST", Body(BodyKind.LENGTH, 7), True, b"content-length: 7\r\nexpect: 100-continue\r\n"),
        (b"POST", CHUNKED, False, b"transfer-encoding: chunked\r\n"),
        (b"POST", NO_BODY, False, b"content-length: 0\r\n"),
        (b"PUT", NO_BODY, False, b"content-length: 0\r\n"),
        (b"DELETE", NO_BODY, False, b""),
    ],
)
def test_framing_of_requests(method: bytes, body: Body, expects_continue: bool, framing: bytes) -> None:
    head = replace(GET, method=method, body=body, headers=[], expects_continue=expects_continue)
    assert render_request(head, b"a", []) == method + b" /a?b HTTP/1.1\r\nhost: a\r\n" + framing + b"\r\n"


@pytest.mark.parametrize(
    ("status", "body", "content_length", "close", "chunk", "framing"),
    [
        (200, Body(BodyKind.LENGTH, 5), 5, False, True, b"content-length: 5\r\n"),
        (200, Body(BodyKind.LENGTH, 5), 5, True, True, b"content-length: 5\r\nconnection: close\r\n"),
        (200, CHUNKED, None, False, False, b"transfer-encoding: chunked\r\n"),
        (200, NO_BODY, 0, False, False, b"content-length: 0\r\n"),
        (304, NO_BODY, 9, False, False, b"content-length: 9\r\n"),
        (204, NO_BODY, None, False, False, b""),
        (200, UNTIL_CLOSE, None, False, True, b"transfer-encoding: chunked\r\n"),
        (200, UNTIL_CLOSE, None, True, False, b"connection: close\r\n"),
    ],
)
def test_response(status: int, body: Body, content_length: int | None, close: bool, chunk: bool, framing: bytes) -> None:
    head = replace(OK, status=status, body=body, content_length=content_length)
    assert render_response(head, [(b"a", b"b")], close=close, chunk_until_close=chunk) == (
        b"HTTP/1.1 %d OK\r\nServer: x\r\na: b\r\n%b\r\n" % (status, framing)
    )


def test_a_body_until_close_needs_an_end() -> None:
    with pytest.raises(AssertionError):
        render_response(replace(OK, body=UNTIL_CLOSE, content_length=None), [], close=False, chunk_until_close=False)


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0b"])
def test_a_value_cannot_break_its_line(value: bytes) -> None:
    with pytest.raises(AssertionError):
        render_request(GET, value, [])
    with pytest.raises(AssertionError):
        render_request(GET, b"a", [(b"x", value)])
    with pytest.raises(AssertionError):
        render_response(OK, [(value, b"x")], close=False, chunk_until_close=True)


_NAMES = st.from_regex(rb"[A-Za-z][A-Za-z0-9-]{0,10}", fullmatch=True)
_VALUES = st.from_regex(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]{0,10}[!-~\x80-\xff])?)?", fullmatch=True)
_HEADERS = st.lists(st.tuples(_NAMES, _VALUES), max_size=6)
_NOT_KEPT = {b"te", b"host", b"expect", b"connection", b"upgrade", b"trailer", b"forwarded", b"keep-alive", b"x-real-ip"}
_BODIES = st.one_of(
    st.just(NO_BODY), st.just(CHUNKED), st.integers(1, 10**18 - 1).map(lambda length: Body(BodyKind.LENGTH, length)),
)


@given(
    st.sampled_from([b"GET", b"POST", b"OPTIONS", b"purge"]), st.sampled_from([b"/", b"/a/b?c", b"/%20?#"[:-1]]),
    st.sampled_from([b"a.example", b"10.0.0.1", b"[::1]"]), st.none() | st.integers(1, 65535), _HEADERS, _BODIES, st.booleans(),
)
def test_a_rendered_request_reads_back_equal(
    method: bytes, target: bytes, host: bytes, port: int | None, headers: Headers, body: Body, expects: bool,
) -> None:
    assume(not any(name.lower() in _NOT_KEPT for name, _ in headers))
    head = RequestHead(method, target, host, port, headers, body, False, expects and body is not NO_BODY)
    text = render_request(head, host if port is None else b"%b:%d" % (host, port), [])
    assert read_request(text) == (head, len(text))


@given(
    st.integers(200, 599).filter(lambda status: status not in (204, 304)), st.sampled_from([b"", b"OK", b"Not \xe9 Found"]),
    _HEADERS, _BODIES, st.booleans(),
)
def test_a_rendered_response_reads_back_equal(status: int, phrase: bytes, headers: Headers, body: Body, close: bool) -> None:
    assume(not any(name.lower() in _NOT_KEPT for name, _ in headers))
    length = None if body is CHUNKED else body.length
    ours = any(name.lower().startswith(OURS) for name, _ in headers)
    head = ResponseHead(status, phrase, headers, body, length, close, ours)
    text = render_response(head, [], close=close, chunk_until_close=True)
    assert read_response(text, b"GET") == (head, len(text))
