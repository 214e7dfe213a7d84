"""The law on parts: bodies, responses, nominated fields, and who is last. The rest is in tests/vectors/http1 (test_head.py)."""

import pytest

from sidecar.model.errors import BadResponse, ProtocolViolation
from sidecar.model.message import NO_BODY, Body, BodyKind, Headers
from sidecar.model.reason import Reason
from sidecar.protocol.framing import judge_request, judge_response

HOST = (b"Host", b"a")
CHUNKED = (b"Transfer-Encoding", b"chunked")


def _length(value: bytes) -> tuple[bytes, bytes]:
    return (b"Content-Length", value)


@pytest.mark.parametrize(
    ("version", "fields", "is_last"),
    [
        (b"1.1", [], False),
        (b"1.0", [], True),
        (b"1.0", [(b"Connection", b"keep-alive")], True),
        (b"1.1", [(b"Connection", b"keep-alive")], False),
        (b"1.1", [(b"Connection", b"Close")], True),
        (b"1.1", [(b"Connection", b"x"), (b"connection", b"y , close")], True),
        (b"1.1", [(b"Connection", b"closed")], False),
    ],
)
def test_who_is_last(version: bytes, fields: Headers, is_last: bool) -> None:
    request = judge_request(b"GET", b"/", version, [HOST, *fields])
    assert (request.is_last, request.is_http10) == (is_last, version == b"1.0")
    assert judge_response(200, b"", version, [_length(b"1"), *fields], b"GET").is_last is is_last


@pytest.mark.parametrize(
    ("version", "fields", "waits"),
    [
        (b"1.1", [_length(b"1")], True),
        (b"1.1", [CHUNKED], True),
        (b"1.1", [_length(b"0")], False),
        (b"1.1", [], False),
        (b"1.0", [_length(b"1")], False),
    ],
)
def test_who_waits_for_100(version: bytes, fields: Headers, waits: bool) -> None:
    request = judge_request(b"POST", b"/", version, [HOST, (b"Expect", b"100-continue"), *fields])
    assert request.expects_continue is waits
    assert request.headers == []


def test_nominated_fields_are_removed_in_any_case() -> None:
    fields = [HOST, (b"X-Hop", b"1"), (b"Connection", b"x-HOP, te"), (b"X-End", b"2"), (b"x-hop", b"3")]
    assert judge_request(b"GET", b"/", b"1.1", fields).headers == [(b"X-End", b"2")]
    assert judge_response(200, b"", b"1.1", fields[1:], b"GET").headers == [(b"X-End", b"2")]


@pytest.mark.parametrize("name", [b"x_a", b"", b"a b", b"a:", b"a\xe9"])
def test_names_are_judged_whoever_parsed_them(name: bytes) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        judge_request(b"GET", b"/", b"1.1", [HOST, (name, b"")])
    assert caught.value.reason is Reason.BAD_HEAD


@pytest.mark.parametrize("value", [b"a\r\nb", b"a\nb", b"a\0b", b"\x7f"])
def test_values_are_judged_whoever_parsed_them(value: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        judge_request(b"GET", b"/", b"1.1", [HOST, (b"a", value)])
    with pytest.raises(BadResponse):
        judge_response(200, b"", b"1.1", [(b"a", value)], b"GET")
    with pytest.raises(BadResponse):
        judge_response(200, value, b"1.1", [], b"GET")


def test_the_longest_target() -> None:
    assert judge_request(b"GET", b"/" + b"a" * 8191, b"1.1", [HOST]).path == b"/" + b"a" * 8191
    with pytest.raises(ProtocolViolation) as caught:
        judge_request(b"GET", b"/?" + b"a" * 8191, b"1.1", [HOST])
    assert caught.value.reason is Reason.TARGET_TOO_LONG


UNTIL_CLOSE = Body(BodyKind.UNTIL_CLOSE)


@pytest.mark.parametrize(
    ("status", "method", "fields", "body", "content_length"),
    [
        (200, b"GET", [_length(b"5")], Body(BodyKind.LENGTH, 5), 5),
        (200, b"GET", [_length(b"0")], NO_BODY, 0),
        (200, b"GET", [CHUNKED], Body(BodyKind.CHUNKED), None),
        (200, b"GET", [], UNTIL_CLOSE, None),
        (404, b"POST", [], UNTIL_CLOSE, None),
        (200, b"HEAD", [_length(b"5")], NO_BODY, 5),
        (200, b"HEAD", [CHUNKED], NO_BODY, None),
        (200, b"HEAD", [], NO_BODY, None),
        (304, b"GET", [_length(b"5")], NO_BODY, 5),
        (204, b"GET", [], NO_BODY, None),
        (204, b"GET", [_length(b"0")], NO_BODY, None),
        (100, b"POST", [], NO_BODY, None),
        (103, b"GET", [(b"Link", b"</a>")], NO_BODY, None),
    ],
)
def test_where_a_response_ends(status: int, method: bytes, fields: Headers, body: Body, content_length: int | None) -> None:
    response = judge_response(status, b"", b"1.1", fields, method)
    assert (response.body, response.content_length) == (body, content_length)
    assert response.is_last is (body is UNTIL_CLOSE or body == UNTIL_CLOSE)


@pytest.mark.parametrize(
    ("status", "version", "fields"),
    [
        (200, b"1.1", [_length(b"5"), CHUNKED]),
        (200, b"1.1", [_length(b"5"), _length(b"5")]),
        (200, b"1.1", [_length(b"5, 5")]),
        (200, b"1.1", [_length(b"+5")]),
        (200, b"1.1", [(b"Transfer-Encoding", b"gzip, chunked")]),
        (200, b"1.1", [CHUNKED, CHUNKED]),
        (200, b"1.0", [CHUNKED]),
        (304, b"1.1", [_length(b"5"), CHUNKED]),
        (204, b"1.1", [_length(b"5")]),
        (204, b"1.1", [CHUNKED]),
        (101, b"1.1", [(b"Upgrade", b"websocket")]),
        (99, b"1.1", []),
        (600, b"1.1", []),
        (200, b"2.0", []),
        (200, b"1.1", [(b"Connection", b"content-length")]),
        (200, b"1.1", [(b"Connection", b"set-cookie")]),
        (200, b"1.1", [(b"Connection", b"a b")]),
        (200, b"1.1", [(b"A", b"b")] * 101),
    ],
)
def test_bad_response(status: int, version: bytes, fields: Headers) -> None:
    with pytest.raises(BadResponse) as caught:
        judge_response(status, b"", version, fields, b"GET")
    assert caught.value.detail
