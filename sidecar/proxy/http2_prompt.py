"""Prompt exchanges: HTTP/2 on both sides, carried out by whoever reads, without a task of their own.

Nearly all are: the decision needs no waiting, the request is whole when it arrives, a connection to the upstream is there, and all that is
to be sent has room. A task, its scopes and its wake-ups cost more than all the rest of such an exchange (163 us of CPU, and 45 without).
As soon as anything is out of the ordinary a task takes over, from just where the exchange is, and goes the way of all others: `serve.py`,
`forward.py`, `attempt.py`. So nothing is waited for here, tried again, refused or blamed on anybody.

Held to that way by tests/proxy/test_http2_prompt.py, which has both carry out the same exchanges.
"""

from collections.abc import Callable
from typing import Any, NoReturn

from msgspec.structs import replace

from sidecar.model.decision import Denied
from sidecar.model.errors import MeshError, ReasonedError
from sidecar.model.message import Headers, RequestHead
from sidecar.net.deadline import NEVER, Deadline
from sidecar.net.http2 import Http2Link
from sidecar.net.http2_client import Http2AskingEnd
from sidecar.net.http2_pump import Waiter
from sidecar.net.http2_server import Http2Server, Http2ServingEnd
from sidecar.policy import retry
from sidecar.protocol.grpc_timeout import grpc_timeout_s
from sidecar.protocol.http2.flow import CONNECTION_BYTES
from sidecar.protocol.http2.frames import MAX_FRAME_BYTES
from sidecar.protocol.pseudo import response_fields
from sidecar.telemetry.access_log import Record

from .attempt import RESPONSE_HEAD_S, STREAM_IDLE_S, Attempt
from .exchange import Exchange
from .http1_prompt import first
from .plan import AtOnce, Begun, Decision, Plan, Upstream
from .runtime import Runtime
from .serve import NewRecord, abandon, conclude

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
        self, server: Http2Server, runtime: Runtime, decide: AtOnce, new_record: NewRecord, start: Callable[..., Any],
        mind: Callable[..., Any], take_over: Callable[..., Any],
    ) -> None:
        self.server = server
        self.runtime = runtime
        self.start = start
        self.take_over = take_over
        self.alarm = _Alarm(self._ring)
        self.held_bytes = 0
        self._decide = decide.decide
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
        for prompt in list(self._on):
            prompt.abandon()

    def begin(self, end: Http2ServingEnd) -> bool:
        """Carry the exchange out, or have a task do it. False: it goes the way of all others from its very beginning."""
        if not end.has_end:
            return False
        request, runtime, record = end.request, self.runtime, self._new_record()
        exchange = Exchange(end, record)
        exchange.note_request(runtime.wall())
        started = self.alarm.now()
        try:
            decision = self._decided(request, record)
            if isinstance(decision, Plan) and self._is_ordinary(exchange, decision):
                later = self._send_on(exchange, decision, started)
                if later is None:
                    return True
                decision = later
        except BaseException:       # a bug
            abandon(exchange, runtime)
            raise
        self.start(self.take_over, end, record, runtime, _told(decision), started)
        return True

    def _decided(self, request: RequestHead, record: Record) -> Decision:
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
        end, runtime = exchange.end, self.runtime
        assert isinstance(end, Http2ServingEnd)
        try:
            upstream = plan.choose()
        except MeshError as exc:
            return replace(plan, choose=_raising(exc))
        asking = runtime.pool.take_nowait(upstream.key) if upstream.is_shared else None
        if not isinstance(asking, Http2AskingEnd):
            return replace(plan, choose=first(upstream, plan))
        body = bytes(end.arrived)
        if not (asking.may_begin and asking.has_room(len(body))):
            asking.finish()
            return replace(plan, choose=first(upstream, plan))
        prompt = Prompt(self, exchange, plan, upstream, asking, started, len(body))
        self._on.add(prompt)
        self.held_bytes += len(body)
        prompt.send_on(body)
        if asking.link not in self._minded:
            self._minded.add(asking.link)
            self._mind(self._read, asking.link)
        return None

    async def _read(self, link: Http2Link) -> None:
        """Exchanges wait for answers there, and none of them has a task that reads."""
        try:
            await link.wait(Waiter(link.turn), lambda: link.failure is not None)
        finally:
            self._minded.discard(link)

    def _ring(self, now: float) -> None:
        nearest = NEVER
        for prompt in list(self._on):
            if prompt.ends_at <= now:
                prompt.is_late = True
                self.server.turn.tell(prompt)
            else:
                nearest = min(nearest, prompt.ends_at)
        self.alarm.look_by(nearest)

    def forget(self, prompt: "Prompt") -> None:
        self._on.remove(prompt)
        self.held_bytes -= prompt.held_bytes


