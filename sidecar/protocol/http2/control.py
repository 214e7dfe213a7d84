"""What belongs to the connection as a whole: output, windows, settings, PING, GOAWAY, and streams that are cut short.

`engine.py` adds the messages. Everything that a peer may say for nothing is paid for here (`flood.py`).
Trust: as `engine.py`, with the same tests. Spec: RFC 9113 s5.1, s5.2, s6.3 to s6.9.
"""

from sidecar.protocol.detect import PREFACE

from . import flood, flow
from .events import (
    Event,
    GoneAway,
    StreamReset,
    WindowOpened,
)
from .flood import Budget
from .flow import ReceiveWindow
from .frame_reader import FrameReader, check_dependency
from .frames import (
    ACK,
    GOAWAY,
    MAX_FRAME_BYTES,
    MAX_WINDOW,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Code,
    Http2Error,
    Setting,
    name_of,
    parse_pair,
    parse_settings,
    parse_word,
    render,
    render_goaway,
    render_reset,
    render_settings,
    render_window_update,
)
from .header_block import ADVISED_LIST_BYTES, HeaderDecoder, HeaderEncoder
from .stream import Stream

MAX_STREAMS = 100
REMEMBERED_RESETS = 256     # streams that we reset: what was on its way to them is read over
DEFAULT_WINDOW = 65535
_DRAIN_PING = b"bartizan"   # its answer says that the peer has seen our GOAWAY


