"""HTTP/1.1 connections that read what a test has for them, whole or byte by byte."""

import pytest
import trio

from sidecar.model.message import NO_BODY, RequestHead, ResponseHead
from sidecar.net.http1_client import Http1Client
from sidecar.net.http1_server import Http1Server

from .streams import whole

GET = b"GET /a HTTP/1.1\r\nHost: orders\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: orders\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

steps = pytest.mark.parametrize("step", [1, 2, 7, 1 << 20])


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
