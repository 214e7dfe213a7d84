"""The streams of one HTTP/2 connection, seen from either end: what arrives for each and what each may send, and whom an event concerns.

Who waits at the socket for it, `http2_pump.py` says. What is special to the side that serves stands in `http2_server.py`, to the
side that asks in `http2_client.py`.
"""

import trio

from sidecar.model.errors import MeshError
from sidecar.model.message import Headers
from sidecar.protocol.http2.engine import Engine
from sidecar.protocol.http2.events import (
    DataReceived,
    Event,
    GoneAway,
    RequestReceived,
    RequestRefused,
    ResponseReceived,
    StreamReset,
    TrailersReceived,
    WindowOpened,
)
from sidecar.protocol.http2.frames import Code, Http2Error
from sidecar.protocol.pseudo import trailer_fields

from .http2_pump import FAULT, Http2Pump, Waiter


class Http2End(Waiter):
    """One stream: a body that arrives, a body that is sent.

    Attributes:
        trailers: as `net/ends.py` says.
        failure: why nothing more can be read or sent.
        arrived: what `take_buffered` would return.
        has_end: all of the body has arrived.
    """

    __slots__ = ("_is_blocked", "_is_sent", "_link", "_owed", "arrived", "failure", "has_end", "stream", "trailers")

    def __init__(self, link: "Http2Link", stream: int) -> None:
        super().__init__(link.turn)
        self._link = link
        self.stream = stream
        self.trailers: Headers = []
        self.failure: MeshError | None = None
        self.arrived: bytes | bytearray = b""
        self._owed = 0                          # bytes that were taken and have perhaps not gone on
        self.has_end = False
        self._is_blocked = False                # by a window
        self._is_sent = False

    # -- what the pump tells

    def arrive(self, data: bytes, is_end: bool) -> None:
        if data:
            # Pieces are joined, for a thousand tiny ones would cost many times their bytes.
            if not self.arrived:
                self.arrived = data
            elif isinstance(self.arrived, bytearray):
                self.arrived += data
            else:
                self.arrived = bytearray(self.arrived) + data
        self.has_end = is_end
        self.wake()

    def end(self, trailers: Headers) -> None:
        self.trailers = trailers
        self.has_end = True
        self.wake()

    def open_window(self) -> None:
        self._is_blocked = False
        self.wake()

    def fail(self, failure: MeshError) -> None:
        if self.failure is None:
            self.failure = failure
        self.wake()

    # -- what the recipe asks

    @property
    def is_body_done(self) -> bool:
        return self.has_end and not self.arrived

    def take_buffered(self) -> bytes:
        self.give_back()
        body, self.arrived = self.arrived, b""
        self._owed = len(body)
        return bytes(body)

    def give_back(self) -> None:
        """Who asks for more has passed on what it had: so a piece that waits for its reader holds up its sender."""
        if self._owed:
            self._link.engine.consumed(self.stream, self._owed)
            self._owed = 0
            self._link.push()

    async def read_body(self) -> bytes:
        self.give_back()
        while not self.arrived and not self.has_end:
            self.check()
            await self._link.wait(self, self._has_piece)
        return self.take_buffered()

    def _has_piece(self) -> bool:
        return bool(self.arrived) or self.has_end or self.failure is not None

    async def send_body(self, piece: bytes, *, is_end: bool, trailers: Headers | None = None) -> None:
        link = self._link
        start = 0
        while True:
            self.check()
            if link.is_backed_up:
                await link.wait(self, self._has_room)
                continue
            start = link.engine.send_data(self.stream, piece, is_end=is_end and not trailers, start=start)
            if start == len(piece):
                break
            self._is_blocked = True
            link.push()
            await link.wait(self, self._has_window)
        if is_end:
            if trailers:
                link.engine.send_trailers(self.stream, trailer_fields(trailers))
            self._is_sent = True
        link.push()

    def _has_room(self) -> bool:
        return not self._link.is_backed_up or self.failure is not None

    def _has_window(self) -> bool:
        return not self._is_blocked or self.failure is not None

    def make_room(self, size: int) -> bool:
        """Send what was kept. Whether so many bytes, and a head, can go now without waiting."""
        link = self._link
        if link.is_backed_up:
            link.flush()
            if link.is_backed_up:
                return False
        return link.failure is None and link.engine.room(self.stream) >= size

    def send_nowait(self, fields: Headers | None, piece: bytes, is_end: bool, trailers: Headers | None = None) -> None:
        """There is room."""
        engine, sid = self._link.engine, self.stream
        is_bare_end = is_end and not trailers
        if fields is not None:
            engine.send_head(sid, fields, is_end=is_bare_end and not piece)
        if piece or (fields is None and is_bare_end):
            engine.send_data(sid, piece, is_end=is_bare_end)
        if trailers and is_end:
            engine.send_trailers(sid, trailer_fields(trailers))
        self._is_sent = is_end
        self._link.push()

    async def _send_head(self, fields: Headers, piece: bytes, is_end: bool, trailers: Headers | None) -> None:
        """The head, and all that is ready to go with it, in one write."""
        self.check()
        while self._link.is_backed_up:
            await self._link.wait(self, self._has_room)
            self.check()
        is_all = is_end and not piece and not trailers
        self._link.engine.send_head(self.stream, fields, is_end=is_all)
        if is_all:
            self._is_sent = True
            self._link.push()
        else:
            await self.send_body(piece, is_end=is_end, trailers=trailers)

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure.with_traceback(None)     # it is raised to each who asks

    def leave(self, code: Code) -> None:
        """Nobody reads or sends here any more: what is not complete is reset with `code`."""
        link = self._link
        engine = link.engine
        if self.failure is None:
            engine.reset(self.stream, code)
        if left := self._owed + len(self.arrived):
            engine.consumed(self.stream, left)
            self._owed, self.arrived = 0, b""
        if engine.queued_bytes:
            link.push()


