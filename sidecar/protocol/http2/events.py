"""What the engine tells of one connection, in the order in which it happened."""

from msgspec import Struct

from sidecar.model.message import Headers, RequestHead, ResponseHead
from sidecar.model.reason import Reason


class RequestReceived(Struct, frozen=True, gc=False):
    """
    Args:
        head: judged. Equal heads may be one object: never changed in place.
        is_end: no body follows.
    """

    stream: int
    head: RequestHead
    is_end: bool


class RequestRefused(Struct, frozen=True, gc=False):
    """Well-formed HTTP/2, and against our law. The stream is open for the answer that explains it.

    Args:
        method: a token, or `-`.
        headers: what came, for the form of the answer (gRPC) only.
    """

    stream: int
    reason: Reason
    detail: str
    method: bytes
    headers: Headers
    is_end: bool


class ResponseReceived(Struct, frozen=True, gc=False):
    """An interim one (1xx) or the final one."""

    stream: int
    head: ResponseHead
    is_end: bool


class DataReceived(Struct, frozen=True, gc=False):
    """`data` counts against the windows until `Engine.consumed` is told."""

    stream: int
    data: bytes
    is_end: bool


class TrailersReceived(Struct, frozen=True, gc=False):
    """The stream's end; only those fields that may go on."""

    stream: int
    fields: Headers


class StreamReset(Struct, frozen=True, gc=False):
    """The stream is over before it was complete.

    Args:
        is_malformed: we reset it, since what came on it was no well-formed message; else the peer did.
        is_unprocessed: the peer said that it has not looked at the request.
    """

    stream: int
    code: int
    detail: str
    is_malformed: bool = False
    is_unprocessed: bool = False


class WindowOpened(Struct, frozen=True, gc=False):
    """A stream that had to stop sending may go on; 0: the connection, and so perhaps every stream."""

    stream: int


class GoneAway(Struct, frozen=True, gc=False):
    """The peer takes no new streams; those that it did not look at were reset before this."""

    code: int


Event = (
    RequestReceived | RequestRefused | ResponseReceived | DataReceived | TrailersReceived | StreamReset | WindowOpened | GoneAway
)
