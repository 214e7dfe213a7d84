"""Rules about requests: what they match, whom they let in, what is done with what they let in.

A `Route` is enforced by the sidecar of the pod that declares it. What the same declaration asks of callers (timeouts, retries,
splits, mirrors) is a `CallRule` in their snapshots: see `service.py`. Names follow the Gateway API where it has one.
"""

from typing import Annotated, Literal

import msgspec

from .value import MadeName, Name, Port, Value

HEADER_NAME = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+(?!\n)$"
# The descriptions are for people: they stand in the JSON Schema, and in what is said of a value that is none.
HeaderName = Annotated[str, msgspec.Meta(pattern=HEADER_NAME, max_length=256, description="the name of a header field, such as x-user")]
HeaderValue = Annotated[str, msgspec.Meta(
    pattern=r"^[!-~]([\t -~]*[!-~])?(?!\n)$|^(?!\n)$", max_length=4096,
    description="the text of a header field: printable ASCII, no spaces at its ends, numbers in quotes",
)]
Method = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z-]{0,31}(?!\n)$", description="a method in capitals, such as GET")]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100, description="a share from 0 to 100")]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]

# -- what a rule matches


class PathMatch(Value, frozen=True):
    """`Exact` compares whole paths; `PathPrefix` compares whole segments: /app matches /app and /app/x, not /apple.

    `RegularExpression` must match the whole path; RE2 syntax, which cannot backtrack. All compare what the application decodes:
    /a%40b is /a@b, in the rule and in the request.
    No segment is empty, as in every path that is let through: a prefix of slashes would mean everything.
    """

    value: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"


class HeaderMatch(Value, frozen=True):
    """The field's name in any case, its value exactly, or whole by an RE2 expression. A field that repeats never matches."""

    name: HeaderName
    value: Annotated[str, msgspec.Meta(max_length=4096)]
    type: Literal["Exact", "RegularExpression"] = "Exact"


class QueryMatch(Value, frozen=True):
    """A parameter of the query, decoded once (`+` is a space). One that repeats never matches."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    value: Annotated[str, msgspec.Meta(max_length=4096)]
    type: Literal["Exact", "RegularExpression"] = "Exact"


class Match(Value, frozen=True):
    """All that is given must hold."""

    path: PathMatch | None = None
    method: Method | None = None
    headers: tuple[HeaderMatch, ...] = ()
    query: tuple[QueryMatch, ...] = ()


# -- whom it lets in


class Caller(Value, frozen=True):
    """Who calls; all that is given must hold.

    In names one `*` at either end stands for any text, alone for any name. The trust domain is always ours.

    Args:
        identity: a whole SPIFFE ID, or the beginning of one and `*`.
        source: a CIDR; it speaks of plaintext peers, which have no identity, and of nobody else.
        claims: of the verified token (the route's `jwt`): each claim is one of the values, or holds one of them.
    """

    service_account: Name = "*"
    namespace: Name = "*"
    identity: str | None = None
    source: str | None = None
    claims: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 -- msgspec copies it for each value


class Jwt(Value, frozen=True):
    """A bearer token is demanded, of an issuer that the mesh trusts, for one of the audiences."""

    issuer: Name
    audiences: tuple[Name, ...]
    header: HeaderName = "authorization"


class TokenIssuer(Value, frozen=True):
    """Whose bearer tokens routes may ask for, and the keys that verify them: the text of a JWKS (RFC 7517)."""

    issuer: Name
    keys: str


# -- what is done


class RateLimit(Value, frozen=True):
    """A token bucket, refilled evenly, in each sidecar for itself.

    Args:
        by: one bucket for each caller's identity (plaintext: address), for each value of the header, or one for the route.
        burst: what a full bucket holds; None: as much as `requests`.
    """

    requests: Annotated[int, msgspec.Meta(ge=1)]
    per_s: Seconds = 1.0
    by: Literal["identity", "header", "route"] = "identity"
    header: HeaderName | None = None
    burst: Annotated[int, msgspec.Meta(ge=1)] | None = None


class HeaderEdit(Value, frozen=True):
    """First `remove`, then `set` (replaces), then `add`."""

    set: dict[HeaderName, HeaderValue] = {}  # noqa: RUF012 -- msgspec copies it for each value
    add: dict[HeaderName, HeaderValue] = {}  # noqa: RUF012
    remove: tuple[HeaderName, ...] = ()


class Rewrite(Value, frozen=True):
    """What the application sees instead. `prefix` replaces the prefix that matched, `path` the whole path; the query stays."""

    path: str | None = None
    prefix: str | None = None
    hostname: str | None = None


class Redirect(Value, frozen=True):
    """The answer is a redirection to the same URL with these parts replaced."""

    scheme: Literal["http", "https"] | None = None
    hostname: str | None = None
    port: Port | None = None
    path: str | None = None
    prefix: str | None = None
    status: Literal[301, 302, 303, 307, 308] = 302


class DirectResponse(Value, frozen=True):
    status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    body: Annotated[str, msgspec.Meta(max_length=65536)] = ""
    content_type: HeaderValue = "text/plain; charset=utf-8"


class Fault(Value, frozen=True):
    """Injected on purpose: wait so long, then perhaps answer so; each for its share of the requests."""

    delay_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 0.0
    delay_percent: Percent = 100.0
    abort_status: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    abort_percent: Percent = 100.0


class Route(Value, frozen=True):
    """One inbound rule.

    Args:
        allow: the callers; empty: nobody.
        port: the application's port that it is about; None: every port.
        matches: alternatives; empty: every request, and every TCP connection.
        hosts: names in Host; `*.example.com` stands for one label before example.com; empty: every name.
        deny: callers that are refused although `allow` names them.
        concurrency: requests at a time.
        max_body_bytes: of a request.
        upgrades: protocols that a connection may be upgraded to.
        request_s, idle_s: as in callers' `CallRule`; here they hold for callers without a sidecar, too.
    """

    name: MadeName
    allow: tuple[Caller, ...]
    port: Port | None = None
    matches: tuple[Match, ...] = ()
    hosts: tuple[MadeName, ...] = ()
    deny: tuple[Caller, ...] = ()
    jwt: Jwt | None = None
    rate_limit: RateLimit | None = None
    concurrency: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_body_bytes: Annotated[int, msgspec.Meta(ge=0)] | None = None
    fault: Fault | None = None
    request_headers: HeaderEdit = HeaderEdit()
    response_headers: HeaderEdit = HeaderEdit()
    rewrite: Rewrite | None = None
    redirect: Redirect | None = None
    direct_response: DirectResponse | None = None
    upgrades: tuple[Literal["websocket"], ...] = ()
    request_s: Seconds | None = None
    idle_s: Seconds | None = None

    @property
    def is_plain(self) -> bool:
        """It says who may make which requests, and asks for nothing else."""
        return self.request_headers == self.response_headers == HeaderEdit() and not (
            self.rate_limit or self.concurrency or self.max_body_bytes is not None or self.fault or self.rewrite or self.redirect
            or self.direct_response or self.upgrades or self.request_s or self.idle_s
        )
