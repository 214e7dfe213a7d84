"""One stream as the engine knows it. Spec: RFC 9113 s5.1."""

from sidecar.model.message import Body, BodyKind

from . import flow
from .flow import ReceiveWindow


class Stream:
    __slots__ = (
        "expected", "has_head", "id", "is_blocked", "is_local_done", "is_remote_done", "method", "received", "send_window", "window",
    )

    def __init__(self, sid: int, send_window: int, method: bytes = b"") -> None:
        self.id = sid
        self.send_window = send_window
        self.window = ReceiveWindow(flow.STREAM_BYTES)
        self.method = method                    # of the request that is answered here, where we ask
        self.has_head = False                   # the request's, or the final response's
        self.expected: int | None = 0           # bytes of the body; None where it ends by itself
        self.received = 0
        self.is_blocked = False                 # wanted to send more than a window has
        self.is_local_done = False
        self.is_remote_done = False

    def expect(self, body: Body) -> None:
        self.has_head = True
        self.expected = None if body.kind is BodyKind.CHUNKED else body.length
