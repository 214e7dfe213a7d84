"""Both readers on every hostile and good head, whole and byte by byte, and the properties that hold them to one verdict.

tests/vectors/http1/*.txt, one request head each: the first line is `expect: REASON` or `expect: ok METHOD TARGET AUTHORITY BODY`
(BODY: none, chunked, length:N), lines with `#` say why, the rest are the bytes: ends of lines in the file do not count, the
head's own are written \\r\\n; \\t, \\\\ and \\xNN are the other escapes.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.model.errors import BadResponse, ProtocolViolation
from sidecar.model.message import Body, BodyKind, RequestHead, ResponseHead
from sidecar.model.reason import Reason
from sidecar.protocol import head, http1
from sidecar.protocol.framing import MAX_HEAD_BYTES, judge_request, judge_response
from sidecar.protocol.head import MAX_KNOWN_BYTES, RequestReader, ResponseReader, read_request, read_response
from sidecar.protocol.render import render_response

CANARY = b"GET /canary HTTP/1.1\r\nHost: canary.example\r\n\r\n"
_ESCAPE = re.compile(rb"\\(r|n|t|\\|x[0-9a-f]{2})")
_PLAIN_ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}


@dataclass(frozen=True)
class Vector:
    name: str
    expect: str
    data: bytes


def _load(path: Path) -> Vector:
    first, *rest = path.read_bytes().splitlines()
    expect = first.removeprefix(b"expect: ")
    assert expect != first, f"{path.name} does not begin with `expect: `"
    data = _ESCAPE.sub(
        lambda m: _PLAIN_ESCAPES.get(m[1]) or bytes.fromhex(m[1][1:].decode()),
        b"".join(line for line in rest if not line.startswith(b"#")),
    )
    return Vector(path.stem, expect.decode(), data)


VECTORS = [_load(path) for path in sorted((Path(__file__).parent.parent / "vectors" / "http1").glob("*.txt"))]
GOOD = [vector for vector in VECTORS if vector.expect.startswith("ok")]
BAD = [vector for vector in VECTORS if not vector.expect.startswith("ok")]
RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.0 200\r\nX_Y:  z \r\n\r\n",
    b"HTTP/1.1 204 \r\n\r\n",
]


def _ids(vectors: list[Vector]) -> list[str]:
    return [vector.name for vector in vectors]


def _said(request: RequestHead) -> str:
    authority = request.host if request.port is None else b"%b:%d" % (request.host, request.port)
    body = request.body.kind.value + (f":{request.body.length}" if request.body.kind is BodyKind.LENGTH else "")
    return f"ok {request.method.decode()} {request.target.decode()} {authority.decode()} {body}"


def test_there_are_enough_vectors() -> None:
    assert len(BAD) >= 60
    assert len(GOOD) >= 20


@pytest.mark.parametrize("vector", GOOD, ids=_ids(GOOD))
def test_good_head(vector: Vector) -> None:
    found = read_request(vector.data + CANARY)
    assert found is not None
    request, consumed = found
    assert _said(request) == vector.expect
    assert consumed == len(vector.data)
    assert read_request(bytearray(vector.data)) == found
    for end in range(len(vector.data)):
        assert read_request(vector.data[:end]) is None


@pytest.mark.parametrize("vector", BAD, ids=_ids(BAD))
def test_bad_head(vector: Vector) -> None:
    for following in (b"", CANARY):
        with pytest.raises(ProtocolViolation) as whole:
            read_request(vector.data + following)
        assert whole.value.reason is Reason[vector.expect], whole.value.detail
        assert whole.value.detail
    with pytest.raises(ProtocolViolation) as piecemeal:
        for end in range(1, len(vector.data) + 1):
            assert read_request(vector.data[:end]) is None
    assert piecemeal.value.reason is Reason[vector.expect]


def test_what_a_client_says_of_itself_does_not_go_on() -> None:
    names = [
        "X-Forwarded-For", "x-forwarded-proto", "X-FORWARDED-HOST", "X-Forwarded-Port", "X-Forwarded-Client-Cert", "Forwarded",
        "X-Real-IP", "X-Bartizan-Peer", "x-envoy-original-path", "l5d-client-id", "Connection", "Keep-Alive", "Proxy-Connection",
        "TE", "Trailer", "Upgrade", "Proxy-Authorization", "Proxy-Authenticate", "HTTP2-Settings",
    ]
    fields = "".join(f"{name}: x\r\n" for name in names)
    found = read_request(f"GET / HTTP/1.1\r\nHost: a\r\n{fields}Cookie: a=b\r\nAuthorization: c\r\n\r\n".encode())
    assert found is not None
    assert found[0].headers == [(b"Cookie", b"a=b"), (b"Authorization", b"c")]


def test_a_head_without_end() -> None:
    begun = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    full = begun + b"a" * (MAX_HEAD_BYTES - len(begun) - 4)
    assert read_request(full) is None
    assert read_request(full + b"\r\n\r\n") is not None
    for beyond in (full + b"aaaaa", full + b"a\r\n\r\n"):
        with pytest.raises(ProtocolViolation) as caught:
            read_request(beyond)
        assert caught.value.reason is Reason.HEAD_TOO_LARGE
        with pytest.raises(BadResponse):
            read_response(beyond.replace(b"GET / HTTP/1.1", b"HTTP/1.1 200 O"), b"GET")


@pytest.mark.parametrize(("count", "is_taken"), [(99, True), (100, False)])
def test_number_of_fields(count: int, is_taken: bool) -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * count + b"\r\n"
    if is_taken:
        assert read_request(data) is not None
    else:
        with pytest.raises(ProtocolViolation) as caught:
            read_request(data)
        assert caught.value.reason is Reason.HEAD_TOO_LARGE


@pytest.mark.parametrize("data", RESPONSES)
def test_response_whole_and_byte_by_byte(data: bytes) -> None:
    found = read_response(data + b"body", b"GET")
    assert found is not None
    assert found[1] == len(data)
    assert read_response(bytearray(data), b"GET") == found
    for end in range(len(data)):
        assert read_response(data[:end], b"GET") is None


def test_response_value() -> None:
    data = (
        b"HTTP/1.1 200 Fine\r\nA: b\r\nx-bartizan-reason: BZ0101\r\nKeep-Alive: timeout=5\r\n"
        b"C: d\r\nConnection: c\r\nContent-Length: 7\r\n\r\n"
    )
    assert read_response(data, b"GET") == (
        ResponseHead(200, b"Fine", [(b"A", b"b"), (b"x-bartizan-reason", b"BZ0101")], Body(BodyKind.LENGTH, 7), 7, False), len(data)
    )


def test_response_bare_line_feed_is_told_at_once() -> None:
    with pytest.raises(BadResponse):
        read_response(b"HTTP/1.1 200 OK\n", b"GET")


# -- properties

_HEADS = [vector.data for vector in VECTORS]
_BYTES = st.binary(min_size=1, max_size=3) | st.sampled_from([
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"%", b"/", b"..", b"//", b"_", b"\x00", b"\xa0", b",",
    b"Content-Length: 5\r\n", b"Host: b\r\n",
])


@st.composite
def _mutated(draw: st.DrawFn, heads: list[bytes]) -> bytes:
    data = draw(st.sampled_from(heads))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(_BYTES) + data[at + draw(st.integers(0, 3)):]
    return data


def _fast(data: bytes) -> RequestHead | Reason | None:
    try:
        found = read_request(data)
    except ProtocolViolation as exc:
        return exc.reason
    return found and found[0]


@given(st.binary(max_size=200) | _mutated(_HEADS))
@example(b"\r\n\r\n")
@example(b"\r\n\r\n\r\n")
def test_any_bytes_give_a_request_none_or_a_violation_nothing_else(data: bytes) -> None:
    outcome = _fast(data)
    assert outcome is None or isinstance(outcome, RequestHead | Reason)
    if outcome is None:
        assert b"\r\n\r\n" not in data


@given(st.binary(max_size=200) | _mutated(RESPONSES), st.sampled_from([b"GET", b"HEAD"]))
def test_any_bytes_give_a_response_none_or_bad_response_nothing_else(data: bytes, method: bytes) -> None:
    try:
        found = read_response(data, method)
    except BadResponse:
        return
    assert found is None or 100 <= found[0].status <= 599


@given(_mutated(_HEADS))
def test_where_the_request_pattern_matches_the_slow_way_says_the_same(data: bytes) -> None:
    """One value, or a refusal of both. Of a head that breaks two rules they may name another one: h11 looks at Host first."""
    data = data[:data.find(b"\r\n\r\n") + 4]
    if head._REQUEST.fullmatch(data) is None:
        return
    try:
        slow: RequestHead | Reason = judge_request(*http1.parse_request(data))
    except ProtocolViolation as exc:
        slow = exc.reason
    fast = _fast(data)
    assert fast == slow or (isinstance(fast, Reason) and isinstance(slow, Reason))


@given(_mutated(RESPONSES), st.sampled_from([b"GET", b"HEAD"]))
def test_where_the_response_pattern_matches_the_slow_way_says_the_same(data: bytes, method: bytes) -> None:
    data = data[:data.find(b"\r\n\r\n") + 4]
    if head._RESPONSE.fullmatch(data) is None:
        return
    try:
        slow: ResponseHead | None = judge_response(*http1.parse_response(data), method)
    except BadResponse:
        slow = None
    try:
        found = read_response(data, method)
        fast = found and found[0]
    except BadResponse:
        fast = None
    assert fast == slow


def test_plain_traffic_takes_the_fast_way() -> None:
    assert sum(head._REQUEST.fullmatch(vector.data) is not None for vector in GOOD) >= 20
    assert all(head._RESPONSE.fullmatch(data) for data in RESPONSES[:3])


def test_trailers_are_announced_by_who_takes_them() -> None:
    """Some servers take none that was not announced."""
    fields = b"Host: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n"
    for te, told in ((b"TE: trailers\r\nConnection: te\r\n", [(b"trailer", b"x-sum")]), (b"", [])):
        found = read_request(b"POST / HTTP/1.1\r\n" + fields + te + b"\r\n")
        assert found is not None
        assert (found[0].takes_trailers, found[0].headers) == (bool(te), told)


# -- what a connection remembers

_LINES = [
    b"GET / HTTP/1.1", b"GET /a?b HTTP/1.1", b"GET /a/../b HTTP/1.1", b"GET /%61 HTTP/1.1", b"GET /" + b"a" * 8192 + b" HTTP/1.1",
    b"POST / HTTP/1.1", b"GET / HTTP/1.0", b"GET http://a/ HTTP/1.1", b"GET http://b/ HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET  / HTTP/1.1",
    b"GET / HTTP/1.1 ", b"GET / HTTP/2.0", b"TRACE / HTTP/1.1", b"", b"GET /\n HTTP/1.1",
]
_FIELDS = [
    b"\r\nHost: a\r\n\r\n", b"\r\nHost: a\r\nX:  b \r\n\r\n", b"\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", b"\r\nHost: a\r\nX-Request-Id: 1\r\n\r\n", b"\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\nHost: a\r\nX: " + b"b" * MAX_KNOWN_BYTES + b"\r\n\r\n",
]
_Verdict = tuple[RequestHead, int] | tuple[Reason, str] | None


def _verdict(read: Callable[[bytes], tuple[RequestHead, int] | None], data: bytes) -> _Verdict:
    try:
        return read(data)
    except ProtocolViolation as exc:
        return exc.reason, exc.detail


@pytest.mark.parametrize("fields", _FIELDS)
def test_a_connection_that_remembers_gives_the_verdict_of_one_that_does_not(fields: bytes) -> None:
    """Whatever it has read twice, and whatever comes then."""
    for known, line in product(_LINES, _LINES):
        reader = RequestReader()
        for data in (known + fields, known + fields, line + fields + CANARY, known + fields + b"x", line + fields[:-1], line + fields):
            assert _verdict(reader.read, data) == _verdict(read_request, data)


@given(_mutated(_HEADS), _mutated(_HEADS))
def test_it_is_the_same_with_any_bytes(known: bytes, data: bytes) -> None:
    reader = RequestReader()
    line, end, fields = data.partition(b"\r\n")
    for one in (known, known, known.partition(b"\r\n")[0] + end + fields, line + end + known.partition(b"\r\n")[2], data, known):
        assert _verdict(reader.read, one) == _verdict(read_request, one)


def test_a_request_that_is_remembered_is_nobody_elses() -> None:
    """Recipes take fields out of a request's headers: the next request has them again."""
    reader, data = RequestReader(), b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: 1\r\n\r\n"
    for _ in range(4):
        found = reader.read(data)
        assert found is not None
        assert found[0].headers == [(b"X-Request-Id", b"1")]
        found[0].headers.clear()


