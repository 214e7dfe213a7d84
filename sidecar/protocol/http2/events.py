"""What the engine tells of one connection, in the order in which it happened."""

from dataclasses import dataclass

from sidecar.model.message import Headers, RequestHead, ResponseHead
from sidecar.model.reason import Reason


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """
    Args:
        head: judged. Equal heads may be one object: never changed in place.
        is_end: no body follows.
    """

    stream: int
    head: RequestHead
    is_end: bool


@dataclass(frozen=True, slots=True)
class RequestRefused:
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


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """An interim one (1xx) or the final one."""

    stream: int
    head: ResponseHead
    is_end: bool


@dataclass(frozen=True, slots=True)
class DataReceived:
    """`data` counts against the windows until `Engine.consumed` is told."""

    stream: int
    data: bytes
    is_end: bool


@dataclass(frozen=True, slots=True)
class TrailersReceived:
    """The stream's end; only those fields that may go on."""

    stream: int
    fields: Headers


@dataclass(frozen=True, slots=True)
class StreamReset:
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


@dataclass(frozen=True, slots=True)
class WindowOpened:
    """A stream that had to stop sending may go on; 0: the connection, and so perhaps every stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class GoneAway:
    """The peer takes no new streams; those that it did not look at were reset before this."""

    code: int


Event = (
    RequestReceived | RequestRefused | ResponseReceived | DataReceived | TrailersReceived | StreamReset | WindowOpened | GoneAway
)