class Prompt(Attempt):
    """One of them: the only attempt at its upstream, or the first.

    Attributes:
        ends_at: when its time is over.
        is_late: it is.
    """

    __slots__ = ("_capped_at", "_end", "_is_parted", "_link_end", "_prompts", "_started", "ends_at", "held_bytes", "is_late")

    def __init__(
        self, prompts: Prompts, exchange: Exchange, plan: Plan, upstream: Upstream, asking: Http2AskingEnd, started: float, held_bytes: int
    ) -> None:
        super().__init__(exchange, plan, upstream, prompts.runtime, prompts.alarm)
        assert isinstance(exchange.end, Http2ServingEnd)
        self._prompts = prompts
        self._end = exchange.end
        self._leased = self._link_end = asking
        self._started = started
        self._capped_at = NEVER
        self.held_bytes = held_bytes
        self.ends_at = NEVER
        self.is_late = False
        self._is_parted = False

    # -- all is well

    def send_on(self, body: bytes) -> None:
        """As `forward` begins, and `Attempt.ask`."""
        exchange, plan, upstream, asking = self._exchange, self._plan, self._upstream, self._link_end
        record = exchange.record
        record.rule = plan.permit.rule
        record.upstream = upstream.name
        record.received = len(body)
        self._reach(asking)
        asked_s = grpc_timeout_s(exchange.request)
        if plan.request is not None:
            exchange.request = plan.request
        if plan.request_s is not None or asked_s is not None:
            self._capped_at = self._started + min(limit for limit in (plan.request_s, asked_s) if limit is not None)
        asking.send_request_nowait(exchange.request, upstream.host, upstream.headers, body)
        self._look_by(self._started + RESPONSE_HEAD_S if self._capped_at == NEVER else self._capped_at)
        self._end.listener = asking.listener = self

    def _look_by(self, at: float) -> None:
        self.ends_at = at
        if at < self._deadline.rings_at:
            self._prompts.alarm.look_by(at)

    def look(self) -> None:
        """What the turn asks for: go on as far as there is news, or hand over."""
        if self._is_parted:
            return
        if self._end.failure is not None:
            self.abandon()
        elif not self._go_on():
            self._hand_over()

    def _go_on(self) -> bool:
        """False: a task is to see to it."""
        asking, end, exchange = self._link_end, self._end, self._exchange
        if not end.has_room(len(asking.arrived)):
            return False
        fields: Headers | None = None
        if not exchange.has_answered:
            head = asking.head
            if head is None:
                return asking.failure is None and not self.is_late
            if head.status < 200 or self._is_worth_another(head.status):
                return False
            self._observe(is_good=head.status < 500)
            response = self._as_told(asking.take_head())
            fields = response_fields(response, [])
            exchange.has_answered = True
            exchange.record.status = response.status
        piece = asking.take_buffered()
        is_end = asking.is_body_done
        if fields is None and not piece and not is_end:
            return asking.failure is None and not self.is_late
        exchange.record.sent += len(piece)
        end.send_nowait(fields, piece, is_end, asking.trailers if is_end and exchange.request.takes_trailers else None)
        if is_end:
            self._finish()
        else:
            asking.give_back()      # it has gone on: what nobody gave back, the upstream would wait for, and we for it
            self._look_by(min(self._deadline.now() + (self._plan.idle_s or STREAM_IDLE_S), self._capped_at))
            self.is_late = False
            return asking.failure is None
        return True

    def _is_worth_another(self, status: int) -> bool:
        retries, exchange = self._plan.retries, self._exchange
        return retries is not None and retry.is_worth(
            retries, exchange.request.method, status, has_body=exchange.record.received > 0
        )

    def _finish(self) -> None:
        self._part()
        self.__exit__(None, None, None)
        self._exchange.note_reason()
        self._count_up()
        self._runtime.tell(self._exchange.record)
        self._end.finish()

    def _part(self) -> None:
        """It is prompt no longer."""
        self._is_parted = True
        self._prompts.forget(self)
        self._end.listener = self._link_end.listener = None

    def _count_up(self) -> None:
        if self._plan.done is not None:
            self._plan.done()
        self._exchange.record.duration_ms = int((self._deadline.now() - self._started) * 1e6) / 1000

    # -- something is not

    def abandon(self) -> None:
        """The client gave it up, or the connection ends."""
        self._part()
        self.__exit__(None, None, None)
        self._count_up()
        exchange = self._exchange
        exchange.record.detail = str(self._end.failure or "")
        abandon(exchange, self._runtime)
        self._end.finish()

    def crash(self, bug: Exception) -> None:
        if not self._is_parted:
            self.abandon()
        self._prompts.server.crash(bug)

    def _hand_over(self) -> None:
        """A task goes on from here, in the time that is left."""
        self._part()
        exchange, plan = self._exchange, self._plan
        now = self._deadline.now()
        if exchange.has_answered:
            idle_s = self._plan.idle_s or STREAM_IDLE_S
            self._prompts.start(self._go_on_slowly, idle_s if self.ends_at == self._capped_at else self.ends_at - now)
            return
        exchange.record.received = 0    # it is counted again
        begun = replace(self._upstream, begun=Begun(self._link_end, self.ends_at - now))
        request_s = None if self._capped_at == NEVER else self._capped_at - now
        decision = replace(plan, choose=first(begun, plan), request_s=request_s)
        self._prompts.start(self._prompts.take_over, self._end, exchange.record, self._runtime, _told(decision), self._started)

    async def _go_on_slowly(self, left_s: float) -> None:
        """The client takes the answer more slowly than the upstream gives it, or one of them breaks off."""
        exchange, runtime = self._exchange, self._runtime
        record = exchange.record
        try:
            with self._end.scope:
                try:
                    try:
                        with Deadline() as deadline, self:
                            self._deadline = deadline
                            if self._capped_at != NEVER:
                                deadline.cap(self._capped_at - deadline.now())
                            await self._pass_rest_on(left_s)
                        exchange.note_reason()
                    finally:
                        self._count_up()
                    runtime.tell(record)
                except ReasonedError as exc:
                    await conclude(exchange, exc, runtime)
                except BaseException:   # as in `http2.py`
                    record.detail = str(self._end.failure or "")
                    abandon(exchange, runtime)
                    raise
        finally:
            self._end.finish()


class _Alarm(Deadline):
    """For all of them: nothing is cancelled when it rings. As with every deadline, it may ring early."""

    def __init__(self, rung: Callable[[float], None]) -> None:
        super().__init__()
        self._rung = rung

    def start(self) -> None:
        self._alarm.live += 1
        self.rings_at = NEVER

    def stop(self) -> None:
        self._alarm.live -= 1
        self.rings_at = -NEVER

    def look_by(self, at: float) -> None:
        if at < self.rings_at:
            self._at = at
            self._set_alarm()

    def ring(self, now: float) -> None:
        self.rings_at = NEVER
        self._rung(now)


def _told(decision: Decision) -> AtOnce:
    return AtOnce(lambda request, record: decision)


def _raising(exc: MeshError) -> Callable[[], NoReturn]:
    def choose() -> NoReturn:
        raise exc

    return choose
