"""TLS that is asked for in the words of another protocol, between an application that speaks that protocol without TLS and a server
that must have it.

Each of the three brings the server to TLS, has it verified, and only then lets the application's words go there. What an
application says of TLS to us is declined: between it and its sidecar there is only the pod's loopback.

Trust: server, network and application are strangers. Never plaintext instead: whatever the server says but the one right thing ends
the connection (`protocol/start_tls/`). Attacked by tests/proxy/test_start_tls.py.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import trio

from sidecar.model.egress import StartTls
from sidecar.model.errors import DownstreamGone, ReasonedError, StartTlsRefused
from sidecar.net.ahead import Ahead
from sidecar.net.deadline import Deadline
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_stream import TlsStream
from sidecar.net.wrapped import Wrapped
from sidecar.protocol.start_tls import mysql, postgres, smtp

from .plan import CONNECT_S

T = TypeVar("T")
Secure = Callable[[], Awaitable[TlsStream]]


class Words(Protocol):
    """One protocol's, for one connection."""

    async def begin(
        self, app: Ahead, server: SocketStream, secure: Secure, deadline: Deadline
    ) -> trio.abc.HalfCloseableStream:
        """Leads to TLS, and to where both sides are at the same point; from then on what one says is for the other.

        Args:
            secure: speaks TLS on the server's socket and verifies the certificate; owns the socket from then on.

        ReasonedError if either says anything else than is expected, or goes; what was opened is the caller's to close.
        """

    async def refuse(self, app: Ahead, text: str) -> None:
        """Tells the application why there will be no connection."""


class Postgres:
    async def begin(
        self, app: Ahead, server: SocketStream, secure: Secure, deadline: Deadline
    ) -> trio.abc.HalfCloseableStream:
        deadline.upstream("request for TLS", CONNECT_S)
        await _say(server, postgres.TLS_REQUEST, StartTlsRefused)
        await _hear(server, postgres.read_answer)
        upstream = await secure()
        deadline.downstream("first message", CONNECT_S)
        await self._decline(app)
        return upstream

    async def refuse(self, app: Ahead, text: str) -> None:
        await self._decline(app)
        await app.send_all(postgres.refusal(text))

    async def _decline(self, app: Ahead) -> None:
        """One that prefers encryption asks for each kind, and goes on without."""
        for _ in range(2):
            if not await _look(app, postgres.asks_for_encryption):
                return
            await app.receive_some(len(postgres.TLS_REQUEST))
            await _say(app, postgres.DECLINED, DownstreamGone)


class Smtp:
    async def begin(
        self, app: Ahead, server: SocketStream, secure: Secure, deadline: Deadline
    ) -> trio.abc.HalfCloseableStream:
        deadline.upstream("STARTTLS", CONNECT_S)
        greeting = await _hear(server, smtp.read_greeting)
        await _say(server, smtp.EHLO, StartTlsRefused)
        await _hear(server, smtp.read_offer)
        await _say(server, smtp.STARTTLS, StartTlsRefused)
        await _hear(server, smtp.read_go_ahead)
        upstream = await secure()
        # > Upon completion of the TLS handshake, the SMTP protocol is reset to the initial state (RFC 3207 s4.2): greeted.
        await _say(app, greeting, DownstreamGone)
        return upstream

    async def refuse(self, app: Ahead, text: str) -> None:
        await app.send_all(smtp.refusal(text))


class MySql:
    def __init__(self) -> None:
        self._next = 0      # the number of the packet that the application expects

    async def begin(
        self, app: Ahead, server: SocketStream, secure: Secure, deadline: Deadline
    ) -> trio.abc.HalfCloseableStream:
        deadline.upstream("greeting", CONNECT_S)
        greeting = await _hear(server, mysql.read_greeting)
        await _say(app, greeting, DownstreamGone)
        self._next = 2
        deadline.downstream("login", CONNECT_S)
        login = await _look(app, mysql.read_login)
        if login is None:
            raise DownstreamGone("the application left before it had logged in")
        deadline.upstream("request for TLS", CONNECT_S)
        await _say(server, mysql.tls_request(login), StartTlsRefused)
        return Renumbered(await secure())

    async def refuse(self, app: Ahead, text: str) -> None:
        await app.send_all(mysql.refusal(text, self._next))


WORDS: dict[StartTls, type[Words]] = {"postgres": Postgres, "smtp": Smtp, "mysql": MySql}


class Renumbered(Wrapped):
    """A MySQL server, as an application sees it that has said one packet less. Its login is the first that is sent."""

    def __init__(self, stream: TlsStream) -> None:
        super().__init__(stream)
        self._numbers = mysql.Numbers()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return self._numbers.to_application(await super().receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await super().send_all(self._numbers.to_server(bytes(data)))


async def _say(stream: trio.abc.SendStream, words: bytes, gone: type[ReasonedError]) -> None:
    """
    Args:
        gone: whom to blame if nobody is there.
    """
    try:
        await stream.send_all(words)
    except trio.BrokenResourceError as exc:
        raise gone("the connection was closed") from exc


async def _hear(server: SocketStream, read: Callable[[bytes], T | None]) -> T:
    """What `read` makes of the server's next words, which are taken whole; what comes behind them must be TLS."""
    data = b""
    while True:
        try:
            piece = await server.receive_some()
        except trio.BrokenResourceError as exc:
            raise StartTlsRefused("the connection was closed") from exc
        if not piece:
            raise StartTlsRefused("the connection was closed")
        data += piece
        try:
            found = read(data)
        except ValueError as exc:
            raise StartTlsRefused(str(exc)) from exc
        if found is not None:
            return found


async def _look(app: Ahead, read: Callable[[bytes], T | None]) -> T | None:
    """What `read` makes of the application's next words, which stay where they are; None if it has ended."""
    try:
        return await app.look(read)
    except ValueError as exc:
        raise StartTlsRefused(str(exc)) from exc
    except trio.BrokenResourceError as exc:
        raise DownstreamGone("the connection was closed") from exc
