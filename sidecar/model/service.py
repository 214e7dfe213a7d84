"""The Services of the mesh as a caller's sidecar needs them: their endpoints, and how calls are carried out."""

from typing import Annotated, Literal

import msgspec

from .route import HeaderName, Match, Percent, Seconds
from .value import Name, Port, Value

Count = Annotated[int, msgspec.Meta(ge=1)]

# What is worth another attempt: nothing reached the application (connect-failure, refused-stream), the connection broke before an
# answer (reset), no answer in the time of one attempt (timeout), or the answer has one of these statuses.
RetryOn = Literal["connect-failure", "refused-stream", "reset", "timeout", "500", "502", "503", "504", "429", "409"]


class Endpoint(Value, frozen=True):
    """One pod behind a Service: its address, the application's port there, the SPIFFE ID that it must prove, its zone if known."""

    address: str
    port: Port
    identity: str
    zone: str = ""


class Retries(Value, frozen=True):
    """
    Args:
        attempts: beyond the first.
        methods: only idempotent ones, unless these are named.
        attempt_s: time for one attempt up to the response's head; None: what the whole request has.
        budget_percent: retries may be so much of the requests of the last ten seconds (and three a second besides).
    """

    attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    on: tuple[RetryOn, ...] = ("connect-failure", "refused-stream")
    methods: tuple[str, ...] = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
    attempt_s: Seconds | None = None
    backoff_s: Annotated[float, msgspec.Meta(ge=0.001, le=60)] = 0.025
    budget_percent: Percent = 20.0


class Backend(Value, frozen=True):
    """A share of the requests goes to this port of another Service. In a snapshot it is named `orders-v2.shop`."""

    service: Name
    port: Port
    weight: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 1


class Mirror(Value, frozen=True):
    """A copy of this share of the requests (those whose body is small) goes there too; its answer is thrown away."""

    service: Name
    port: Port
    percent: Percent = 100.0


class CallRule(Value, frozen=True):
    """How requests that match are carried out by the caller; the most specific rule decides, as for routes.

    Args:
        request_s: from the request's head to the end of the response; None: no limit of its own.
        idle_s: without a byte either way.
        backends: instead of the Service's own endpoints.
        names_port: the route was declared for this port alone, which makes it more specific than all that were not.
    """

    name: Name
    hosts: tuple[Name, ...] = ()
    matches: tuple[Match, ...] = ()
    request_s: Seconds | None = None
    idle_s: Seconds | None = None
    retries: Retries | None = None
    backends: tuple[Backend, ...] = ()
    mirror: Mirror | None = None
    names_port: bool = False


class HashOn(Value, frozen=True):
    """What a consistent hash is taken of: one of them. Where it is absent, chance decides."""

    header: HeaderName | None = None
    cookie: HeaderName | None = None
    query: Name | None = None


class Ejection(Value, frozen=True):
    """An endpoint that fails so often in a row is left out for a while, longer each time; never more than a share of them."""

    failures: Count = 5
    for_s: Seconds = 30.0
    most_percent: Percent = 50.0


class Limits(Value, frozen=True):
    """Circuit breaking, in each caller for itself; what is beyond is refused at once.

    Args:
        connections: to all endpoints together.
        pending: requests that wait for a connection.
        requests: at a time.
    """

    connections: Count = 1024
    pending: Count = 1024
    requests: Count = 1024


class Balancing(Value, frozen=True):
    """How callers use the endpoints of a Service.

    Args:
        zone_preference: endpoints of the caller's zone come first while enough of them are healthy.
        slow_start_s: a new endpoint gets its full share only after this time.
    """

    policy: Literal["LeastRequest", "RoundRobin", "ConsistentHash"] = "LeastRequest"
    hash_on: HashOn | None = None
    zone_preference: bool = True
    slow_start_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    connect_s: Seconds = 5.0
    ejection: Ejection | None = Ejection()
    limits: Limits = Limits()


# http: whatever version of HTTP the caller speaks; http1, http2: the application speaks this one alone; app-tls: TLS of its own.
Protocol = Literal["http", "http1", "http2", "opaque", "app-tls"]


class Service(Value, frozen=True):
    """One port of one Service in the mesh.

    Args:
        name: `orders.shop`, for logs.
        addresses: its cluster IPs; empty for a headless Service, whose endpoints are dialled themselves.
        protocol: HTTP balances requests; opaque and app-tls balance connections and are never peeked at.
        draining: pods that are ready no longer: they get nothing new, and what was begun goes on.
    """

    name: Name
    port: Port
    addresses: tuple[str, ...] = ()
    protocol: Protocol = "http"
    endpoints: tuple[Endpoint, ...] = ()
    rules: tuple[CallRule, ...] = ()
    balancing: Balancing = Balancing()
    draining: tuple[Endpoint, ...] = ()

    @property
    def is_http(self) -> bool:
        return self.protocol in ("http", "http1", "http2")
