"""The two ends of an exchange, whatever version of HTTP carries it: what `http1_server.py`, `http1_client.py`, `http2_server.py` and
`http2_client.py` offer and the recipes use.

    ServingEnd   the downstream's: its request has arrived, its response is written
    AskingEnd    the upstream's: the request is written, its response is read
    Connection   to an upstream, which opens asking ends: one at a time (HTTP/1.1) or many (HTTP/2)

Bodies come and go piece by piece, so that a slow reader slows the sender down. Errors are blamed on the other end: ServingEnd
raises ProtocolViolation and DownstreamGone, AskingEnd BadResponse and Reset. The caller sets the deadlines.
"""

from collections.abc import Callable
from typing import Protocol

from sidecar.model.message import Headers, RequestHead, ResponseHead


class BodyReader(Protocol):
    """A body that arrives.

    Attributes:
        trailers: that came after the body and may go on; complete once `is_body_done`.
    """

    trailers: Headers

    @property
    def is_body_done(self) -> bool:
        """Whether the body was read to its end."""

    def take_buffered(self) -> bytes:
        """What of the body is here already, without waiting; b"" if nothing is.

        Whoever asks, here or by `read_body`, is done with the pieces that it got before: their sender may send as much again.
        """

    async def read_body(self) -> bytes:
        """The next piece; b"" at the end."""


class ServingEnd(BodyReader, Protocol):
    """
    Attributes:
        request: the judged head.
    """

    request: RequestHead

    @property
    def can_go_on(self) -> bool:
        """After the response: whether the connection takes another request."""

    async def send_interim(self, response: ResponseHead) -> None:
        """A 1xx head."""

    async def send_head(
        self, response: ResponseHead, piece: bytes, *, is_end: bool, closes: bool = False, trailers: Headers | None = None
    ) -> None:
        """The response's head with the first piece of its body, in one write where that is possible.

        Args:
            response: its `body` says what will follow; framing is this end's affair.
            is_end: `piece` is all there is.
            closes: no other request is served on this connection.
        """

    async def send_body(self, piece: bytes, *, is_end: bool, trailers: Headers | None = None) -> None:
        """The next piece of the body (perhaps none, at the end), and trailers behind the last one."""

    def cut(self) -> None:
        """End a response that was begun, or never will be, so that nobody takes it for complete."""

    def finish(self) -> None:
        """The recipe is done with the exchange, whose response is complete or cut; the request's body may be unread."""


class AskingEnd(BodyReader, Protocol):
    @property
    def account(self) -> str:
        """The account of the connection that carries it; empty: none is kept."""

    async def send_request(self, request: RequestHead, host: bytes, extra: Headers, piece: bytes, *, is_end: bool) -> None:
        """The request's head with the first piece of its body, in one write where that is possible.

        Args:
            host: what Host (:authority) says.
            extra: fields of our own, after the client's.
        """

    async def send_body(self, piece: bytes, *, is_end: bool, trailers: Headers | None = None) -> None: ...

    async def read_head(self) -> ResponseHead:
        """The next response head, interim ones (1xx) included."""

    def finish(self) -> None:
        """The exchange is over. If it is complete on both sides the connection can take another, else nothing of it is left."""


class Connection(Protocol):
    """
    Attributes:
        released: called by each asking end when it is finished.
    """

    released: Callable[["Connection"], None] | None

    @property
    def room(self) -> int:
        """How many exchanges more it takes now; 0 if it is spent."""

    @property
    def is_idle(self) -> bool:
        """No exchange is on."""

    @property
    def is_spent(self) -> bool:
        """No exchange is on, and none can be."""

    def retire(self) -> None:
        """Take no exchange any more."""

    def is_quiet(self) -> bool:
        """Whether an idle one is still good: neither ended nor saying what nobody asked for."""

    def open(self) -> AskingEnd:
        """A new exchange; `room` is one less until its end is finished."""

    def close(self) -> None:
        """At once; exchanges that are on break off."""
