"""HTTP/2 heads: what they are in our law's words, and back."""


import pytest
from msgspec.structs import replace

from sidecar.model.errors import BadResponse, ProtocolViolation
from sidecar.model.message import NO_BODY, Body, BodyKind, Headers, RequestHead, ResponseHead
from sidecar.model.reason import Reason
from sidecar.protocol.framing import judge_request, judge_response
from sidecar.protocol.pseudo import (
    Malformed,
    judge_request_fields,
    judge_response_fields,
    judge_trailer_fields,
    request_fields,
    response_fields,
    trailer_fields,
)
from tests.helpers.downgrade import BAD, METHOD, PATH, PLAIN, SCHEME, Bad

CHUNKED = Body(BodyKind.CHUNKED)


# -- requests


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_what_a_translation_could_be_abused_for(bad: Bad) -> None:
    if bad.reason is None:
        with pytest.raises(Malformed):
            judge_request_fields(bad.fields, bad.is_end)
    else:
        with pytest.raises(ProtocolViolation) as caught:
            judge_request_fields(bad.fields, bad.is_end)
        assert caught.value.reason is bad.reason


def head(*fields: tuple[bytes, bytes], is_end: bool = True) -> RequestHead:
    return judge_request_fields([*PLAIN, *fields], is_end)


def test_a_request_is_what_it_would_be_in_http1() -> None:
    fields: Headers = [(b"accept", b"*/*"), (b"x-a", b"\xff b")]
    assert head(*fields) == replace(judge_request(b"GET", b"/a", b"1.1", [(b"host", b"orders"), *fields]), is_http2=True)


@pytest.mark.parametrize(("fields", "is_end", "body"), [
    ([], True, NO_BODY),
    ([], False, CHUNKED),
    ([(b"content-length", b"5")], False, Body(BodyKind.LENGTH, 5)),
    ([(b"content-length", b"0")], False, NO_BODY),
    ([(b"content-length", b"0")], True, NO_BODY),
])
def test_bodies(fields: Headers, is_end: bool, body: Body) -> None:
    assert head(*fields, is_end=is_end).body == body


def test_who_speaks_as_another_is_not_heard() -> None:
    spoofed = [b"x-forwarded-client-cert", b"x-forwarded-for", b"forwarded", b"x-real-ip", b"x-bartizan-reason", b"client-cert", b"l5d-a"]
    assert head(*[(name, b"a") for name in spoofed], (b"x-own", b"b")).headers == [(b"x-own", b"b")]


