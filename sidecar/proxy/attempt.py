"""One attempt of an exchange: the request goes to one upstream, the response comes back, each side held back by the other.

    with Attempt(exchange, plan, plan.choose(), runtime, deadline) as attempt:
        response = await attempt.ask(first)     # None: the request's body is still on its way
        await attempt.answer(response)          # or not, if another attempt is to be made

An exchange whose request is complete when its head arrives needs no second task; a body still on its way gets one, since one
task cannot wait on two descriptors. An upstream connection takes another exchange only after a complete one with nothing left
over; whatever is in doubt is closed. The caller has judged the request; what it may rely on is that nothing of the attempt is left
once it is over, however it ended. Spec: RFC 9112 s9.3, RFC 9110 s9.2.2, s15.2.
"""

from types import TracebackType
from typing import Self

import trio
from msgspec.structs import replace

from sidecar.model.errors import BadResponse, MeshError, PeerError, Reset, TimedOut, Unavailable, UpstreamError
from sidecar.model.fields import OURS
from sidecar.model.message import BodyKind, Headers, ResponseHead
from sidecar.model.reason import BY_CODE, Reason
from sidecar.net.deadline import Deadline
from sidecar.net.ends import AskingEnd
from sidecar.protocol.render import render_request

from .exchange import Exchange
from .lease import connect, lease
from .plan import BODY_IDLE_S, Begun, Plan, Upstream
from .runtime import Runtime
from .upgrade import switch

RESPONSE_HEAD_S = 60.0
STREAM_IDLE_S = 300.0   # an answer that comes in pieces may pause so long: events, gRPC streams
MAX_INTERIM = 8
LEAST_BYTES_PER_S = 500     # of an upload, after the grace of `Patience`
# > A proxy MUST NOT automatically retry non-idempotent requests (RFC 9110 s9.2.2).
REPLAYABLE = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})


