"""What both ends of a connection share, over a memory stream: each exchange whole, and byte by byte."""

import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from sidecar.model.errors import BadResponse, DownstreamGone, ProtocolViolation, Reset
from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason
from sidecar.net.http1 import Http1Connection
from sidecar.net.http1_client import Http1Client
from sidecar.net.http1_server import Http1Server
from sidecar.net.socket_stream import SocketStream, abort
from tests.helpers.http1 import GET, POST, Fed, requests, response, steps
from tests.helpers.streams import whole


async def test_what_is_here_already_needs_no_wait() -> None:
    connection = Http1Server(Fed(POST + GET, 1 << 20))
    await connection.read_request()
    assert (connection.is_body_done, connection.take_buffered(), connection.is_body_done) == (False, b"hello", True)
    assert connection.has_leftover
    assert connection.take_buffered() == b""
    assert await connection.read_body() == b""


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


async def test_a_head_that_has_come_whole_is_taken_without_a_wait_of_its_own() -> None:
    """On a socket; another stream is read by those who wait."""
    ours, theirs = socket.socketpair()
    with trio.fail_after(5), ours, theirs:
        connection = Http1Server(SocketStream(ours))
        assert connection.request_nowait() is None
        theirs.sendall(GET[:9])
        await connection.arrival()
        assert connection.request_nowait() is None      # a part of it
        theirs.sendall(GET[9:] + GET)
        assert await connection.read_request() is not None
        assert connection.request_nowait() is not None  # which came with the one before
        theirs.sendall(GET)
        await connection.arrival()
        assert connection.request_nowait() is not None
        theirs.close()
        await connection.arrival()
        assert connection.request_nowait() is None
        assert await connection.read_request() is None
    fed = Http1Server(Fed(GET, 1 << 20))
    await fed.arrival()
    assert fed.request_nowait() is None
    assert await fed.read_request() is not None


async def test_a_reset_is_blamed_on_the_other_end_whoever_finds_it() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with trio.fail_after(5), listener, socket.create_connection(listener.getsockname()) as ours:
        connection = Http1Client(SocketStream(ours))
        abort(listener.accept()[0])
        await connection.arrival()
        with pytest.raises(Reset):
            connection.head_nowait()


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
