"""`bartizan.dev/routes`: what may enter a pod, what is done with it there, and how callers are to call.

Where a rule says the same thing as the snapshot it uses the snapshot's own struct; durations and sizes are still text.
"""

from typing import Annotated, Literal

import msgspec

from sidecar.model import route, service
from sidecar.model.route import DirectResponse, HeaderEdit, HeaderName, Jwt, Match, Method, Percent, Redirect, Rewrite
from sidecar.model.service import Backend, Count, Mirror, RetryOn
from sidecar.model.value import Name, Port, Value

from .text import Duration, Size

_RATE_LIMIT, _RETRIES, _FAULT = route.RateLimit(1), service.Retries(), route.Fault()      # for their defaults

# -- who calls


class Caller(Value, frozen=True):
    """Who calls; all that is given must hold. One `*` at either end of a name stands for any text.

    Args:
        namespace: where it is absent, a `serviceAccount` is one of the pod's own namespace.
    """

    service_account: Name | None = None
    namespace: Name | None = None
    identity: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)] | None = None
    source: str | None = None
    claims: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 -- msgspec copies it for each value


# -- what the callers' sidecars do


class Timeouts(Value, frozen=True):
    """
    Args:
        request: from the request's head to the end of the response.
        idle: without a byte either way.
    """

    request: Duration | None = None
    idle: Duration | None = None


class Retries(Value, frozen=True):
    """
    Args:
        attempts: beyond the first.
        on: statuses may stand as numbers.
        methods: idempotent ones, unless others are named; `any`: POST and PATCH, too.
        attempt_timeout: for one attempt up to the response's head; absent: what the whole request has.
    """

    attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = _RETRIES.attempts
    on: tuple[RetryOn | Literal[500, 502, 503, 504, 429, 409], ...] = _RETRIES.on
    methods: tuple[Method, ...] | Literal["any"] = _RETRIES.methods
    attempt_timeout: Duration | None = None
    backoff: Duration = "25ms"
    budget_percent: Percent = _RETRIES.budget_percent


# -- what the pod's own sidecar does


class RateLimit(Value, frozen=True):
    """So many requests in a time: for each caller's identity, each value of a header, or the route as a whole."""

    requests: Count
    per: Duration = "1s"
    by: Literal["identity", "header", "route"] = _RATE_LIMIT.by
    header: HeaderName | None = None
    burst: Count | None = None


class Delay(Value, frozen=True):
    for_: Duration = msgspec.field(name="for")
    percent: Percent = _FAULT.delay_percent


class Abort(Value, frozen=True):
    status: Annotated[int, msgspec.Meta(ge=400, le=599)]
    percent: Percent = _FAULT.abort_percent


class Fault(Value, frozen=True):
    """Injected on purpose: wait so long, then perhaps answer so; each for its share of the requests."""

    delay: Delay | None = None
    abort: Abort | None = None


class RouteRule(Value, frozen=True):
    """One rule about what enters; the namespaces of its callers are not filled in yet.

    Args:
        backends, mirror: Services of the pod's own namespace, by their plain names.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    allow: tuple[Caller, ...]
    port: Port | None = None
    hosts: tuple[Name, ...] = ()
    matches: tuple[Match, ...] = ()
    deny: tuple[Caller, ...] = ()
    jwt: Jwt | None = None
    rate_limit: RateLimit | None = None
    concurrency: Count | None = None
    max_body: Size | None = None
    request_headers: HeaderEdit = HeaderEdit()
    response_headers: HeaderEdit = HeaderEdit()
    rewrite: Rewrite | None = None
    redirect: Redirect | None = None
    direct_response: DirectResponse | None = None
    fault: Fault | None = None
    upgrades: tuple[Literal["websocket"], ...] = ()
    timeouts: Timeouts = Timeouts()
    retries: Retries | None = None
    backends: tuple[Backend, ...] = ()
    mirror: Mirror | None = None
