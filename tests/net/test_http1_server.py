"""Requests over a memory stream: each whole, and byte by byte."""

import pytest

from sidecar.model.errors import DownstreamGone, ProtocolViolation
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
