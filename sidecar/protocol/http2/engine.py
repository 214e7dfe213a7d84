"""One HTTP/2 connection without I/O, from either end: bytes in, events out; calls in, bytes out.

A message that RFC 9113 s8.1.1 calls malformed ends its stream; whoever breaks the rules of frames, streams or windows ends the
connection, also where the RFC would end the stream only: an honest peer never does, and resets on demand are an attack
(MadeYouReset). Header blocks are always expanded, those of refused streams too, since both ends count on the same table.

Trust: what comes in is a stranger's bytes at a stranger's pace. What leaves is heads judged by `pseudo.py`, bodies of just the
length that was announced, within windows that only the recipe's reading opens, and floods cut off (`flood.py`).
Attacked by tests/protocol/http2/test_engine.py and test_flood.py, whole and byte by byte, with h2 as the other end.
Spec: RFC 9113. Left out: push, priorities (read over), extended CONNECT.
"""

from collections.abc import Callable
from functools import partial

from sidecar.model.errors import BadResponse, ProtocolViolation
from sidecar.model.message import Headers, RequestHead, ResponseHead
from sidecar.protocol.pseudo import Malformed, judge_request_fields, judge_response_fields, judge_trailer_fields

from . import flood
from .control import MAX_STREAMS, READERS, Control
from .events import (
    DataReceived,
    Event,
    RequestReceived,
    RequestRefused,
    ResponseReceived,
    TrailersReceived,
)
from .frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    LAST_ID,
    MAX_FRAME_BYTES,
    Code,
    Http2Error,
    render,
    render_header,
    render_reset,
)
from .stream import Stream