def test_cookies_are_one_again() -> None:
    crumbs = head((b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"), (b"cookie", b"c=3"))
    assert crumbs.headers == [(b"cookie", b"a=1; b=2; c=3"), (b"x", b"y")]


@pytest.mark.parametrize("value", [b"trailers", b"Trailers"])
def test_who_takes_trailers(value: bytes) -> None:
    said = head((b"te", value))
    assert (said.takes_trailers, said.headers) == (True, [])
    assert not head().takes_trailers


@pytest.mark.parametrize("host", [b"orders", b"ORDERS", b"orders.", b"orders:80"])
def test_a_host_that_says_the_same(host: bytes) -> None:
    assert head((b"host", host)).host == b"orders"


def test_a_host_without_authority() -> None:
    assert judge_request_fields([METHOD, SCHEME, PATH, (b"host", b"Orders:8080")], True).host == b"orders"


def test_the_star_is_for_options() -> None:
    assert judge_request_fields([(b":method", b"OPTIONS"), *PLAIN[1:3], (b":path", b"*")], True).target == b"*"


def test_the_path_is_forwarded_in_its_one_spelling() -> None:
    assert judge_request_fields([*PLAIN[:3], (b":path", b"/%61?b=%2F")], True).target == b"/a?b=%2F"


def test_the_scheme_is_nobodys_word() -> None:
    assert judge_request_fields([METHOD, (b":scheme", b"https"), *PLAIN[2:]], True) == head()


def test_a_client_that_waits_for_100() -> None:
    assert head((b"expect", b"100-continue"), is_end=False).expects_continue
    assert not head((b"expect", b"100-continue")).expects_continue


def test_a_hundred_fields_are_taken() -> None:
    assert len(head(*[(b"x", b"y")] * 99).headers) == 99


# -- responses


def answer(*fields: tuple[bytes, bytes], status: bytes = b"200", is_end: bool = False, method: bytes = b"GET") -> ResponseHead:
    return judge_response_fields([(b":status", status), *fields], is_end, method)


@pytest.mark.parametrize(("fields", "status", "is_end", "method", "body", "length"), [
    ([], b"200", False, b"GET", CHUNKED, None),
    ([], b"200", True, b"GET", NO_BODY, 0),
    ([(b"content-length", b"5")], b"200", False, b"GET", Body(BodyKind.LENGTH, 5), 5),
    ([(b"content-length", b"5")], b"200", True, b"HEAD", NO_BODY, 5),
    ([], b"200", True, b"HEAD", NO_BODY, None),
    ([], b"200", False, b"HEAD", NO_BODY, None),
    ([(b"content-length", b"5")], b"304", True, b"GET", NO_BODY, 5),
    ([], b"304", True, b"GET", NO_BODY, None),
    ([], b"204", True, b"GET", NO_BODY, None),
    ([], b"204", False, b"GET", NO_BODY, None),
    ([], b"103", False, b"GET", NO_BODY, None),
])
def test_responses(fields: Headers, status: bytes, is_end: bool, method: bytes, body: Body, length: int | None) -> None:
    found = answer(*fields, status=status, is_end=is_end, method=method)
    assert (found.status, found.body, found.content_length, found.is_last) == (int(status), body, length, False)


def test_a_response_is_what_it_would_be_in_http1() -> None:
    fields: Headers = [(b"server", b"x"), (b"content-length", b"5"), (b"set-cookie", b"a"), (b"set-cookie", b"b")]
    assert answer(*fields) == judge_response(200, b"OK", b"1.1", fields, b"GET")


@pytest.mark.parametrize(("fields", "is_end"), [
    ([], True),
    ([(b":status", b"20")], True),
    ([(b":status", b"+20")], True),
    ([(b":status", b"600")], True),
    ([(b":status", b"200"), (b":status", b"200")], True),
    ([(b":status", b"200"), (b":path", b"/")], True),
    ([(b"x", b"y"), (b":status", b"200")], True),
    ([(b":status", b"101")], False),
    ([(b":status", b"100")], True),
    ([(b":status", b"200"), (b"connection", b"close")], True),
    ([(b":status", b"200"), (b"transfer-encoding", b"chunked")], False),
    ([(b":status", b"200"), (b"te", b"trailers")], False),
    ([(b":status", b"200"), (b"X", b"y")], True),
    ([(b":status", b"200"), (b"x", b"y\r\nz: a")], True),
    ([(b":status", b"200"), (b"content-length", b"5")], True),
])
def test_malformed_responses(fields: Headers, is_end: bool) -> None:
    with pytest.raises(Malformed):
        judge_response_fields(fields, is_end, b"GET")


@pytest.mark.parametrize("fields", [
    [(b"content-length", b"5"), (b"content-length", b"5")],
    [(b"content-length", b"-5")],
    [(b"x", b"\x01")],
    [(b"x", b"y")] * 101,
    [(b"x", b"y" * 8000)] * 9,
])
def test_responses_against_the_law(fields: Headers) -> None:
    with pytest.raises(BadResponse):
        answer(*fields)


# -- trailers


@pytest.mark.parametrize(("fields", "is_taken"), [
    ([(b"grpc-status", b"0")] * 300, True), ([(b"a", b"")] * 600, False), ([(b"a", b"x" * 16000)], True), ([(b"a", b"x" * 16400)], False),
])
def test_trailers_are_no_more_than_in_http1(fields: Headers, is_taken: bool) -> None:
    """A reference of one byte may mean four thousand; what comes out of it goes on to somebody else."""
    if is_taken:
        assert judge_trailer_fields(fields) == fields
    else:
        with pytest.raises(Malformed):
            judge_trailer_fields(fields)


def test_trailers_that_go_on() -> None:
    assert judge_trailer_fields([(b"grpc-status", b"0"), (b"host", b"evil"), (b"x-forwarded-for", b"a")]) == [(b"grpc-status", b"0")]


@pytest.mark.parametrize("field", [(b":path", b"/"), (b":status", b"200"), (b"X", b"y"), (b"x", b"a\nb"), (b"x(", b"a"), (b"", b"")])
def test_malformed_trailers(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(Malformed):
        judge_trailer_fields([(b"grpc-status", b"0"), field])


# -- the opposite way


def test_a_request_as_it_is_sent() -> None:
    request = RequestHead(
        b"POST", b"/a?b", b"orders", None, [(b"X-A", b"B"), (b"cookie", b"c")], Body(BodyKind.LENGTH, 5), False,
        expects_continue=True, takes_trailers=True,
    )
    assert request_fields(request, b"orders:8080", [(b"X-Request-Id", b"1")], b"https") == [
        (b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"orders:8080"), (b":path", b"/a?b"),
        (b"x-a", b"B"), (b"cookie", b"c"), (b"x-request-id", b"1"), (b"content-length", b"5"), (b"te", b"trailers"),
        (b"expect", b"100-continue"),
    ]


@pytest.mark.parametrize("fields", [[], [(b"content-length", b"7")], [(b"te", b"trailers"), (b"x", b"y")]])
def test_there_and_back(fields: Headers) -> None:
    request = head(*fields, is_end=False)
    assert judge_request_fields(request_fields(request, request.host, [], b"http"), False) == request


@pytest.mark.parametrize(("body", "length", "sent"), [
    (Body(BodyKind.LENGTH, 5), 5, [(b"content-length", b"5")]),
    (NO_BODY, 5, [(b"content-length", b"5")]),
    (NO_BODY, None, []),
    (CHUNKED, None, []),
    (Body(BodyKind.UNTIL_CLOSE), None, []),
])
def test_a_response_as_it_is_sent(body: Body, length: int | None, sent: Headers) -> None:
    response = ResponseHead(200, b"OK", [(b"Server", b"x")], body, length, False)
    assert response_fields(response, [(b"X-A", b"b")]) == [(b":status", b"200"), (b"server", b"x"), (b"x-a", b"b"), *sent]


def test_trailers_as_they_are_sent() -> None:
    assert trailer_fields([(b"Grpc-Status", b"0")]) == [(b"grpc-status", b"0")]


def test_the_reason_for_a_second_host_is_the_host() -> None:
    with pytest.raises(ProtocolViolation, match="2 host fields") as caught:
        head((b"host", b"orders"), (b"host", b"evil"))
    assert caught.value.reason is Reason.BAD_HOST
