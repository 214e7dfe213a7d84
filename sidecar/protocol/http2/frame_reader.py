"""Bytes to whole frames, header blocks put together: the preface, sizes, and the order that the framing itself demands.

Trust: what comes in is a stranger's bytes, cut up anyhow; what is kept of them is at most one frame and one header block.
Attacked by tests/protocol/http2/test_frame_reader.py. Spec: RFC 9113 s3.4, s4.1, s4.3, s6.2, s6.10.
"""

from collections.abc import Iterator

from sidecar.protocol.detect import PREFACE

from .flood import Budget
from .frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    HAS_PRIORITY,
    HEADER_BYTES,
    HEADERS,
    MAX_FRAME_BYTES,
    MAX_WINDOW,
    PADDED,
    SETTINGS,
    Code,
    Http2Error,
    parse_header,
    parse_word,
)

MAX_BLOCK_BYTES = 65536
DRESSED = PADDED | HAS_PRIORITY

Frame = tuple[int, int, int, bytes, int]


class FrameReader:
    """
    Args:
        needs_preface: the other end is a client.
        control: pays for CONTINUATION.
    Attributes:
        begun_at: since when a frame that is no DATA, or a header block, waits for its end; else None. 10 s should do.
    """

    __slots__ = (
        "_block", "_block_bytes", "_block_flags", "_block_stream", "_buffer", "_control", "_needs_preface", "_needs_settings", "begun_at",
    )

    def __init__(self, control: Budget, *, needs_preface: bool) -> None:
        self._control = control
        self._needs_preface = needs_preface
        self._needs_settings = True
        self._buffer = b""
        self._block: list[bytes] = []       # of a header block that goes on
        self._block_bytes = 0
        self._block_stream = 0
        self._block_flags = 0
        self.begun_at: float | None = None

    def feed(self, data: bytes, now: float) -> Iterator[Frame]:
        """(kind, flags, stream, payload, size on the wire) of each frame that `data` completes.

        Padding and priority are taken off DATA and HEADERS, and HEADERS hold their whole block.
        """
        if self._buffer:
            data = self._buffer + data
        at, end = 0, len(data)
        if self._needs_preface:
            if not data.startswith(PREFACE):
                if not PREFACE.startswith(data):
                    raise Http2Error(Code.PROTOCOL_ERROR, "the connection does not begin with the preface")
                self._buffer = data
                return
            at = len(PREFACE)
            self._needs_preface = False
        begin = at
        while end - at >= HEADER_BYTES:
            high, low, kind, flags, stream = parse_header(data, at)
            size = high << 8 | low
            if size > MAX_FRAME_BYTES:
                raise Http2Error(Code.FRAME_SIZE_ERROR, f"a frame of {size} bytes; {MAX_FRAME_BYTES} are allowed")
            start = at + HEADER_BYTES
            if end - start < size:
                break
            at = start + size
            payload = data[start:at]
            stream &= MAX_WINDOW    # the high bit is reserved
            if self._block_stream and (kind != CONTINUATION or stream != self._block_stream):
                raise Http2Error(Code.PROTOCOL_ERROR, "another frame within a header block")
            if self._needs_settings:
                if kind != SETTINGS or flags & ACK:
                    raise Http2Error(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")
                self._needs_settings = False
            if kind == DATA:
                yield kind, flags, stream, _without_padding(payload) if flags & PADDED else payload, size
            elif kind == HEADERS:
                if flags & DRESSED or not stream & 1:       # seldom: else there is nothing to take off, and nothing to refuse
                    payload = _bare(stream, flags, payload)
                if flags & END_HEADERS:
                    yield kind, flags, stream, payload, size
                else:
                    self._block, self._block_bytes = [payload], len(payload)
                    self._block_stream, self._block_flags = stream, flags
            elif kind == CONTINUATION:
                self._continue(payload, now)
                if flags & END_HEADERS:
                    stream, self._block_stream = self._block_stream, 0
                    payload, self._block = b"".join(self._block), []
                    yield HEADERS, self._block_flags | END_HEADERS, stream, payload, self._block_bytes
            else:
                yield kind, flags, stream, payload, size
        self._buffer = data[at:]
        if self._block_stream or (at < end and (end - at < 4 or data[at + 3] != DATA)):
            if self.begun_at is None or (at > begin and not self._block_stream):
                self.begun_at = now
        else:
            self.begun_at = None

    def _continue(self, payload: bytes, now: float) -> None:
        if not self._block_stream:
            raise Http2Error(Code.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._control.spend(now)
        self._block.append(payload)
        self._block_bytes += len(payload)
        if self._block_bytes > MAX_BLOCK_BYTES:
            raise Http2Error(Code.ENHANCE_YOUR_CALM, f"a header block of more than {MAX_BLOCK_BYTES} bytes")


def _bare(stream: int, flags: int, payload: bytes) -> bytes:
    """HEADERS without padding and priority."""
    if not stream & 1:
        # Stream 0, those that only a server could open, and whose block would go on under the number that means none.
        raise Http2Error(Code.PROTOCOL_ERROR, f"HEADERS on stream {stream}, which no client opens")
    if flags & PADDED:
        payload = _without_padding(payload)
    if flags & HAS_PRIORITY:
        if len(payload) < 5:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "HEADERS too short for their priority")
        check_dependency(stream, payload)
        payload = payload[5:]
    return payload


def check_dependency(stream: int, payload: bytes) -> None:
    if parse_word(payload)[0] & MAX_WINDOW == stream:
        raise Http2Error(Code.PROTOCOL_ERROR, "a stream that depends on itself")


def _without_padding(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise Http2Error(Code.PROTOCOL_ERROR, "padding as long as its frame")
    return payload[1:len(payload) - payload[0]]
