"""What the rule says beyond leave: after the Permit, before the application.

    1  rate limit        4  fault: delay, error           6  rewrite, request header edits
    2  concurrency       5  redirection, direct answer    7  a Plan, which edits the response and ends what 2 began
    3  length of the body

What it counts outlives snapshots, since a change of one rule must not open another: buckets are kept by the name of the rule as long as
its `rateLimit` stays the same, requests under way by the name alone. A rule under a new name begins anew.
"""

import hashlib
import random  # noqa: TID251 -- the type of the generator that is passed in
from collections import Counter
from collections.abc import Callable
from functools import partial

import trio
from msgspec.structs import replace

from sidecar.model.decision import Denied, Permit
from sidecar.model.message import NO_BODY, Body, BodyKind, Headers, RequestHead, ResponseHead
from sidecar.model.reason import Reason
from sidecar.model.route import HeaderEdit, Match, RateLimit, Route
from sidecar.policy.edit import edit_headers, location, rewrite_request
from sidecar.policy.fault import Drawn, draw
from sidecar.policy.rate_limit import Buckets

from .plan import Decision, Plan, Reply, Upstream
from .respond import explanation, phrase

NO_FAULT = Drawn(0.0, None)
NO_EDIT = HeaderEdit()


class Admission:
    """One for the sidecar.

    Args:
        share: of how many processes that a limit is for together this is one; each lets one request through at least.
    Attributes:
        under_way: requests and connections, by the name of their rule, where that limits them.
    """

    def __init__(self, share: int = 1) -> None:
        self._share = share
        self.under_way: Counter[str] = Counter()
        self._buckets: dict[str, Buckets] = {}

    def admit(
        self, permit: Permit, request: RequestHead, caller: str, upstream: Callable[[RequestHead], Callable[[], Upstream]],
        is_permitted: Callable[[], bool], *, rng: random.Random, clock: Callable[[], float] = trio.current_time,
    ) -> Decision:
        """How a permitted request is carried out.

        Args:
            caller: its identity, or its address where it has none.
            upstream: makes of the request, as it is then, what chooses where each attempt goes. What it raises ends the admission
                before anything is counted as under way.
            is_permitted: whether it still is; asked while an upgraded connection lasts.
            clock: seconds of one that never goes back; only a limit looks at it.
        """
        route = permit.route
        if route is None:
            return Plan(permit, upstream(request))
        if route.rate_limit is not None or route.concurrency is not None:                               # 1, 2
            refused = self.limit(permit, request, caller, clock)
            if refused is not None:
                return refused
        body, most = request.body, route.max_body_bytes                                                 # 3
        if most is not None and body.kind is BodyKind.LENGTH and body.length > most:
            return Denied(Reason.BODY_TOO_LARGE, route.name, f"it has {body.length} bytes; {most} are allowed")
        fault = draw(route.fault, rng) if route.fault is not None else NO_FAULT                         # 4
        if fault.abort_status is not None:
            return _aborted(permit, request, fault, fault.abort_status)
        sent = request
        if route.redirect is not None or route.direct_response is not None or route.rewrite is not None:
            match = permit.match or Match()
            try:
                answer = _answer(route, request, match)                                                 # 5
                if answer is not None:
                    return Reply(permit, *answer, delay_s=fault.delay_s)
                sent = request if route.rewrite is None else rewrite_request(request, route.rewrite, match)     # 6
            except ValueError as exc:
                return Denied(Reason.BAD_TARGET, route.name, f"what the rule makes of it: {exc}")
        if (edit := route.request_headers) != NO_EDIT:
            sent = replace(sent, headers=edit_headers(sent.headers, edit))
        choose = upstream(sent)
        return Plan(                                                                                    # 7
            permit, choose,
            request=sent if sent is not request else None,
            adapt=partial(_edit_response, edit) if (edit := route.response_headers) != NO_EDIT else None,
            request_s=route.request_s, idle_s=route.idle_s, delay_s=fault.delay_s, max_body_bytes=most,
            done=self.hold(permit) if route.concurrency is not None else None,
            upgrades=tuple([name.encode() for name in route.upgrades]) if route.upgrades else (),
            is_permitted=is_permitted if route.upgrades else None,
        )

    def limit(
        self, permit: Permit, request: RequestHead | None, caller: str, clock: Callable[[], float] = trio.current_time
    ) -> Denied | None:
        """Why another request, or TCP connection (None), is too much."""
        route = permit.route
        if route is None:
            return None
        if route.rate_limit is not None:
            now = clock()
            wait_s = self._bucket(route.name, route.rate_limit, now).take(_key(route.rate_limit, request, caller), now)
            if wait_s:
                return Denied(Reason.RATE_LIMITED, route.name, f"there is room again in {wait_s:.3f} s")
        if route.concurrency is not None and self.under_way[route.name] >= max(route.concurrency // self._share, 1):
            return Denied(Reason.TOO_MANY_REQUESTS, route.name, f"{route.concurrency} are allowed at a time")
        return None

    def hold(self, permit: Permit) -> Callable[[], None] | None:
        """Count one more under way; what is returned counts it off, and is to be called once."""
        if permit.route is None or permit.route.concurrency is None:
            return None
        self.under_way[permit.rule] += 1
        return partial(self._release, permit.rule)

    def _release(self, name: str) -> None:
        self.under_way[name] -= 1
        if not self.under_way[name]:
            del self.under_way[name]

    def _bucket(self, name: str, limit: RateLimit, now: float) -> Buckets:
        known = self._buckets.get(name)
        if known is None or known.limit != limit:
            # Seldom, so the moment to forget the rules that are no more: nobody misses full buckets.
            self._buckets = {name: buckets for name, buckets in self._buckets.items() if not buckets.are_full(now)}
            known = self._buckets[name] = Buckets(limit, share=self._share)
        return known


def _key(limit: RateLimit, request: RequestHead | None, caller: str) -> str | bytes:
    if limit.by == "identity":
        return caller
    if limit.by == "route" or limit.header is None or request is None:
        return ""
    wanted = limit.header.lower().encode()
    values = [value for name, value in request.headers if name.lower() == wanted]
    # Who sends none, or several, shares one bucket with his like. The hash keeps keys short, whatever is sent.
    return hashlib.sha256(values[0]).digest() if len(values) == 1 else ""


def _edit_response(edit: HeaderEdit, response: ResponseHead) -> ResponseHead:
    return replace(response, headers=edit_headers(response.headers, edit))


def _aborted(permit: Permit, request: RequestHead, fault: Drawn, status: int) -> Reply:
    denied = Denied(Reason.FAULT_INJECTED, permit.rule)
    response, text = explanation(denied.reason, denied.rule, denied.detail, is_grpc=request.is_grpc, status=status)
    return Reply(permit, response, text, fault.delay_s, denied)


def _answer(route: Route, request: RequestHead, match: Match) -> tuple[ResponseHead, bytes] | None:
    """What the rule answers by itself."""
    status, text, headers = 0, b"", Headers()
    if route.redirect is not None:
        status = route.redirect.status
        headers = [(b"location", location(request, route.redirect, match))]
    elif route.direct_response is not None:
        status, text = route.direct_response.status, route.direct_response.body.encode()
        headers = [(b"content-type", route.direct_response.content_type.encode())] if text else []
    else:
        return None
    body = Body(BodyKind.LENGTH, len(text)) if text else NO_BODY
    length = None if status in (204, 304) else len(text)    # RFC 9110 s8.6
    return ResponseHead(status, phrase(status), edit_headers(headers, route.response_headers), body, length, is_last=False), text
