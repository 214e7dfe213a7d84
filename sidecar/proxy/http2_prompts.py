"""The prompt exchanges of one HTTP/2 downstream connection: which they are, and who reads and looks at the clock for them.

Nearly all are: the decision needs no waiting, the request is whole when it arrives, a connection to the upstream is there, and all that is
to be sent has room. What such an exchange does, `http2_prompt.py` says.
"""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, NoReturn

from msgspec.structs import replace

from sidecar.model.decision import Denied
from sidecar.model.errors import MeshError, ReasonedError
from sidecar.model.message import RequestHead
from sidecar.net.alarm import Alarm
from sidecar.net.deadline import NEVER
from sidecar.net.http2 import Http2Link
from sidecar.net.http2_client import Http2AskingEnd
from sidecar.net.http2_pump import Waiter
from sidecar.net.http2_server import Http2Server, Http2ServingEnd
from sidecar.protocol.http2.flow import CONNECTION_BYTES
from sidecar.protocol.http2.frames import MAX_FRAME_BYTES
from sidecar.telemetry.access_log import Record

from .exchange import Exchange
from .http2_prompt import Prompt, told
from .plan import Decide, Decision, Plan
from .runtime import Runtime
from .serve import NewRecord, abandon

# Of requests' bodies, on one connection: they are kept, against its window, until the answer begins. A window is given back in halves;
# of what is left then, whoever sends more has room for a frame.
HELD_BYTES = CONNECTION_BYTES // 2 - MAX_FRAME_BYTES


class Prompts:
    """The prompt exchanges of one downstream connection; use as a context manager around its life.

    Args:
        start: tasks, for what is to be waited for; of the connection's own nurseries.
        take_over: the task for an exchange: its end, its record, how it is decided, and since when it is on.
    """

    def __init__(
        self, server: Http2Server, runtime: Runtime, decide: Decide, new_record: NewRecord, start: Callable[..., Any],
        mind: Callable[..., Any], take_over: Callable[..., Any],
    ) -> None:
        self.server = server
        self.runtime = runtime
        self.start = start
        self.take_over = take_over
        self.alarm = Alarm(self)
        self.held_bytes = 0
        self._decide = decide
        self._new_record = new_record
        self._mind = mind
        self._on: set[Prompt] = set()
        self._minded: set[Http2Link] = set()

    def __enter__(self) -> None:
        self.alarm.start()
        self.server.offer = self.begin

    def __exit__(self, *_: object) -> None:
        self.alarm.stop()
        self.server.offer = None
        with ExitStack() as all_over:       # each, whatever is wrong with another
            for prompt in self._on:
                all_over.callback(prompt.abandon)

    def begin(self, end: Http2ServingEnd) -> bool:
        """Carry the exchange out, or have a task do it. False: it goes the way of all others from its very beginning."""
        if not end.has_end:
            return False
        request, runtime, record = end.request, self.runtime, self._new_record()
        exchange = Exchange(end, record)
        exchange.note_request(runtime.wall())
        started = self.alarm.now()
        decision: Decision | Awaitable[Decision] | None = None
        try:
            decision = self._decided(request, record)
            if isinstance(decision, Plan) and self._is_ordinary(exchange, decision):
                decision = self._send_on(exchange, decision, started)
        except BaseException:       # a bug
            if isinstance(decision, Plan) and decision.done is not None:
                decision.done()
            abandon(exchange, runtime)
            raise
        if decision is not None:
            self.start(self.take_over, end, record, runtime, told(decision), started)
        return True

    def _decided(self, request: RequestHead, record: Record) -> Decision | Awaitable[Decision]:
        try:
            return self._decide(request, record)
        except ReasonedError as exc:
            return Denied(exc.reason, exc.rule or record.rule, exc.detail)

    def _is_ordinary(self, exchange: Exchange, plan: Plan) -> bool:
        end, request = exchange.end, exchange.request
        assert isinstance(end, Http2ServingEnd)
        size = len(end.arrived)
        return (
            plan.mirror is None and plan.spend is None and not plan.delay_s
            and (plan.retries is None or plan.retries.attempt_s is None)
            and (plan.max_body_bytes is None or size <= plan.max_body_bytes) and self.held_bytes + size <= HELD_BYTES
            and not (request.upgrade or request.expects_continue or end.trailers)
        )

    def _send_on(self, exchange: Exchange, plan: Plan, started: float) -> Plan | None:
        """Send the request. What is to be done instead, if that cannot be without waiting."""
        try:
            upstream = plan.choose()
        except MeshError as exc:
            return replace(plan, choose=_raising(exc))
        prompt = Prompt(self, exchange, plan, upstream, started)
        try:
            asking = prompt.take(self.runtime.pool)
            if asking is None:
                return plan.beginning_with(upstream)
            prompt.send_on(asking)
        except BaseException:       # a bug: what was taken is given back
            prompt.__exit__(None, None, None)
            raise
        self._on.add(prompt)
        self.held_bytes += prompt.held_bytes
        try:
            prompt.attend()
        except Exception as bug:    # noqa: BLE001 -- of one that is on, which ends with all the others
            self.crash(bug)
        if isinstance(asking, Http2AskingEnd) and asking.link not in self._minded:
            self._minded.add(asking.link)
            self._mind(self._read, asking.link)
        return None

    async def _read(self, link: Http2Link) -> None:
        """Exchanges wait for answers there, and none of them has a task that reads."""
        try:
            await link.wait(Waiter(link.turn), lambda: link.failure is not None)
        finally:
            self._minded.discard(link)

    # -- what the alarm tells

    def look(self) -> None:
        """Whose time is over?"""
        now, nearest = self.alarm.now(), NEVER
        for prompt in self._on:
            if prompt.ends_at <= now:
                prompt.is_late = True
                self.server.turn.tell(prompt)
            else:
                nearest = min(nearest, prompt.ends_at)
        self.alarm.look_by(nearest)

    def crash(self, bug: Exception) -> None:
        self.server.crash(bug)

    # -- what an exchange tells

    def forget(self, prompt: Prompt) -> None:
        self._on.remove(prompt)
        self.held_bytes -= prompt.held_bytes


def _raising(exc: MeshError) -> Callable[[], NoReturn]:
    def choose() -> NoReturn:
        raise exc

    return choose
