"""The objects of the Gateway API as they are written, as far as we offer what they say: fields that stand here, and no others.

Defaults are those of the API server, which a directory does not have. What one object names of another (`compile/references.py`)
and what becomes of it (`compile/gateways.py`, `compile/http_rules.py`) is judged elsewhere.
Spec: gateway.networking.k8s.io/v1 GatewayClass, Gateway and HTTPRoute; v1beta1 ReferenceGrant.
"""

from typing import Annotated, Any, Literal

import msgspec

from sidecar.model.route import HeaderMatch, HeaderName, HeaderValue, Method
from sidecar.model.value import Name, Port, Value

from .selector import Selector
from .text import Duration

GROUP = "gateway.networking.k8s.io"
Weight = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]

# -- what one object says of another


class ParentRef(Value, frozen=True):
    name: Name
    group: str = GROUP
    kind: str = "Gateway"
    namespace: str | None = None
    section_name: str | None = None
    port: Port | None = None


class ObjectRef(Value, frozen=True):
    name: Name
    group: str = ""
    kind: str | None = None
    namespace: str | None = None


class ServiceRef(Value, frozen=True):
    name: Name
    group: str = ""
    kind: str = "Service"
    namespace: str | None = None
    port: Port | None = None


class BackendRef(ServiceRef, frozen=True):
    weight: Weight = 1


class GrantFrom(Value, frozen=True):
    group: str
    kind: str
    namespace: str


class GrantTo(Value, frozen=True):
    group: str
    kind: str
    name: str | None = None


class ReferenceGrant(Value, frozen=True):
    from_: tuple[GrantFrom, ...] = msgspec.field(name="from")
    to: tuple[GrantTo, ...]


# -- Gateway


class RouteNamespaces(Value, frozen=True):
    from_: Literal["Same", "All", "Selector", "None"] = msgspec.field(name="from", default="Same")
    selector: Selector | None = None


class RouteKind(Value, frozen=True):
    kind: str
    group: str = GROUP


class AllowedRoutes(Value, frozen=True):
    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: tuple[RouteKind, ...] = ()


class ListenerTls(Value, frozen=True):
    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    certificate_refs: tuple[ObjectRef, ...] = ()


class Listener(Value, frozen=True):
    """
    Args:
        protocol: any, since the one that is none of ours has a reason of its own.
    """

    name: Name
    port: Port
    protocol: str
    hostname: str | None = None
    tls: ListenerTls | None = None
    allowed_routes: AllowedRoutes = AllowedRoutes()


class GatewaySpec(Value, frozen=True):
    """
    Args:
        listeners: each is read for itself.
        infrastructure: labels and annotations for what is made for a Gateway; nothing is.
        allowed_listeners: what ListenerSets may add, which nobody reads.
    """

    gateway_class_name: Name
    listeners: tuple[Any, ...] = ()
    addresses: tuple[Any, ...] = ()
    infrastructure: dict[str, Any] = {}  # noqa: RUF012 -- msgspec copies it for each value
    allowed_listeners: Any = None


# -- HTTPRoute


class PathMatch(Value, frozen=True):
    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: str = "/"


class QueryMatch(Value, frozen=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    value: Annotated[str, msgspec.Meta(max_length=4096)]
    type: Literal["Exact", "RegularExpression"] = "Exact"


class HttpMatch(Value, frozen=True):
    path: PathMatch = PathMatch()
    headers: tuple[HeaderMatch, ...] = ()
    query_params: tuple[QueryMatch, ...] = ()
    method: Method | None = None


class Header(Value, frozen=True):
    name: HeaderName
    value: HeaderValue


class HeaderFilter(Value, frozen=True):
    set: tuple[Header, ...] = ()
    add: tuple[Header, ...] = ()
    remove: tuple[HeaderName, ...] = ()


class PathModifier(Value, frozen=True):
    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: str | None = None
    replace_prefix_match: str | None = None


class RedirectFilter(Value, frozen=True):
    scheme: Literal["http", "https"] | None = None
    hostname: str | None = None
    path: PathModifier | None = None
    port: Port | None = None
    status_code: Literal[301, 302, 303, 307, 308] = 302


class RewriteFilter(Value, frozen=True):
    hostname: str | None = None
    path: PathModifier | None = None


class Fraction(Value, frozen=True):
    numerator: Annotated[int, msgspec.Meta(ge=0)]
    denominator: Annotated[int, msgspec.Meta(ge=1)] = 100


class MirrorFilter(Value, frozen=True):
    backend_ref: ServiceRef
    percent: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    fraction: Fraction | None = None


class HttpFilter(Value, frozen=True):
    """One of them, the one that `type` says."""

    type: Literal["RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "RequestMirror"]
    request_header_modifier: HeaderFilter | None = None
    response_header_modifier: HeaderFilter | None = None
    request_redirect: RedirectFilter | None = None
    url_rewrite: RewriteFilter | None = None
    request_mirror: MirrorFilter | None = None


class HttpTimeouts(Value, frozen=True):
    request: Duration | None = None
    backend_request: Duration | None = None


class HttpRule(Value, frozen=True):
    name: str | None = None
    matches: tuple[HttpMatch, ...] = (HttpMatch(),)
    filters: tuple[HttpFilter, ...] = ()
    backend_refs: tuple[BackendRef, ...] = ()
    timeouts: HttpTimeouts = HttpTimeouts()


class HttpRouteSpec(Value, frozen=True):
    """
    Args:
        rules: each is read for itself; none given is one that matches everything.
    """

    parent_refs: tuple[Any, ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[Any, ...] = ({},)
