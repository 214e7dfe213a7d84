"""Responses over a memory stream: each whole, and byte by byte."""

import pytest

from sidecar.model.errors import Reset
from sidecar.model.message import BodyKind
from tests.helpers.http1 import OK, ask, response, steps
from tests.helpers.streams import whole


@steps
@pytest.mark.parametrize(("data", "method", "kind", "body"), [
    (OK, b"GET", BodyKind.LENGTH, b"ok"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"GET", BodyKind.CHUNKED, b"ok"),
    (b"HTTP/1.1 200 OK\r\n\r\nok until the end", b"GET", BodyKind.UNTIL_CLOSE, b"ok until the end"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"HEAD", BodyKind.NONE, b""),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b"GET", BodyKind.NONE, b""),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", b"GET", BodyKind.NONE, b""),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"GET", BodyKind.NONE, b""),
])
async def test_responses(step: int, data: bytes, method: bytes, kind: BodyKind, body: bytes) -> None:
    head, got, connection = await response(data, step, method)
    assert (head.status // 100 in (2, 3), head.body.kind, got) == (True, kind, body)
    assert not connection.has_leftover


@steps
async def test_interim_responses_come_one_by_one(step: int) -> None:
    connection = await ask(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK, step)
    assert [(await connection.read_head()).status for _ in range(3)] == [100, 103, 200]
    assert await whole(connection) == b"ok"


async def test_what_a_server_says_too_much_is_seen() -> None:
    _, body, connection = await response(OK + b"HTTP/1.1 200 OK\r\n\r\n", 1 << 20)
    assert body == b"ok"
    assert connection.has_leftover


@steps
@pytest.mark.parametrize("data", [
    b"", OK[:-1], OK[:20], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
])
@pytest.mark.parametrize("is_cut", [False, True])
async def test_a_server_that_ends_too_early(step: int, data: bytes, is_cut: bool) -> None:
    with pytest.raises(Reset):
        await response(data, step, is_cut=is_cut)


@steps
async def test_a_body_until_the_end_that_is_cut_is_no_whole_one(step: int) -> None:
    with pytest.raises(Reset, match="reset"):
        await response(b"HTTP/1.1 200 OK\r\n\r\nok until the e", step, is_cut=True)


@pytest.mark.parametrize(("data", "room"), [
    (OK, 1),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", 0),
    (b"HTTP/1.1 200 OK\r\n\r\nok", 0),
    (OK + b"HTTP", 0),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", 0),
])
async def test_only_a_complete_exchange_leaves_room_for_another(data: bytes, room: int) -> None:
    connection = await ask(data, 1 << 20)
    assert (connection.room, connection.is_idle) == (0, False)
    await connection.read_head()
    connection.take_buffered()
    connection.finish()
    assert (connection.room, connection.is_idle, connection.is_spent) == (room, True, not room)