class Control:
    """
    Attributes:
        max_streams: how many the peer takes at once, where we ask.
        is_going_away: no new streams: one side said GOAWAY, or the ids are used up.
        is_drained: after `drain`, the peer has seen GOAWAY, and no stream is open.
        queued_bytes: of output, waiting for `take_output`.
    """

    def __init__(self, *, is_server: bool) -> None:
        self._is_server = is_server
        self._now = 0.0
        self._events: list[Event] = []

        self._streams: dict[int, Stream] = {}
        self._last_id = -1 if not is_server else 0      # the last stream that was opened
        self._reset: dict[int, None] = {}
        self._decoder = HeaderDecoder()
        self._encoder = HeaderEncoder()

        self._window = ReceiveWindow(flow.CONNECTION_BYTES)
        self._send_window = DEFAULT_WINDOW
        self._initial_window = DEFAULT_WINDOW
        self._is_blocked = False
        self.max_streams = MAX_STREAMS                  # until SETTINGS say otherwise
        self._is_refusing = False                       # the last GOAWAY was said
        self.is_going_away = False

        self._resets = Budget("streams reset before they were complete", flood.RESETS, flood.RESETS_PER_S)
        self._control = Budget("frames without use", flood.CONTROL, flood.CONTROL_PER_S)
        self._answers_bytes = 0
        self._frames = FrameReader(self._control, needs_preface=is_server)
        settings = {Setting.MAX_CONCURRENT_STREAMS: MAX_STREAMS, Setting.MAX_HEADER_LIST_SIZE: ADVISED_LIST_BYTES}
        self._out = [
            b"" if is_server else PREFACE,
            render_settings(settings if is_server else {Setting.ENABLE_PUSH: 0, **settings}),
            render_window_update(0, flow.CONNECTION_BYTES - DEFAULT_WINDOW),
        ]
        self.queued_bytes = sum(map(len, self._out))

    @property
    def begun_at(self) -> float | None:
        """Since when a frame that is no DATA, or a header block, waits for its end; else None. 10 s should do."""
        return self._frames.begun_at

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    def room(self, sid: int) -> int:
        """How many bytes of DATA could be sent now; of stream 0, on a new one."""
        window = self._streams[sid].send_window if sid else self._initial_window
        return min(window, self._send_window)

    @property
    def is_drained(self) -> bool:
        return self._is_refusing and not self._streams

    def take_output(self) -> bytes:
        """All that is to be sent. Take more only when this has left: what waits here is counted against floods."""
        output = b"".join(self._out)
        self._out.clear()
        self.queued_bytes = self._answers_bytes = 0
        return output

    def _queue(self, data: bytes) -> None:
        self._out.append(data)
        self.queued_bytes += len(data)

    def _answer(self, data: bytes) -> None:
        """Queue what the peer made us say."""
        self._answers_bytes += len(data)
        if self._answers_bytes > flood.MAX_QUEUED_BYTES:
            raise Http2Error(Code.ENHANCE_YOUR_CALM, f"more than {flood.MAX_QUEUED_BYTES} bytes of answers that nobody reads")
        self._queue(data)

    # -- ending

    def reset(self, sid: int, code: Code) -> None:
        """End a stream at once; nothing if it is over."""
        stream = self._streams.get(sid)
        if stream is not None:
            self._queue(render_reset(sid, code))
            self._forget(stream)

    def consumed(self, sid: int, size: int) -> None:
        """`size` bytes of DataReceived are used up, or thrown away. Each byte is told once, also of streams that are over."""
        credit = self._window.give_back(size)
        if credit:
            self._queue(render_window_update(0, credit))
        stream = self._streams.get(sid)
        if stream is not None and not stream.is_remote_done:
            credit = stream.window.give_back(size)
            if credit:
                self._queue(render_window_update(sid, credit))

    def drain(self) -> None:
        """Announce the end: streams that the peer has opened meanwhile are still served, until it is known to have heard."""
        if not self.is_going_away:
            self.is_going_away = True
            self._queue(render_goaway(MAX_WINDOW, Code.NO_ERROR) + render(PING, 0, 0, _DRAIN_PING))

    def goaway(self, code: Code = Code.NO_ERROR, detail: str = "") -> None:
        """Say the last word: no stream beyond those that we know."""
        self.is_going_away = self._is_refusing = True
        self._queue(render_goaway(self._last_id if self._is_server else 0, code, detail.encode("ascii", "replace")[:128]))

    # -- what the peer says

    def _on_priority(self, sid: int, flags: int, payload: bytes) -> None:
        if len(payload) != 5:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "PRIORITY not of 5 bytes")
        if not sid:
            raise Http2Error(Code.PROTOCOL_ERROR, "PRIORITY on stream 0")
        check_dependency(sid, payload)
        self._control.spend(self._now)

    def _on_reset(self, sid: int, flags: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "RST_STREAM not of 4 bytes")
        stream = self._streams.get(sid)
        if stream is None:
            self._check_known(sid, "RST_STREAM")
            self._control.spend(self._now)
            return
        (code,) = parse_word(payload)
        del self._streams[sid]
        if self._is_server:
            self._resets.spend(self._now)
        is_unprocessed = code == Code.REFUSED_STREAM and not stream.has_head
        self._events.append(StreamReset(sid, code, f"reset with {name_of(code)}", is_unprocessed=is_unprocessed))

    def _on_settings(self, sid: int, flags: int, payload: bytes) -> None:
        if sid:
            raise Http2Error(Code.PROTOCOL_ERROR, "SETTINGS on a stream")
        if len(payload) % 6 or (flags & ACK and payload):
            raise Http2Error(Code.FRAME_SIZE_ERROR, "SETTINGS of a wrong length")
        self._control.spend(self._now)
        if flags & ACK:
            return
        tables: list[int] = []
        window = self._initial_window
        for key, value in parse_settings(payload):
            if key == Setting.INITIAL_WINDOW_SIZE:
                if value > MAX_WINDOW:
                    raise Http2Error(Code.FLOW_CONTROL_ERROR, f"INITIAL_WINDOW_SIZE is {value}")
                window = value
            elif key == Setting.HEADER_TABLE_SIZE:
                tables.append(value)
            elif key == Setting.MAX_CONCURRENT_STREAMS:
                self.max_streams = min(value, MAX_STREAMS)
            elif key == Setting.MAX_FRAME_SIZE:
                # Larger frames are never sent, whatever it allows.
                if not MAX_FRAME_BYTES <= value < 1 << 24:
                    raise Http2Error(Code.PROTOCOL_ERROR, f"MAX_FRAME_SIZE is {value}")
            elif key == Setting.ENABLE_PUSH and value > (1 if self._is_server else 0):
                raise Http2Error(Code.PROTOCOL_ERROR, f"ENABLE_PUSH is {value}")
        if tables:
            self._encoder.limit_table(tables)
        self._answer(render(SETTINGS, ACK, 0))
        if window != self._initial_window:
            self._move_windows(window)

    def _move_windows(self, window: int) -> None:
        """> [It] MUST adjust the size of all stream flow-control windows; [...] can cause [one] to become negative (s6.9.2)."""
        delta, self._initial_window = window - self._initial_window, window
        for stream in self._streams.values():
            stream.send_window += delta
            if stream.send_window > MAX_WINDOW:
                raise Http2Error(Code.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE makes a window larger than 2**31-1")
            if stream.is_blocked and stream.send_window > 0 and self._send_window > 0:
                stream.is_blocked = False
                self._events.append(WindowOpened(stream.id))

    def _on_push_promise(self, sid: int, flags: int, payload: bytes) -> None:
        raise Http2Error(Code.PROTOCOL_ERROR, "PUSH_PROMISE, which nobody may send")

    def _on_ping(self, sid: int, flags: int, payload: bytes) -> None:
        if sid:
            raise Http2Error(Code.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "PING not of 8 bytes")
        self._control.spend(self._now)
        if not flags & ACK:
            self._answer(render(PING, ACK, 0, payload))
        elif payload == _DRAIN_PING and self.is_going_away and not self._is_refusing:
            self.goaway()

    def _on_goaway(self, sid: int, flags: int, payload: bytes) -> None:
        if sid:
            raise Http2Error(Code.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "GOAWAY of less than 8 bytes")
        self._control.spend(self._now)
        last, code = parse_pair(payload)
        if not self._is_server:
            self.is_going_away = True
            for unknown in [sid for sid in self._streams if sid > last & MAX_WINDOW]:
                del self._streams[unknown]
                self._events.append(StreamReset(unknown, code, f"GOAWAY with {name_of(code)}", is_unprocessed=True))
        self._events.append(GoneAway(code))

    def _on_window_update(self, sid: int, flags: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE not of 4 bytes")
        credit = parse_word(payload)[0] & MAX_WINDOW
        if not credit:
            raise Http2Error(Code.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        self._control.spend(self._now)
        if not sid:
            self._send_window += credit
            if self._send_window > MAX_WINDOW:
                raise Http2Error(Code.FLOW_CONTROL_ERROR, "the connection's window is larger than 2**31-1")
            if self._is_blocked and self._send_window > 0:
                self._is_blocked = False
                self._events.append(WindowOpened(0))
            return
        stream = self._streams.get(sid)
        if stream is None:
            self._check_known(sid, "WINDOW_UPDATE")
            return
        stream.send_window += credit
        if stream.send_window > MAX_WINDOW:
            self._malformed(stream, "a window larger than 2**31-1", Code.FLOW_CONTROL_ERROR)
            return
        if stream.is_blocked and stream.send_window > 0:
            stream.is_blocked = False
            self._events.append(WindowOpened(sid))

    # -- streams

    def _check_known(self, sid: int, what: str) -> None:
        if not sid & 1 or sid > self._last_id:
            raise Http2Error(Code.PROTOCOL_ERROR, f"{what} on stream {sid}, which nobody opened")

    def _check_over(self, sid: int, what: str) -> None:
        """Streams that we reset may still be spoken of; others that are over may not."""
        self._check_known(sid, what)
        if sid not in self._reset:
            raise Http2Error(Code.STREAM_CLOSED, f"{what} on a stream that is over")
        self._control.spend(self._now)

    def _malformed(self, stream: Stream, detail: str, code: Code = Code.PROTOCOL_ERROR) -> None:
        """The stream is over, and the others are not: what was wrong is one message's, not the connection's."""
        if self._is_server:
            self._resets.spend(self._now)
        self._answer(render_reset(stream.id, code))
        self._forget(stream)
        self._events.append(StreamReset(stream.id, code, detail, is_malformed=True))

    def _forget(self, stream: Stream) -> None:
        """We reset it."""
        del self._streams[stream.id]
        self._remember_reset(stream.id)

    def _remember_reset(self, sid: int) -> None:
        self._reset[sid] = None
        if len(self._reset) > REMEMBERED_RESETS:
            del self._reset[next(iter(self._reset))]

    def _settle(self, stream: Stream) -> None:
        """Both directions may have ended."""
        if stream.is_local_done and stream.is_remote_done:
            del self._streams[stream.id]
            self._resets.earn(1)


READERS = {
    PRIORITY: Control._on_priority, RST_STREAM: Control._on_reset, SETTINGS: Control._on_settings,
    PUSH_PROMISE: Control._on_push_promise, PING: Control._on_ping, GOAWAY: Control._on_goaway,
    WINDOW_UPDATE: Control._on_window_update,
}