class Engine(Control):
    """Streams are named by their number.

    Args:
        host: where we serve this one only, on a Unix socket: every request is for it, whatever its authority says.
    """

    def __init__(self, *, is_server: bool, host: bytes | None = None) -> None:
        super().__init__(is_server=is_server)
        self._judges = (_judge_before_body, _judge_at_end) if host is None else tuple(
            partial(_judge_for, host, judge) for judge in (_judge_before_body, _judge_at_end)
        )

    # -- sending

    def open_stream(self, method: bytes) -> int:
        """A new stream of ours, for a request with `method`, whose head is sent next."""
        assert not self._is_server
        assert not self.is_going_away
        self._last_id += 2
        self.is_going_away = self._last_id + 2 > LAST_ID
        self._control.earn(flood.EARNED_BY_TRAFFIC)
        self._streams[self._last_id] = Stream(self._last_id, self._initial_window, method)
        return self._last_id

    def send_head(self, sid: int, fields: Headers, *, is_end: bool) -> None:
        self._send_block(self._streams[sid], fields, is_end)

    def send_trailers(self, sid: int, fields: Headers) -> None:
        """The end of the stream. All data must be sent before."""
        self._send_block(self._streams[sid], fields, True)

    def _send_block(self, stream: Stream, fields: Headers, is_end: bool) -> None:
        assert not stream.is_local_done
        block = self._encoder.encode(fields)
        kind, flags = HEADERS, END_STREAM if is_end else 0
        while len(block) > MAX_FRAME_BYTES:
            self._queue(render(kind, flags, stream.id, block[:MAX_FRAME_BYTES]))
            block, kind, flags = block[MAX_FRAME_BYTES:], CONTINUATION, 0
        self._queue(render(kind, flags | END_HEADERS, stream.id, block))
        if is_end:
            stream.is_local_done = True
            self._settle(stream)

    def send_data(self, sid: int, data: bytes, *, is_end: bool, start: int = 0) -> int:
        """Queue as much of `data` from `start` on as the windows take; the stream ends only if that is all of it.

        Returns: where the rest begins; a WindowOpened event says when to go on.
        """
        stream = self._streams[sid]
        assert not stream.is_local_done
        size = len(data)
        while True:
            piece = max(0, min(size - start, MAX_FRAME_BYTES, stream.send_window, self._send_window))
            if not piece and start < size:
                if self._send_window <= 0:
                    self._is_blocked = True
                stream.is_blocked = True
                return start
            is_last = start + piece == size
            if piece or is_end:
                self._queue(render_header(DATA, END_STREAM if is_last and is_end else 0, sid, piece))
                if piece:
                    self._queue(data if piece == size else data[start:start + piece])
                    stream.send_window -= piece
                    self._send_window -= piece
                    start += piece
                    if is_last or piece >= flood.USEFUL_BYTES:
                        self._control.earn(flood.EARNED_BY_TRAFFIC)
            if is_last:
                if is_end:
                    stream.is_local_done = True
                    self._settle(stream)
                return start

    # -- receiving

    def receive(self, data: bytes, now: float) -> list[Event]:
        """What these bytes say. Raises: Http2Error, once; then the connection is to be closed after its output."""
        self._now = now
        events: list[Event] = []
        self._events = events
        try:
            for kind, flags, sid, payload, size in self._frames.feed(data, now):
                if kind == DATA:
                    self._on_data(sid, flags, payload, size)
                elif kind == HEADERS:
                    self._on_block(sid, bool(flags & END_STREAM), payload)
                elif (reader := READERS.get(kind)) is not None:
                    reader(self, sid, flags, payload)
                else:
                    # > Implementations MUST ignore and discard frames of unknown types (RFC 9113 s5.5).
                    self._control.spend(now)
        except Http2Error as exc:
            self.goaway(exc.code, exc.detail)
            raise
        return events

    def _on_data(self, sid: int, flags: int, payload: bytes, size: int) -> None:
        if not self._window.take(size):
            raise Http2Error(Code.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        stream = self._streams.get(sid)
        if stream is None:
            self._check_over(sid, "DATA")
            self.consumed(sid, size)
            return
        if stream.is_remote_done:
            raise Http2Error(Code.STREAM_CLOSED, "DATA behind the end of a stream")
        if not stream.window.take(size):
            raise Http2Error(Code.FLOW_CONTROL_ERROR, "more DATA than the stream's window")
        is_end = bool(flags & END_STREAM)
        useful = len(payload)
        if not (useful or is_end):
            self._control.spend(self._now)
        if not stream.has_head:
            self._malformed(stream, "DATA before the response's head")
            self.consumed(sid, size)
            return
        stream.received += useful
        expected = stream.expected
        if expected is not None and (stream.received > expected or (is_end and stream.received < expected)):
            self._malformed(stream, f"the body is not the {expected} bytes of content-length")
            self.consumed(sid, size)
            return
        if is_end:
            stream.is_remote_done = True
        if size > useful:
            self.consumed(sid, size - useful)
        if useful or is_end:
            self._events.append(DataReceived(sid, payload, is_end))
        if is_end:
            self._settle(stream)

    def _on_block(self, sid: int, is_end: bool, block: bytes) -> None:
        stream = self._streams.get(sid)
        if stream is not None:
            if stream.is_remote_done:
                raise Http2Error(Code.STREAM_CLOSED, "HEADERS behind the end of a stream")
            if stream.has_head:
                self._on_trailers(stream, is_end, block)
            else:
                self._on_response(stream, is_end, block)
        elif not self._is_server or sid <= self._last_id:
            self._check_over(sid, "HEADERS")
            self._decoder.read(block, None, _no_judgement)
        else:
            self._on_request(sid, is_end, block)

    def _on_request(self, sid: int, is_end: bool, block: bytes) -> None:
        self._last_id = sid
        if len(self._streams) >= MAX_STREAMS or self._is_refusing:
            self._decoder.read(block, None, _no_judgement)
            if not self._is_refusing:
                self._resets.spend(self._now)
            self._answer(render_reset(sid, Code.REFUSED_STREAM))
            self._remember_reset(sid)
            return
        self._control.earn(flood.EARNED_BY_TRAFFIC)
        stream = self._streams[sid] = Stream(sid, self._initial_window)
        stream.is_remote_done = is_end
        try:
            head: RequestHead = self._decoder.read(block, is_end, self._judges[is_end])
        except Malformed as exc:
            self._malformed(stream, str(exc))
            return
        except _Refused as exc:
            stream.has_head, stream.expected = True, None
            self._events.append(RequestRefused(sid, exc.violation.reason, exc.violation.detail, exc.method, exc.fields, is_end))
        else:
            stream.expect(head.body)
            self._events.append(RequestReceived(sid, head, is_end))
        if sid >= LAST_ID:
            self.drain()

    def _on_response(self, stream: Stream, is_end: bool, block: bytes) -> None:
        method = stream.method

        def judge(fields: Headers) -> ResponseHead:
            return judge_response_fields(fields, is_end, method)

        try:
            head = self._decoder.read(block, (is_end, method == b"HEAD"), judge)
        except (Malformed, BadResponse) as exc:
            self._malformed(stream, str(exc))
            return
        if head.status >= 200:
            stream.expect(head.body)
            stream.is_remote_done = is_end
        else:
            self._control.spend(self._now)
        self._events.append(ResponseReceived(stream.id, head, is_end))
        if is_end:
            self._settle(stream)

    def _on_trailers(self, stream: Stream, is_end: bool, block: bytes) -> None:
        try:
            fields = self._decoder.read(block, "trailers", judge_trailer_fields)
            if not is_end:
                raise Malformed("a second head that does not end the stream")
            if stream.expected is not None and stream.received != stream.expected:
                raise Malformed(f"the body is not the {stream.expected} bytes of content-length")
        except Malformed as exc:
            self._malformed(stream, str(exc))
            return
        stream.is_remote_done = True
        self._events.append(TrailersReceived(stream.id, list(fields)))
        self._settle(stream)


class _Refused(Exception):
    """A law's refusal on its way out of the judge, with what its answer needs."""

    def __init__(self, violation: ProtocolViolation, fields: Headers) -> None:
        super().__init__(violation.detail)
        self.violation = violation
        said = dict(fields).get(b":method", b"")
        self.method = said if said.isalpha() and len(said) <= 16 else b"-"
        self.fields = fields


def _judge_request(fields: Headers, is_end: bool) -> RequestHead:
    try:
        return judge_request_fields(fields, is_end)
    except ProtocolViolation as exc:
        raise _Refused(exc, fields) from None


def _judge_at_end(fields: Headers) -> RequestHead:
    return _judge_request(fields, True)


def _judge_before_body(fields: Headers) -> RequestHead:
    return _judge_request(fields, False)


def _judge_for(host: bytes, judge: Callable[[Headers], RequestHead], fields: Headers) -> RequestHead:
    return judge([(field[0], host) if field[0] == b":authority" else field for field in fields])


def _no_judgement(fields: Headers) -> Headers:
    return fields
