"""Requests over a memory stream: each whole, and byte by byte."""

import pytest

from sidecar.model.errors import DownstreamGone, ProtocolViolation
from sidecar.model.message import LENGTH, Body, ResponseHead
from sidecar.model.reason import Reason
from sidecar.net.http1_server import Http1Server
from tests.helpers.http1 import CHUNKED, GET, POST, Fed, requests, steps


@steps
async def test_requests_one_after_the_other(step: int) -> None:
    connection = Http1Server(Fed(GET + POST + CHUNKED + GET, step))
    assert await requests(connection) == [
        (b"GET", b"/a", b""), (b"POST", b"/a", b"hello"), (b"POST", b"/a", b"hello world"), (b"GET", b"/a", b""),
    ]
    assert not connection.has_leftover


@steps
async def test_early_bytes_come_first(step: int) -> None:
    connection = Http1Server(Fed(POST[5:] + GET, step), early=POST[:5])
    assert await requests(connection) == [(b"POST", b"/a", b"hello"), (b"GET", b"/a", b"")]


async def test_a_client_that_closes_between_requests() -> None:
    assert await Http1Server(Fed(b"", 1)).read_request() is None


@pytest.mark.parametrize("cut", [1, len(GET) - 1])
async def test_a_client_that_closes_within_a_head(cut: int) -> None:
    with pytest.raises(DownstreamGone, match="head"):
        await Http1Server(Fed(GET[:cut], 7)).read_request()


@steps
@pytest.mark.parametrize("data", [POST[:-1], CHUNKED[:-1], CHUNKED[:-5], CHUNKED[:-12]])
@pytest.mark.parametrize("is_cut", [False, True])
async def test_a_client_that_ends_within_a_body(step: int, data: bytes, is_cut: bool) -> None:
    with pytest.raises(DownstreamGone):
        await requests(Http1Server(Fed(data, step, is_cut=is_cut)))


async def test_a_head_without_end_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(ProtocolViolation) as caught:
        await Http1Server(Fed(b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"a" * 200_000, 4096)).read_request()
    assert caught.value.reason is Reason.HEAD_TOO_LARGE


@pytest.mark.parametrize(("asked", "closes", "is_taken"), [
    (GET, False, True),
    (GET, True, False),                                                     # must be said
    (GET[:-2] + b"connection: close\r\n\r\n", False, False),
    (b"GET /a HTTP/1.0\r\nHost: orders\r\n\r\n", False, False),
    (POST[:-1], False, False),                                              # its body is not whole: nothing can follow
])
async def test_a_text_that_is_known_is_for_who_may_go_on(asked: bytes, closes: bool, is_taken: bool) -> None:
    connection = Http1Server(Fed(asked, 1 << 20))
    assert await connection.read_request() is not None
    head = ResponseHead(200, b"OK", [], Body(LENGTH, 2), 2, is_last=False)
    text = b"HTTP/1.1 200 as known\r\n\r\n"
    rest = connection.answer(head, b"ok", closes=closes, text=text)
    assert (rest == text + b"ok", connection.can_go_on) == (is_taken, is_taken)
    assert (b"connection: close\r\n" in rest) != is_taken
