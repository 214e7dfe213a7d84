"""HTTPS calls that keep their connections for the next one, as an API server's do; and calls at a steady pace, whatever becomes of them."""

from collections.abc import Awaitable, Callable, Sequence

import trio
from cryptography import x509

from injector.bench.errors import BenchError
from sidecar.model.address import Address
from sidecar.model.errors import NotVerified
from sidecar.model.message import NO_BODY, Body, BodyKind, RequestHead
from sidecar.net.dial import Dialer
from sidecar.net.http1_client import Http1Client
from sidecar.net.service import MAX_ANSWER_BYTES, read_whole, split_url
from sidecar.net.tls_context import https_client
from sidecar.net.tls_stream import TlsStream
from sidecar.net.verify_host import verify_host

ANSWER_S = 30.0
LOOPBACK = "127.0.0.1"


class Caller:
    """
    Args:
        url: https://localhost:port
        token: to say who we are; empty: nothing is said.
    """

    def __init__(self, url: str, roots: Sequence[x509.Certificate], token: str = "") -> None:
        self._host, self._port, _ = split_url(url)
        self._context = https_client(roots)
        self._dialer = Dialer()
        self._said = [(b"authorization", f"Bearer {token}".encode())] if token else []
        self._idle: list[Http1Client] = []

    async def call(self, method: str, target: str, body: bytes = b"", content: bytes = b"application/json") -> tuple[int, bytes]:
        """(status, body). Raises MeshError."""
        with trio.fail_after(ANSWER_S):
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                framing = Body(BodyKind.LENGTH, len(body)) if body else NO_BODY
                authority = f"{self._host}:{self._port}".encode()
                head = RequestHead(method.encode(), target.encode(), authority, None, self._said, framing, False)
                await connection.open().send_request(head, authority, [(b"content-type", content)], body, is_end=True)
                response = await connection.read_head()
                text = await read_whole(connection, MAX_ANSWER_BYTES)
            except BaseException:
                connection.close()
                raise
        connection.finish()
        if connection.room:
            self._idle.append(connection)
        if text is None:
            raise BenchError(f"the answer to {method} {target} is too large")
        return response.status, text

    async def _connect(self) -> Http1Client:
        stream = TlsStream(self._context, await self._dialer.connect(Address(LOOPBACK, self._port)), is_server=False,
                           server_name=self._host)
        try:
            await stream.handshake(NotVerified)
            verify_host(stream.connection.get_peer_certificate(as_cryptography=True), self._host)
        except BaseException:
            stream.close()
            raise
        return Http1Client(stream)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


async def paced(call: Callable[[], Awaitable[None]], per_s: float, seconds: float) -> list[float]:
    """Calls that begin when they are due, whether others are answered or not.

    Returns:
        How long after that moment each was answered, seconds.
    """
    took: list[float] = []
    began = trio.current_time()

    async def one(due: float) -> None:
        await call()
        took.append(trio.current_time() - due)

    async with trio.open_nursery() as nursery:
        for number in range(max(1, round(per_s * seconds))):
            due = began + number / per_s
            await trio.sleep_until(due)
            nursery.start_soon(one, due)
    return took
