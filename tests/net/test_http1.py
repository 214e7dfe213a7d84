"""One connection over a memory stream: each exchange whole, and byte by byte."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from sidecar.model.errors import BadResponse, DownstreamGone, ProtocolViolation, Reset
from sidecar.model.message import NO_BODY, BodyKind, RequestHead, ResponseHead
from sidecar.model.reason import Reason
from sidecar.net.http1 import Http1Client, Http1Connection, Http1Server
from tests.helpers.streams import whole

GET = b"GET /a HTTP/1.1\r\nHost: orders\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: orders\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Fed(trio.abc.HalfCloseableStream):
    """A stream that gives out what it was fed, `step` bytes at a time, then its end or a reset."""

    def __init__(self, data: bytes, step: int, *, is_cut: bool = False) -> None:
        self._pieces = [data[i:i + step] for i in range(0, len(data), step)]
        self._is_cut = is_cut

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._is_cut and not self._pieces:
            raise trio.BrokenResourceError("reset")
        return self._pieces.pop(0) if self._pieces else b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None: ...

    async def send_eof(self) -> None: ...

    async def aclose(self) -> None: ...


async def ask(data: bytes, step: int, method: bytes = b"GET", *, is_cut: bool = False) -> Http1Client:
    """A connection on which `method` has been asked."""
    connection = Http1Client(Fed(data, step, is_cut=is_cut))
    request = RequestHead(method, b"/", b"orders", None, [], NO_BODY, False)
    await connection.open().send_request(request, b"orders", [], b"", is_end=True)
    return connection


async def requests(connection: Http1Server) -> list[tuple[bytes, bytes, bytes]]:
    found = []
    while (request := await connection.read_request()) is not None:
        found.append((request.method, request.target, await whole(connection)))
    return found


async def response(
    data: bytes, step: int, method: bytes = b"GET", *, is_cut: bool = False
) -> tuple[ResponseHead, bytes, Http1Client]:
    connection = await ask(data, step, method, is_cut=is_cut)
    head = await connection.read_head()
    return head, await whole(connection), connection


steps = pytest.mark.parametrize("step", [1, 2, 7, 1 << 20])


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


async def test_what_is_here_already_needs_no_wait() -> None:
    connection = Http1Server(Fed(POST + GET, 1 << 20))
    await connection.read_request()
    assert (connection.is_body_done, connection.take_buffered(), connection.is_body_done) == (False, b"hello", True)
    assert connection.has_leftover
    assert connection.take_buffered() == b""
    assert await connection.read_body() == b""


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


# -- endings


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


# -- who is to blame


@steps
async def test_a_bad_chunk_is_blamed_on_the_other_end(step: int) -> None:
    bad = b"Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n"
    with pytest.raises(ProtocolViolation) as caught:
        await requests(Http1Server(Fed(b"POST / HTTP/1.1\r\nHost: a\r\n" + bad, step)))
    assert caught.value.reason is Reason.BAD_FRAMING
    with pytest.raises(BadResponse):
        await response(b"HTTP/1.1 200 OK\r\n" + bad, step)


@steps
async def test_a_bad_head_is_blamed_on_the_other_end(step: int) -> None:
    with pytest.raises(ProtocolViolation):
        await Http1Server(Fed(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", step)).read_request()
    with pytest.raises(BadResponse):
        await response(b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", step)


@pytest.mark.parametrize(("end", "blamed"), [(Http1Server, DownstreamGone), (Http1Client, Reset)])
async def test_sending_to_who_is_gone(end: type[Http1Connection], blamed: type[Exception]) -> None:
    one, other = memory_stream_pair()
    await other.aclose()
    with pytest.raises(blamed):
        await end(one).send(b"x")


async def test_a_head_without_end_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(ProtocolViolation) as caught:
        await Http1Server(Fed(b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"a" * 200_000, 4096)).read_request()
    assert caught.value.reason is Reason.HEAD_TOO_LARGE


@pytest.mark.parametrize("read", [Http1Server.read_request, Http1Server.read_body])
async def test_a_cancelled_read_loses_nothing(read: Callable[[Http1Server], Awaitable[RequestHead | bytes | None]]) -> None:
    one, other = memory_stream_pair()
    connection = Http1Server(one)
    sent = GET[:10] if read is Http1Server.read_request else POST[:-2]
    rest = (GET if read is Http1Server.read_request else POST)[len(sent):]
    await other.send_all(sent)
    if read is Http1Server.read_body:
        await connection.read_request()
        assert await connection.read_body() == b"hel"
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, connection)
            await wait_all_tasks_blocked()
            scope.cancel()
    await other.send_all(rest)
    if read is Http1Server.read_body:
        assert await connection.read_body() == b"lo"
    else:
        found = await connection.read_request()
        assert found is not None
        assert found.target == b"/a"


# -- the end of an exchange


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


@steps
async def test_trailers_come_after_the_body(step: int) -> None:
    """Those that may go on; none is left when the next body begins."""
    coded = b"2\r\nhi\r\n0\r\nGrpc-Status:  0 \r\nContent-Length: 7\r\n\r\n"
    connection = Http1Server(Fed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + coded + POST, step))
    await connection.read_request()
    assert await whole(connection) == b"hi"
    assert connection.trailers == [(b"Grpc-Status", b"0")]
    await connection.read_request()
    assert (await whole(connection), connection.trailers) == (b"hello", [])