class Attempt:
    """Leaving it gives back what it took: the upstream's connection, kept only if nothing is in doubt, and the place at the endpoint.

    Args:
        exchange: learns what has happened.
        upstream: where this attempt goes; is told how it went.
        leased: the upstream's end, where the request was sent already.
    """

    __slots__ = ("_deadline", "_exchange", "_leased", "_plan", "_runtime", "_upstream")

    def __init__(
        self, exchange: Exchange, plan: Plan, upstream: Upstream, runtime: Runtime, deadline: Deadline, leased: AskingEnd | None = None
    ) -> None:
        self._exchange = exchange
        self._plan = plan
        self._upstream = upstream
        self._runtime = runtime
        self._deadline = deadline
        self._leased = leased

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._leased is not None:
            self._leased.finish()
        if not self._exchange.has_answered and self._deadline.is_upstream_late:
            self._observe(is_good=False)
        if self._upstream.leave is not None:
            self._upstream.leave()

    @property
    def _asking(self) -> AskingEnd:
        assert self._leased is not None, "ask before you answer"
        return self._leased

    def _observe(self, *, is_good: bool) -> None:
        if self._upstream.observe is not None:
            self._upstream.observe(is_good)

    # -- the request goes up

    async def ask(self, first: bytes) -> ResponseHead | None:
        """Send the request, as far as it is here. Raises UpstreamError, or Unavailable where a limit is reached.

        Args:
            first: what of the body has arrived.

        Returns: the response's head if that was all of the request; None if its body goes on.
        """
        try:
            retries = self._plan.retries
            if retries is not None and retries.attempt_s is not None:
                return await self._ask_in_time(first, retries.attempt_s)
            return await self._ask(first)
        except UpstreamError:
            self._observe(is_good=False)
            raise

    async def _ask_in_time(self, first: bytes, seconds: float) -> ResponseHead | None:
        try:
            with trio.fail_after(seconds):
                return await self._ask(first)
        except trio.TooSlowError as exc:
            raise TimedOut(f"no answer from {self._upstream.name} within {seconds} s") from exc

    async def _ask(self, first: bytes) -> ResponseHead | None:
        pool, upstream, begun = self._runtime.pool, self._upstream, self._upstream.begun
        now: float | None = None
        if begun is not None:
            asking, is_reused = begun.asking, True
        else:
            now = self._deadline.now()
            found, is_reused = pool.take_nowait(upstream.key, now), True
            if found is None:
                found, is_reused = await lease(upstream, pool, self._deadline)
                now = None
            asking = found
        self._leased = asking
        try:
            if begun is not None:
                return await self._take_up(begun, first)
            return await self._ask_on(asking, first, now)
        except Reset as exc:
            if not (is_reused and self._may_ask_again(exc, first)):
                raise
        # The keep-alive race: the server closed just as we asked.
        asking.finish()
        self._leased = None
        self._deadline.upstream("connect", upstream.connect_s)
        self._leased = asking = await connect(upstream, pool)
        return await self._ask_on(asking, first)

    def _may_ask_again(self, reset: Reset, first: bytes) -> bool:
        """Whether nobody has looked at the request, or it is one that may be repeated and no byte of a body went with it."""
        exchange = self._exchange
        if exchange.has_begun:
            return False
        is_bare = exchange.end.is_body_done and not first
        return reset.is_unprocessed or (is_bare and not reset.is_alone and exchange.request.method in REPLAYABLE)

    def _reach(self, asking: AskingEnd) -> None:
        if self._upstream.security:
            self._exchange.reach(self._upstream)
        if asking.account:
            self._runtime.accounts.carry(self._exchange.record, asking.account)

    async def _take_up(self, begun: Begun, first: bytes) -> ResponseHead:
        """As `_ask_on`, where the request is on its way."""
        if begun.failure is not None:
            raise begun.failure
        if begun.left_s is not None:
            self._deadline.upstream_waits("response", begun.left_s)
        if begun.send_rest is not None:
            await begun.send_rest()
        if first:
            self._exchange.end.take_buffered()      # as there
        return await self._read_head(begun.asking, begun.head)

    async def _ask_on(self, asking: AskingEnd, first: bytes, now: float | None = None) -> ResponseHead | None:
        self._reach(asking)
        exchange, upstream = self._exchange, self._upstream
        end, request = exchange.end, exchange.request
        is_whole = end.is_body_done
        trailers = end.trailers if is_whole and request.takes_trailers else None
        if self._plan.spend is not None:
            self._plan.spend(len(render_request(request, upstream.host, upstream.headers)) + len(first) + _size(trailers))
        self._deadline.upstream_waits("response", RESPONSE_HEAD_S, now)
        await asking.send_request(request, upstream.host, upstream.headers, first, is_end=is_whole and not trailers)
        if trailers:
            await asking.send_body(b"", is_end=True, trailers=trailers)
        if not is_whole:
            return None
        if first:
            end.take_buffered()     # there is no more, and `first` has gone on
        return await self._read_head(asking)

    async def _send_body(self) -> None:
        exchange, deadline, patience = self._exchange, self._deadline, self._plan.patience
        end, request = exchange.end, exchange.request
        is_upload = request.body.kind is BodyKind.LENGTH
        is_hurried = not request.is_http2 or (patience.is_strict and not request.is_grpc)     # until there is an answer
        idle_s = self._plan.idle_s or (BODY_IDLE_S if is_upload else STREAM_IDLE_S)
        if not request.expects_continue:    # else it is the upstream's turn
            deadline.downstream("request body", min(idle_s, patience.grace_s) if patience.is_strict and is_hurried else idle_s)
        started = trio.current_time()
        is_end = False
        while not is_end:
            piece = exchange.take(await end.read_body(), self._plan)
            is_end = end.is_body_done
            trailers = end.trailers if is_end and request.takes_trailers else None
            if self._plan.spend is not None:
                self._plan.spend(len(piece) + _size(trailers))
            deadline.upstream("request body", idle_s)
            await self._asking.send_body(piece, is_end=is_end, trailers=trailers)
            if is_end:
                end.take_buffered()     # there is no more, and the last piece has gone on
                deadline.upstream_waits("response", RESPONSE_HEAD_S if is_upload else idle_s)
            elif is_upload or (is_hurried and not exchange.has_answered):
                spent_s = trio.current_time() - started
                deadline.downstream("request body", min(idle_s, patience.grace_s + exchange.record.received / LEAST_BYTES_PER_S - spent_s))
            else:
                deadline.downstream("request body", idle_s)

    # -- the response comes down

    async def answer(self, response: ResponseHead | None) -> None:
        """Pass the response on, to its end.

        Args:
            response: what `ask` returned.
        """
        if response is None:
            await self._exchange_bodies()
        elif response.status == 101:
            await switch(self._exchange, self._plan, self._asking, response, self._runtime, self._deadline)
        else:
            await self._pass_on(response)

    async def _exchange_bodies(self) -> None:
        """The request's body goes up while the response comes down; ends with the response, whether or not all went up."""
        failures: list[MeshError] = []      # the nursery would wrap them in a group
        async with trio.open_nursery() as nursery:

            async def upload() -> None:
                try:
                    await self._send_body()
                except UpstreamError:
                    pass    # it may have answered before it stopped listening: the answer decides
                except (PeerError, Unavailable) as exc:     # the client broke off, or may not send so much
                    failures.append(exc)
                    nursery.cancel_scope.cancel()

            nursery.start_soon(upload)
            try:
                await self._pass_on(await self._read_head(self._asking))
            except MeshError as exc:
                if isinstance(exc, UpstreamError) and not self._exchange.has_answered:
                    self._observe(is_good=False)
                failures.append(exc)
            nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]

    async def _read_head(self, asking: AskingEnd, first: ResponseHead | None = None) -> ResponseHead:
        """The head that answers the request, as it is passed on; those before it (1xx) are passed on here."""
        for seen in range(MAX_INTERIM + 1):
            response, first = self._as_told(first or await asking.read_head()), None
            if response.status >= 200 or response.status == 101:
                if self._upstream.observe is not None:
                    self._upstream.observe(response.status < 500)
                return response
            if seen < MAX_INTERIM:
                await self._pass_on_interim(response)
        raise BadResponse(f"more than {MAX_INTERIM} interim responses")

    async def _pass_on_interim(self, response: ResponseHead) -> None:
        exchange = self._exchange
        if response.status == 100:
            if not exchange.request.expects_continue:
                return      # an answer to what the client did not ask
            self._deadline.downstream("request body", BODY_IDLE_S)
        exchange.has_begun = True
        await exchange.end.send_interim(response)

    async def _pass_on(self, response: ResponseHead) -> None:
        """The response's head and body."""
        exchange, asking, deadline = self._exchange, self._asking, self._deadline
        end, record, takes_trailers = exchange.end, exchange.record, exchange.request.takes_trailers
        piece = asking.take_buffered()
        is_end = asking.is_body_done
        exchange.has_answered = True
        record.status = response.status
        record.sent += len(piece)
        take_s = self._plan.patience.take_s
        deadline.downstream("response", take_s)
        await end.send_head(
            response, piece, is_end=is_end, closes=self._runtime.draining.current,
            trailers=asking.trailers if is_end and takes_trailers else None,
        )
        if not is_end:
            await self._pass_rest_on(self._plan.idle_s or STREAM_IDLE_S)

    async def _pass_rest_on(self, left_s: float) -> None:
        """The rest of the response's body, perhaps its end only.

        Args:
            left_s: for the next piece.
        """
        exchange, asking, deadline = self._exchange, self._asking, self._deadline
        end, takes_trailers, take_s = exchange.end, exchange.request.takes_trailers, self._plan.patience.take_s
        is_end = False
        while not is_end:
            deadline.upstream("response body", left_s)
            left_s = self._plan.idle_s or STREAM_IDLE_S
            piece = await asking.read_body()
            is_end = asking.is_body_done
            exchange.record.sent += len(piece)
            deadline.downstream("response", take_s)
            await end.send_body(piece, is_end=is_end, trailers=asking.trailers if is_end and takes_trailers else None)

    def _as_told(self, response: ResponseHead) -> ResponseHead:
        """What the client is told of `response`; nobody but a sidecar of the mesh says our words."""
        self._exchange.reason = None
        if response.may_hold_ours:
            ours = [field for field in response.headers if field[0][:len(OURS)].lower() == OURS]
            if self._upstream.is_mesh:
                self._exchange.reason = _reason_told(ours)
            elif ours:
                response = replace(response, headers=[field for field in response.headers if field not in ours])
        return response if self._plan.adapt is None else self._plan.adapt(response)


def _size(trailers: Headers | None) -> int:
    """As HTTP/1.1 writes them."""
    return sum(len(name) + len(value) + 4 for name, value in trailers or ())


def _reason_told(fields: Headers) -> Reason | None:
    """The one reason that `fields` name, if it is one of ours: a code is a label of our metrics."""
    told = [value for name, value in fields if name.lower() == b"x-bartizan-reason"]
    return BY_CODE.get(told[0][:6].decode("latin-1")) if len(told) == 1 else None
