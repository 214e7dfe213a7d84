"""Both ends of our own, back to back, on the streams that carry them: memory, sockets, TLS."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from sidecar.model.message import Body, BodyKind, RequestHead, ResponseHead
from sidecar.net.http2_client import Http2Client
from sidecar.net.http2_server import Http2Server, Http2ServingEnd
from sidecar.net.socket_stream import SocketStream
from tests.helpers import pki
from tests.helpers.sockets import tcp
from tests.helpers.streams import stream_pair
from tests.helpers.tls import shake_hands, tls_pair

CHUNKED = Body(BodyKind.CHUNKED)
ECHO = RequestHead(b"POST", b"/echo", b"orders", None, [(b"x-a", b"b")], CHUNKED, False, takes_trailers=True, is_http2=True)
OK = ResponseHead(200, b"OK", [(b"server", b"us")], CHUNKED, None, False)
SENT = bytes(range(256)) * 2048     # half a megabyte


async def echo(end: Http2ServingEnd) -> None:
    with end.scope:
        await end.send_head(OK, b"", is_end=False)
        while not end.is_body_done:
            await end.send_body(await end.read_body(), is_end=False)
        await end.send_body(b"", is_end=True, trailers=end.trailers)
    end.finish()


async def serve(stream: trio.abc.HalfCloseableStream) -> None:
    server = Http2Server(stream)
    async with trio.open_nursery() as nursery:
        while (found := await server.next_exchange()) is not None:
            assert isinstance(found, Http2ServingEnd)
            assert found.request == ECHO
            nursery.start_soon(echo, found)


@asynccontextmanager
async def pair(kind: str) -> AsyncIterator[tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]]:
    if kind == "memory":
        yield stream_pair(5000)
    elif kind == "socket":
        with tcp() as (client_end, server_end):
            yield SocketStream(client_end), SocketStream(server_end)
    else:
        root = pki.authority("root")
        client = pki.mesh_client(pki.issue(root, pki.uri(pki.WEB)), root)
        one, other = tls_pair(client, pki.mesh_server(pki.issue(root, pki.uri(pki.ORDERS)), root))
        assert await shake_hands(one, other) == (None, None)
        yield one, other
        one.close()
        other.close()


@pytest.mark.parametrize("kind", ["memory", "socket", "tls"])
async def test_ten_echoes_at_once(kind: str) -> None:
    async with pair(kind) as (one, other), trio.open_nursery() as nursery:
        nursery.start_soon(serve, other)
        client = Http2Client(one)

        async def ask(number: int) -> None:
            async with trio.open_nursery() as exchange:
                end = client.open()
                await end.send_request(ECHO, b"orders", [], b"%d" % number, is_end=False)

                async def upload() -> None:
                    for at in range(0, len(SENT), 30_000):
                        await end.send_body(SENT[at:at + 30_000], is_end=False)
                    await end.send_body(b"", is_end=True, trailers=[(b"x-sum", b"%d" % number)])

                exchange.start_soon(upload)
                assert (await end.read_head()).headers == [(b"server", b"us")]
                body = b""
                while not end.is_body_done:
                    body += await end.read_body()
                assert body == b"%d" % number + SENT
                assert end.trailers == [(b"x-sum", b"%d" % number)]
                end.finish()

        async with trio.open_nursery() as asking:
            for number in range(10):
                asking.start_soon(ask, number)
        assert client.is_quiet()
        client.close()
