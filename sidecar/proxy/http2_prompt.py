"""A prompt exchange, of HTTP/2 downstream: carried out by whoever reads, on either side, without a task of its own.

A task, its scopes and its wake-ups cost more than all the rest of an ordinary exchange (163 us of CPU, and 45 without). As soon as anything
is out of the ordinary a task takes over, from just where the exchange is, and goes the way of all others: `serve.py`, `forward.py`,
`attempt.py`. So nothing is waited for here, tried again, refused or blamed on anybody.

Held to that way by tests/proxy/http2_prompt, which has both carry out the same exchanges.
"""

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from sidecar.model.errors import ReasonedError, UpstreamError
from sidecar.model.message import Headers, ResponseHead
from sidecar.net.deadline import NEVER, Deadline
from sidecar.net.http1_asking import Http1AskingEnd
from sidecar.net.http1_client import Http1Client
from sidecar.net.http2_client import Http2AskingEnd
from sidecar.net.http2_server import Http2ServingEnd
from sidecar.net.pool import Pool
from sidecar.policy import retry
from sidecar.protocol.grpc_timeout import grpc_timeout_s
from sidecar.protocol.pseudo import response_fields

from .attempt import RESPONSE_HEAD_S, STREAM_IDLE_S, Attempt
from .exchange import Exchange
from .plan import Begun, Decide, Decision, Plan, Upstream
from .serve import abandon, conclude

if TYPE_CHECKING:
    from .http2_prompts import Prompts

PromptEnd = Http1AskingEnd | Http2AskingEnd


class Prompt(Attempt):
    """One of them: the only attempt at its upstream, or the first.

    Attributes:
        ends_at: when its time is over.
        is_late: it is.
    """

    __slots__ = ("_asked", "_capped_at", "_end", "_is_parted", "_prompts", "_started", "ends_at", "held_bytes", "is_late")

    _asked: PromptEnd       # from `send_on` on

    def __init__(self, prompts: "Prompts", exchange: Exchange, plan: Plan, upstream: Upstream, started: float) -> None:
        super().__init__(exchange, plan, upstream, prompts.runtime, prompts.alarm)
        assert isinstance(exchange.end, Http2ServingEnd)
        self._prompts = prompts
        self._end = exchange.end
        self._started = started
        self._capped_at = NEVER
        self.held_bytes = len(self._end.arrived)
        self.ends_at = NEVER
        self.is_late = False
        self._is_parted = False

    # -- all is well

    def take(self, pool: Pool) -> PromptEnd | None:
        """A place on a connection to the upstream, if one is there that takes the request now."""
        self._leased = taken = pool.take_nowait(self._upstream.key, self._started)
        if isinstance(taken, Http1Client):
            return Http1AskingEnd(taken)
        if isinstance(taken, Http2AskingEnd):
            if taken.may_begin and taken.make_room(self.held_bytes):
                return taken
            self._leased = None
            taken.finish()
        return None

    def send_on(self, asking: PromptEnd) -> None:
        """As `forward` begins, and `Attempt.ask`."""
        exchange, plan, upstream = self._exchange, self._plan, self._upstream
        record, body = exchange.record, bytes(self._end.arrived)
        record.rule = plan.permit.rule
        record.upstream = upstream.name
        record.received = len(body)
        self._asked = asking
        self._reach(self._asking)
        asked_s = grpc_timeout_s(exchange.request)
        if plan.request is not None:
            exchange.request = plan.request
        if plan.request_s is not None or asked_s is not None:
            self._capped_at = self._started + min(limit for limit in (plan.request_s, asked_s) if limit is not None)
        asking.send_request_nowait(exchange.request, upstream.host, upstream.headers, body)
        self._look_by(self._started + RESPONSE_HEAD_S if self._capped_at == NEVER else self._capped_at)

    def attend(self) -> None:
        """To the answer."""
        self._end.listener = self
        self._asked.attend(self)

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
        asking, end, exchange = self._asked, self._end, self._exchange
        if not end.make_room(len(asking.arrived)):
            return False
        head: ResponseHead | None = None
        if not exchange.has_answered:
            head = asking.head
            if head is None:
                return not (asking.is_stuck or self.is_late)
            if head.status < 200 or self._is_worth_another(head.status):
                return False
        try:
            piece = asking.take_buffered()
        except UpstreamError:   # it is raised to whoever asks next, too
            return False
        is_end = asking.is_body_done
        fields: Headers | None = None
        if head is not None:
            self._observe(is_good=head.status < 500)
            response = self._as_told(asking.take_head())
            fields = response_fields(response, [])
            exchange.has_answered = True
            exchange.record.status = response.status
        elif not piece and not is_end:
            return not (asking.is_stuck or self.is_late)
        exchange.record.sent += len(piece)
        end.send_nowait(fields, piece, is_end, asking.trailers if is_end and exchange.request.takes_trailers else None)
        if is_end:
            self._finish()
        else:
            asking.give_back()      # it has gone on: what nobody gave back, the upstream would wait for, and we for it
            self._look_by(min(self._deadline.now() + (self._plan.idle_s or STREAM_IDLE_S), self._capped_at))
            self.is_late = False
            return not asking.is_stuck
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
        self._end.listener = self._asked.listener = None

    def _count_up(self) -> None:
        if self._plan.done is not None:
            self._plan.done()
        self._exchange.record.duration_ms = int((self._deadline.now() - self._started) * 1e6) / 1000

    # -- something is not

    def abandon(self) -> None:
        """The client gave it up, or the connection ends."""
        if self._is_parted:
            return
        self._part()
        self.__exit__(None, None, None)
        self._count_up()
        exchange = self._exchange
        exchange.record.detail = str(self._end.failure or "")
        abandon(exchange, self._runtime)
        self._end.finish()

    def crash(self, bug: Exception) -> None:
        self._prompts.crash(bug)

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
        begun = replace(self._upstream, begun=self._begun(self.ends_at - now))
        request_s = None if self._capped_at == NEVER else self._capped_at - now
        decision = replace(plan.beginning_with(begun), request_s=request_s)
        self._prompts.start(self._prompts.take_over, self._end, exchange.record, self._runtime, told(decision), self._started)

    def _begun(self, left_s: float) -> Begun:
        asked = self._asked
        if isinstance(asked, Http2AskingEnd):
            return Begun(asked, left_s)
        send_rest = partial(asked.client.send_rest, asked.unsent) if asked.unsent else None
        return Begun(asked.client, left_s, asked.head, asked.failure, send_rest)

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
                            if isinstance(self._asked, Http1AskingEnd) and self._asked.failure is not None:
                                raise self._asked.failure
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


def told(decision: Decision | Awaitable[Decision]) -> Decide:
    return lambda request, record: decision
