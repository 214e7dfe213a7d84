"""`bartizan.dev/edge` on an Ingress or an HTTPRoute: what these cannot say of the rules that stand in them. It holds for all of them."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from sidecar.model.route import HEADER_NAME, HeaderEdit, HeaderName, HeaderValue
from sidecar.model.service import Count
from sidecar.model.value import Name, Port, Value

from .access import Authentication, Authorization
from .egress import TlsVersion
from .routes import Retries, Timeouts
from .text import Duration, Size

PortName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?(?!\n)$", description="the name of a Service's port")]
CookieName = Annotated[str, msgspec.Meta(pattern=HEADER_NAME, max_length=256, description="the name of a cookie")]
CookieValue = Annotated[str, msgspec.Meta(
    pattern=r"^[!#-+\--:<-\[\]-~]{0,1024}(?!\n)$", description="the value of a cookie: no spaces, quotes, commas, semicolons, backslashes",
)]


class CanaryHeader(Value, frozen=True):
    """Requests with this field; one that repeats never counts."""

    name: HeaderName
    value: HeaderValue


class CanaryCookie(Value, frozen=True):
    name: CookieName
    value: CookieValue


class Canary(Value, frozen=True):
    """Where some of the requests go instead: those with a header, else those with a cookie, else a share of all others.

    Args:
        service: of the object's namespace, by its plain name.
        port: number or name.
        weight: a share from 0 to 100; what all of them leave stays with the backend of the rule.
    """

    service: Name
    port: Port | PortName
    weight: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    header: CanaryHeader | None = None
    cookie: CanaryCookie | None = None


class ClientLimit(Value, frozen=True):
    """So many requests in a time: for each client's address, or each value of a header."""

    requests: Count
    per: Duration = "1s"
    by: Literal["client", "header"] = "client"
    header: HeaderName | None = None
    burst: Count | None = None


class EdgeRule(Value, frozen=True):
    """
    Args:
        https_redirect: for hosts that have TLS.
        authentication: who clients are.
        authorization: who may make which requests.
        allow_from: CIDRs of clients; none: everywhere.
        deny_from: CIDRs of clients that are refused all the same.
    """

    https_redirect: bool = True
    canary: tuple[Canary, ...] = ()
    authentication: Authentication | None = None
    authorization: tuple[Authorization, ...] = ()
    rate_limit: ClientLimit | None = None
    concurrency: Count | None = None
    max_body: Size | None = None
    timeouts: Timeouts = Timeouts()
    retries: Retries | None = None
    allow_from: tuple[str, ...] = ()
    deny_from: tuple[str, ...] = ()
    request_headers: HeaderEdit = HeaderEdit()
    response_headers: HeaderEdit = HeaderEdit()
    min_tls_version: TlsVersion = "1.2"


def combined(entries: Mapping[str, EdgeRule]) -> EdgeRule:
    """One rule of all that its fields say, each read for itself."""
    fields = msgspec.structs.fields(EdgeRule)
    return EdgeRule(**{one.name: getattr(entries[one.encode_name], one.name) for one in fields if one.encode_name in entries})
