"""Who waits at the socket of an HTTP/2 connection, and what goes out.

There is no background task. Of the tasks that wait for something on the connection one is the pump: it waits at the socket and
deals out what comes in; when its own wish is fulfilled, or it is cancelled, another takes its place. What was received is dealt
out before anything else can happen, so that a cancelled pump loses nothing. Output is sent without waiting; what the socket does
not take is kept, whole, for the pump, so that a cancelled writer leaves no half frame behind. What a read sets off is sent at the
end of its turn (`turn.py`).
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import trio

from sidecar.model.errors import MeshError
from sidecar.protocol.http2.engine import Engine
from sidecar.protocol.http2.frames import Code, Http2Error

from .turn import Listener, Turn

MAX_UNSENT_BYTES = 65536    # beyond it bodies wait
FAULT = "a fault of ours"
HEADER_BLOCK_S = 10.0       # from the first byte of a frame that is no DATA to the end of its header block


@runtime_checkable
class NowaitStream(Protocol):
    """A stream that can be tried: SocketStream, TlsStream."""

    def receive_nowait(self) -> bytes | None: ...

    def send_nowait(self, data: bytes | memoryview) -> int: ...


class Waiter:
    """Somebody for whom the pump may have news: an end, or the server that waits for the next one.

    Attributes:
        listener: is called, where no task waits.
    """

    __slots__ = ("_events", "listener", "turn")

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self._events: list[trio.Event] | None = None
        self.listener: Listener | None = None

    def wake(self) -> None:
        if self.listener is not None:
            self.turn.tell(self.listener)
        if self._events is not None:
            for event in self._events:
                event.set()


class Http2Pump:
    """
    Attributes:
        failure: why the connection is over, or None.
        has_pump: what arrives is taken at once.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream, engine: Engine) -> None:
        assert isinstance(stream, NowaitStream), f"{type(stream).__name__} cannot be tried without waiting"
        self.stream = stream
        self._tried: NowaitStream = stream
        self.engine = engine
        self.failure: MeshError | None = None
        self._bug: Exception | None = None
        self._unsent: bytes | memoryview = b""
        self.has_pump = False
        self._is_sending_rest = False
        self._pumping: trio.CancelScope | None = None   # around the pump's wait
        self._followers: dict[trio.Event, None] = {}
        self._idle_until = float("inf")
        self.turn = Turn.of_this_run()
        self.now = trio.lowlevel.current_clock().current_time

    # -- for whoever knows what the bytes are about to fill in

    def feed(self, data: bytes) -> None:
        """Deal out what was received; b"" is the end."""
        raise NotImplementedError

    def fail(self, failure: MeshError) -> None:
        """The connection is over."""
        if self.failure is None:
            self.failure = failure
            self.poke()

    def gone(self, detail: str) -> MeshError:
        raise NotImplementedError

    def violated(self, error: Http2Error) -> MeshError:
        raise NotImplementedError

    def on_idle(self) -> None:
        """Nothing was on for as long as `idle_for` allows."""

    # -- waiting

    async def wait(self, waiter: Waiter, is_ready: Callable[[], bool]) -> None:
        """Until `is_ready`, which changes by what the pump deals out; as the pump, if there is none. Cancellation loses nothing.

        Raises: what was not expected in a turn, to one of those who wait.
        """
        try:
            while not is_ready():
                if not self.has_pump:
                    self.has_pump = True
                    try:
                        while not is_ready():
                            await self._pump(is_ready)
                    finally:
                        self.has_pump = False
                else:
                    await self._follow(waiter)
            if self._bug is not None:
                bug, self._bug = self._bug, None
                raise bug
        finally:
            if not self.has_pump and self._followers:
                next(iter(self._followers)).set()   # it sees that there is no pump, or leaves and sets the next

    async def _follow(self, waiter: Waiter) -> None:
        event = trio.Event()
        if waiter._events is None:
            waiter._events = []
        waiter._events.append(event)
        self._followers[event] = None
        try:
            await event.wait()
        finally:
            waiter._events.remove(event)
            del self._followers[event]

    async def _pump(self, is_ready: Callable[[], bool]) -> None:
        """Wait at the socket, once or again and again, until `is_ready` or there is something to look at."""
        with trio.CancelScope(deadline=self._idle_until) as scope:
            self._pumping = scope
            self._mind_the_block()
            try:
                while not is_ready():
                    if self._unsent:
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(self._send_rest)
                            await self._receive()
                            nursery.cancel_scope.cancel()
                    else:
                        await self._receive()
                    self._mind_the_block()
            finally:
                self._pumping = None
        if scope.cancelled_caught and self.failure is None:
            self._look_at_the_time()

    def _mind_the_block(self) -> None:
        begun_at = self.engine.begun_at
        if begun_at is not None:
            self._look_by(begun_at + HEADER_BLOCK_S)

    def _look_by(self, at: float) -> None:
        """The pump looks at the time then, or before. Its deadline is never moved back, which would cost 2 us each time."""
        if self._pumping is not None and at < self._pumping.deadline:
            self._pumping.deadline = at

    def poke(self) -> None:
        """The pump is to look again at what it waits for."""
        if self._pumping is not None:
            self._pumping.cancel()

    def _look_at_the_time(self) -> None:
        now = self.now()
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
        self._idle_until = self.now() + seconds
        self._look_by(self._idle_until)

    def never_idle(self) -> None:
        self._idle_until = float("inf")

    async def _receive(self) -> None:
        try:
            data = await self.stream.receive_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self.fail(self.gone(f"connection lost ({exc})"))
        else:
            self.feed(bytes(data))

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
        """Send, now or at the end of the turn."""
        if self.turn.is_on:
            if self.engine.queued_bytes:
                self.turn.push(self)
        else:
            self.flush()

    def flush(self) -> None:
        """Send what the socket takes; the pump sends the rest."""
        if self._send_now():
            return
        if self._pumping is not None:
            if not self._is_sending_rest:
                self._pumping.cancel()      # it waits to read, and is to wait for both
        elif not self.has_pump and self._followers:
            next(iter(self._followers)).set()

    def crash(self, bug: Exception) -> None:
        """`flush` raised it: nobody knows what was sent."""
        self._bug = bug
        self._unsent = b""
        self.fail(self.gone(FAULT))

    def _send_now(self) -> bool:
        """True if nothing is left to send; whoever waited for room hears of it, whichever task it was that sent the last byte."""
        had_rest = bool(self._unsent)
        try:
            while True:
                if not self._unsent:
                    if not self.engine.queued_bytes:
                        if had_rest:
                            self._wake_all()
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

    def _wake_all(self) -> None:
        for event in self._followers:
            event.set()
        self.poke()