class Http2Link(Http2Pump):
    """
    Attributes:
        ends: that are on, by stream.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream, engine: Engine) -> None:
        super().__init__(stream, engine)
        self.ends: dict[int, Http2End] = {}

    # -- for the two sides to fill in

    def on_request(self, event: RequestReceived | RequestRefused) -> None:
        raise AssertionError("the engine knows which side it is")

    def on_response(self, event: ResponseReceived) -> None:
        raise AssertionError("the engine knows which side it is")

    def on_reset(self, event: StreamReset) -> None:
        raise NotImplementedError

    # -- what the pump received

    def feed(self, data: bytes) -> None:
        turn = self.turn
        if turn.is_on:
            self._take(data)
            return
        turn.is_on = True
        try:
            self._take(data)
        except BaseException:   # a bug: nobody knows what was dealt out
            self.fail(self.gone(FAULT))
            raise
        finally:
            turn.end()

    def _take(self, data: bytes) -> None:
        if not data:
            self.fail(self.gone("connection closed"))
            return
        try:
            events = self.engine.receive(data, self.now())
        except Http2Error as exc:
            self.push()
            self.fail(self.violated(exc))
            return
        for event in events:
            self._deal(event)
        self.push()

    def _deal(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            self.ends[event.stream].arrive(event.data, event.is_end)
        elif isinstance(event, (RequestReceived, RequestRefused)):
            self.on_request(event)
        elif isinstance(event, ResponseReceived):
            self.on_response(event)
        elif isinstance(event, TrailersReceived):
            self.ends[event.stream].end(event.fields)
        elif isinstance(event, StreamReset):
            self.on_reset(event)
        elif isinstance(event, WindowOpened):
            for end in [self.ends[event.stream]] if event.stream else list(self.ends.values()):
                end.open_window()
        else:
            assert isinstance(event, GoneAway)  # the engine remembers

    def fail(self, failure: MeshError) -> None:
        if self.failure is None:
            super().fail(failure)
            for end in list(self.ends.values()):
                end.fail(failure)
