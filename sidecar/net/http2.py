"""One HTTP/2 connection on a stream, seen from either end: who waits at the socket, what goes out, and whom an event concerns.

There is no background task. Of the tasks that wait for something on the connection one is the pump: it waits at the socket and
deals out what comes in; when its own wish is fulfilled, or it is cancelled, another takes its place. What was received is dealt
out before anything else can happen, so that a cancelled pump loses nothing. Output is sent without waiting; what the socket does
not take is kept, whole, for the pump, so that a cancelled writer leaves no half frame behind.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

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

MAX_UNSENT_BYTES = 65536    # beyond it bodies wait
HEADER_BLOCK_S = 10.0       # from the first byte of a frame that is no DATA to the end of its header block


@runtime_checkable
class NowaitStream(Protocol):
    """A stream that can be tried: SocketStream, TlsStream."""

    def receive_nowait(self) -> bytes | None: ...

    def send_nowait(self, data: bytes | memoryview) -> int: ...


class Waiter:
    """Somebody for whom the pump may have news: an end, or the server that waits for the next one."""

    __slots__ = ("_events",)

    def __init__(self) -> None:
        self._events: list[trio.Event] = []

    def wake(self) -> None:
        for event in self._events:
            event.set()


class Http2End(Waiter):
    """One stream: a body that arrives, a body that is sent.

    Attributes:
        trailers: as `net/ends.py` says.
        failure: why nothing more can be read or sent.
    """

    __slots__ = ("_body", "_has_end", "_is_blocked", "_is_sent", "_link", "_owed", "failure", "stream", "trailers")

    def __init__(self, link: "Http2Link", stream: int) -> None:
        super().__init__()
        self._link = link
        self.stream = stream
        self.trailers: Headers = []
        self.failure: MeshError | None = None
        self._body: bytes | bytearray = b""     # arrived, and not yet taken
        self._owed = 0                          # bytes that were taken and have perhaps not gone on
        self._has_end = False
        self._is_blocked = False                # by a window
        self._is_sent = False

    # -- what the pump tells

    def arrive(self, data: bytes, is_end: bool) -> None:
        if data:
            # Pieces are joined, for a thousand tiny ones would cost many times their bytes.
            if not self._body:
                self._body = data
            elif isinstance(self._body, bytearray):
                self._body += data
            else:
                self._body = bytearray(self._body) + data
        self._has_end = is_end
        self.wake()

    def end(self, trailers: Headers) -> None:
        self.trailers = trailers
        self._has_end = True
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
        return self._has_end and not self._body

    def take_buffered(self) -> bytes:
        self._give_back()
        body, self._body = self._body, b""
        self._owed = len(body)
        return bytes(body)

    def _give_back(self) -> None:
        """Who asks for more has passed on what it had: so a piece that waits for its reader holds up its sender."""
        if self._owed:
            self._link.engine.consumed(self.stream, self._owed)
            self._owed = 0
            self._link.push()

    async def read_body(self) -> bytes:
        self._give_back()
        while not self._body and not self._has_end:
            self.check()
            await self._link.wait(self, self._has_piece)
        return self.take_buffered()

    def _has_piece(self) -> bool:
        return bool(self._body) or self._has_end or self.failure is not None

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
        engine = self._link.engine
        if self.failure is None:
            engine.reset(self.stream, code)
        if left := self._owed + len(self._body):
            engine.consumed(self.stream, left)
            self._owed, self._body = 0, b""
        self._link.push()


class Http2Link:
    """
    Attributes:
        ends: that are on, by stream.
        failure: why the connection is over, or None.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream, engine: Engine) -> None:
        assert isinstance(stream, NowaitStream), f"{type(stream).__name__} cannot be tried without waiting"
        self.stream = stream
        self._tried: NowaitStream = stream
        self.engine = engine
        self.ends: dict[int, Http2End] = {}
        self.failure: MeshError | None = None
        self._unsent: bytes | memoryview = b""
        self._has_pump = False
        self._is_sending_rest = False
        self._pumping: trio.CancelScope | None = None   # around the pump's wait
        self._followers: dict[trio.Event, None] = {}
        self._idle_until = float("inf")

    # -- for the two sides to fill in

    def on_request(self, event: RequestReceived | RequestRefused) -> None:
        raise AssertionError("the engine knows which side it is")

    def on_response(self, event: ResponseReceived) -> None:
        raise AssertionError("the engine knows which side it is")

    def on_reset(self, event: StreamReset) -> None:
        raise NotImplementedError

    def gone(self, detail: str) -> MeshError:
        raise NotImplementedError

    def violated(self, error: Http2Error) -> MeshError:
        raise NotImplementedError

    def on_idle(self) -> None:
        """Nothing was on for as long as `idle_for` allows."""

    # -- waiting

    async def wait(self, waiter: Waiter, is_ready: Callable[[], bool]) -> None:
        """Until `is_ready`, which changes by what the pump deals out; as the pump, if there is none. Cancellation loses nothing."""
        try:
            while not is_ready():
                if not self._has_pump:
                    self._has_pump = True
                    try:
                        while not is_ready():
                            await self._pump()
                    finally:
                        self._has_pump = False
                else:
                    await self._follow(waiter)
        finally:
            if not self._has_pump and self._followers:
                next(iter(self._followers)).set()   # it sees that there is no pump, or leaves and sets the next

    async def _follow(self, waiter: Waiter) -> None:
        event = trio.Event()
        waiter._events.append(event)
        self._followers[event] = None
        try:
            await event.wait()
        finally:
            waiter._events.remove(event)
            del self._followers[event]

    async def _pump(self) -> None:
        """One wait at the socket."""
        deadline = self._idle_until
        if self.engine.begun_at is not None:
            deadline = min(deadline, self.engine.begun_at + HEADER_BLOCK_S)
        with trio.CancelScope(deadline=deadline) as scope:
            self._pumping = scope
            try:
                if self._unsent:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._send_rest)
                        await self._receive()
                        nursery.cancel_scope.cancel()
                else:
                    await self._receive()
            finally:
                self._pumping = None
        if scope.cancelled_caught and self.failure is None:
            self._look_at_the_time()

    def poke(self) -> None:
        """The pump is to look again at what it waits for."""
        if self._pumping is not None:
            self._pumping.cancel()

    def _look_at_the_time(self) -> None:
        now = trio.current_time()
        begun_at = self.engine.begun_at
        if begun_at is not None and now >= begun_at + HEADER_BLOCK_S:
            error = Http2Error(Code.ENHANCE_YOUR_CALM, f"a header block not complete within {HEADER_BLOCK_S:g} s")
            self.engine.goaway(error.code, error.detail)
            self.push()
            self.fail(self.violated(error))
        elif now >= self._idle_until:
            self._idle_until = float("inf")
            self.on_idle()

    def idle_for(self, seconds: float) -> None:
        """`on_idle` is called after so long, unless something else comes between."""
        self._idle_until = trio.current_time() + seconds
        if self._pumping is not None:
            self._pumping.deadline = min(self._pumping.deadline, self._idle_until)

    async def _receive(self) -> None:
        try:
            data = await self.stream.receive_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self.fail(self.gone(f"connection lost ({exc})"))
        else:
            self.feed(bytes(data))

    def feed(self, data: bytes) -> None:
        """Deal out what was received; b"" is the end."""
        if not data:
            self.fail(self.gone("connection closed"))
            return
        try:
            events = self.engine.receive(data, trio.current_time())
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
        """The connection is over."""
        if self.failure is None:
            self.failure = failure
            self.poke()
            for end in list(self.ends.values()):
                end.fail(failure)

    def receive_nowait(self) -> bytes | None:
        return self._tried.receive_nowait()

    def close(self) -> None:
        close = getattr(self.stream, "close", None)
        if close is not None:
            close()

    # -- sending

    @property
    def is_backed_up(self) -> bool:
        return self.failure is None and len(self._unsent) + self.engine.queued_bytes > MAX_UNSENT_BYTES

    @property
    def is_unsent(self) -> bool:
        return bool(self._unsent)

    def push(self) -> None:
        """Send what the socket takes; the pump sends the rest."""
        if self._send_now():
            return
        if self._pumping is not None:
            if not self._is_sending_rest:
                self._pumping.cancel()      # it waits to read, and is to wait for both
        elif not self._has_pump and self._followers:
            next(iter(self._followers)).set()

    def _send_now(self) -> bool:
        """True if nothing is left to send."""
        try:
            while True:
                if not self._unsent:
                    if not self.engine.queued_bytes:
                        return True
                    self._unsent = self.engine.take_output()
                sent = self._tried.send_nowait(self._unsent)
                if not sent:
                    return False
                self._unsent = b"" if sent == len(self._unsent) else memoryview(self._unsent)[sent:]
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._unsent = b""
            self.fail(self.gone(f"connection lost ({exc})"))
            return True

    async def _send_rest(self) -> None:
        """While the pump reads."""
        self._is_sending_rest = True
        try:
            while not self._send_now():
                await self.stream.wait_send_all_might_not_block()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self.fail(self.gone(f"connection lost ({exc})"))
        finally:
            self._is_sending_rest = False
        for end in list(self.ends.values()):    # those that waited for room, and the pump itself
            end.wake()
        self.poke()
