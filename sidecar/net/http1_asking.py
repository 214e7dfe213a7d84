"""An exchange on an HTTP/1.1 connection that no task attends: the request is sent, and a listener is told of what comes.

It is to a prompt exchange what an `Http2AskingEnd` is; that has somebody who reads for all on its connection, and this has a connection to
itself and `arrivals.py`. A task that takes over deals with the connection itself, from where it is.
"""

from sidecar.model.errors import UpstreamError
from sidecar.model.message import Headers, RequestHead, ResponseHead

from .http1_client import Http1Client
from .turn import Listener


class Http1AskingEnd:
    """
    Args:
        client: opened for this exchange.
    Attributes:
        listener: is told of news, as long as there is one.
        head: of the answer, until it is taken.
        unsent: of the request, what there was no room for.
        failure: why nothing more can be sent or read.
        has_ended: nothing more comes; perhaps that is the end of the body.
    """

    __slots__ = ("client", "failure", "has_ended", "head", "listener", "unsent")

    def __init__(self, client: Http1Client) -> None:
        self.client = client
        self.listener: Listener | None = None
        self.head: ResponseHead | None = None
        self.unsent = b""
        self.failure: UpstreamError | None = None
        self.has_ended = False

    def send_request_nowait(self, request: RequestHead, host: bytes, extra: Headers, body: bytes) -> None:
        """A request that is whole."""
        try:
            self.unsent = self.client.begin(request, host, extra, body)
        except UpstreamError as exc:
            self.failure = exc

    def attend(self, listener: Listener) -> None:
        """It has sent its request, and waits for the answer."""
        self.listener = listener
        if self.is_stuck:
            listener.look()
        else:
            self._wait()

    @property
    def is_stuck(self) -> bool:
        """Nothing more comes of itself: a task is to see to it."""
        return self.has_ended or bool(self.unsent) or self.failure is not None

    @property
    def arrived(self) -> bytes:
        """As much as `take_buffered` would return, at most."""
        return self.client.unread

    @property
    def is_body_done(self) -> bool:
        return self.client.is_body_done

    @property
    def trailers(self) -> Headers:
        return self.client.trailers

    def take_head(self) -> ResponseHead:
        head, self.head = self.head, None
        assert head is not None
        return head

    def take_buffered(self) -> bytes:
        return self.client.take_buffered()

    def give_back(self) -> None:
        """It is read as it goes on."""

    # -- what arrives

    def look(self) -> None:
        listener = self.listener
        if listener is None:
            return      # a task looks for itself
        client = self.client
        try:
            data = client.receive_nowait()
            if data:
                client.feed(data)
                if not client.is_answered and self.head is None:
                    self.head = client.take_head()
            elif data is not None:
                self.has_ended = True
        except UpstreamError as exc:
            self.failure = exc
        listener.look()
        if self.listener is not None and not self.is_stuck:
            self._wait()

    def crash(self, bug: Exception) -> None:
        if self.listener is not None:
            self.listener.crash(bug)

    def _wait(self) -> None:
        try:
            self.client.tell_input(self)
        except UpstreamError as exc:
            self.failure = exc
            if self.listener is not None:
                self.listener.look()