@given(
    st.lists(st.tuples(
        st.sampled_from(RESPONSES) | _mutated(RESPONSES), st.sampled_from([b"GET", b"HEAD"]), st.sampled_from([b"", b"websocket"]),
    ), min_size=1, max_size=3),
    st.lists(st.integers(0, 2), max_size=12),
)
def test_a_connection_that_remembers_reads_responses_as_one_that_does_not(
    kinds: list[tuple[bytes, bytes, bytes]], order: list[int]
) -> None:
    reader = ResponseReader()
    for number in order:
        data, method, upgrade = kinds[number % len(kinds)]
        found: object
        try:
            found = reader.read(data + b"body", method, upgrade)
        except BadResponse as exc:
            found = exc.detail
        expected: object
        try:
            expected = read_response(data + b"body", method, upgrade)
        except BadResponse as exc:
            expected = exc.detail
        assert found == expected
        if reader.text:
            assert isinstance(found, tuple)
            assert reader.text == render_response(found[0], [], close=False, chunk_until_close=True)


@pytest.mark.parametrize(("head", "is_alike"), [
    (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-a: b\r\n\r\n", True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", False),     # by whom it is asked for decides
    (b"HTTP/1.1 200 OK\r\n\r\n", False),
    (b"HTTP/1.1 103 Early Hints\r\n\r\n", False),
])
def test_what_is_told_to_everyone_alike_is_rendered_once(head: bytes, is_alike: bool) -> None:
    reader = ResponseReader()
    told = []
    for data in (head, head, head, b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", head):
        reader.read(data, b"GET")
        told.append(reader.text)
    known = told[2]
    assert told == [b"", b"", known, b"", known]
    assert bool(known) == is_alike
