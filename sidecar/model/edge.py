"""What an ingress gateway serves to clients that have no identity in the mesh: listeners, rules, and how clients say who they are.

The compiler makes it of Ingresses, Gateways and HTTPRoutes. A rule at the edge is a route like that of a pod, with where it leads
besides; its `allow` speaks of the client's address (`source`) and of what its credentials say (`claims`), and of nothing else.
"""

from typing import Annotated, Literal

import msgspec

from .errors import ConfigError
from .path import judge_rule_path
from .route import HEADER_NAME, Caller, HeaderName, Jwt, Method, Route, Seconds, TokenIssuer
from .rule_check import check_client, check_route
from .service import Backend, Mirror, Retries
from .value import MadeName, Name, Port, Value

# -- listeners


class ClientCertificates(Value, frozen=True):
    """
    Args:
        roots: PEM; what clients' certificates chain to.
        is_required: else a client may come without one.
        name: of the roots, by which an `Access` means them; empty: none does.
    """

    roots: str
    is_required: bool = True
    name: str = ""


class TlsHost(Value, frozen=True):
    """How TLS is spoken with clients that name one of some hosts (SNI).

    Args:
        name: of the Secret, `shop/myapp-tls`, for logs.
        hosts: `*.example.com` stands for one label, `**.example.com` for one or more; empty: every other host, and none.
        chain, key: PEM. None: the Secret is missing or unusable; the handshake is refused, never another certificate shown instead.
        clients: their certificates are asked for.
    """

    name: MadeName
    hosts: tuple[MadeName, ...] = ()
    chain: str | None = None
    key: str | None = None
    clients: ClientCertificates | None = None
    min_version: Literal["1.2", "1.3"] = "1.2"


class EdgeListener(Value, frozen=True):
    """
    Args:
        port: that clients know; where the process listens for it its configuration says (`Listen.edge`).
        tls: None: plain HTTP.
    """

    port: Port
    tls: tuple[TlsHost, ...] | None = None


# -- who a client is


class ClaimHeader(Value, frozen=True):
    """A claim of the client's that the application is told, in a field that no client can say itself."""

    claim: Name
    header: HeaderName


class ApiKey(Value, frozen=True):
    """
    Args:
        sha256: of the key, hex. Keys are random and long; whoever makes them sees to that, and admission.
        name: becomes the claim `sub`.
        roles: become the claim `roles`.
    """

    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}(?!\n)$")]
    name: Name
    roles: tuple[Name, ...] = ()


class ApiKeys(Value, frozen=True):
    """
    Args:
        header: which is taken off the request.
    """

    keys: tuple[ApiKey, ...]
    header: Annotated[str, msgspec.Meta(pattern=HEADER_NAME, max_length=256)] = "x-api-key"


class BasicUser(Value, frozen=True):
    """
    Args:
        hash: bcrypt, as `htpasswd -B` writes it.
        name, roles: become the claims `sub` and `roles`.
    """

    name: Name
    hash: Annotated[str, msgspec.Meta(pattern=r"^\$2[aby]\$(0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}(?!\n)$")]
    roles: tuple[Name, ...] = ()


class Basic(Value, frozen=True):
    """RFC 7617."""

    users: tuple[BasicUser, ...]
    realm: Annotated[str, msgspec.Meta(pattern=r'^[ !#-\[\]-~]{0,128}(?!\n)$')] = "bartizan"


class External(Value, frozen=True):
    """An authorizer that is asked about each request, with its method, path and some of its fields, and without its body: 2xx lets it
    in. What else it answers the client gets. Where it cannot be asked nobody is let in.

    Args:
        service: in the mesh; or
        host: outside of it, originated and judged like all egress of this gateway's: an EgressPolicy must approve it.
        port: of the host, where plain HTTP is originated from.
        prefix: stands before the path that is asked about.
        sends: fields of the request that it is shown, besides method, path, host and the client's address.
        takes: fields of its answer that the application gets instead of the client's.
    """

    service: Backend | None = None
    host: Name | None = None
    port: Port = 80
    prefix: str = ""
    sends: tuple[HeaderName, ...] = ("authorization", "cookie")
    takes: tuple[HeaderName, ...] = ()
    within_s: Seconds = 2.0


class Access(Value, frozen=True):
    """Who a client is. Of the ways that are given the request brings one; what it says becomes its claims. Then the rule's `allow` and
    `deny` judge, then the authorizer, if there is one.

    Args:
        tokens: of one of these issuers and audiences.
        certificate: the client certificate of the connection, if it chains to the roots of this name (`ClientCertificates`): claims
            `sub` (its subject's common name), `dns`, `email`, `uri`. Empty: none counts.
        is_optional: a request that brings none of the ways goes on without claims; what it brings must be right all the same.
        claim_headers: what the application is told.
        keeps_credentials: the field that held the credentials goes on to the application.
        unusable: what the operator has not given, or nobody can read, in words: nobody is let in until it is there.
    """

    tokens: tuple[Jwt, ...] = ()
    api_keys: ApiKeys | None = None
    basic: Basic | None = None
    certificate: str = ""
    is_optional: bool = False
    claim_headers: tuple[ClaimHeader, ...] = ()
    keeps_credentials: bool = False
    external: External | None = None
    unusable: str = ""


# -- rules


class Restriction(Value, frozen=True):
    """Of a rule's requests some, and who of those whom the rule lets in may make them.

    Args:
        paths: each stands for itself and what is below it, compared decoded; none: every path.
        methods: none: every method.
        allow: as in the rule; None: whoever `deny` does not name.
    """

    paths: tuple[str, ...] = ()
    methods: tuple[Method, ...] = ()
    allow: tuple[Caller, ...] | None = None
    deny: tuple[Caller, ...] = ()


class EdgeRoute(Route, frozen=True, kw_only=True):
    """A rule at the edge; what it has of a `Route` means the same, but for `allow` and `deny`, and `by: identity` counts addresses.

    Args:
        ports: of the listeners that it is for, one at least; `port` and `jwt` are not said here.
        hosts: as in `TlsHost`.
        backends: where it leads, by weight; Services of the mesh, `web.shop`. None, where it answers itself.
        access: which of `Edge.access` clients must pass; empty: none.
        restrictions: the first that is for a request is asked besides `allow` and `deny`.
    """

    ports: Annotated[tuple[Port, ...], msgspec.Meta(min_length=1)]
    backends: tuple[Backend, ...] = ()
    mirror: Mirror | None = None
    retries: Retries | None = None
    access: str = ""
    restrictions: tuple[Restriction, ...] = ()


class Edge(Value, frozen=True):
    """
    Args:
        access: by a name of the compiler's.
        issuers: of the tokens that it asks for.
    """

    listeners: tuple[EdgeListener, ...] = ()
    routes: tuple[EdgeRoute, ...] = ()
    access: dict[str, Access] = {}  # noqa: RUF012 -- msgspec copies it for each value
    issuers: tuple[TokenIssuer, ...] = ()


def check_edge(where: str, edge: Edge) -> None:
    """What types cannot say. Raises ConfigError."""
    ports = [listener.port for listener in edge.listeners]
    if len(set(ports)) != len(ports):
        raise ConfigError(f"{where}.listeners", "two of them have one port")
    names: set[str] = set()
    for i, route in enumerate(edge.routes):
        at = f"{where}.routes[{i}]"
        check_route(at, route, is_edge=True)
        if route.name in names:
            raise ConfigError(f"{at}.name", f"{route.name!r} is the name of an earlier route")
        names.add(route.name)
        if route.port is not None or route.jwt is not None:
            raise ConfigError(at, "`ports` and `access` stand here instead of `port` and `jwt`")
        if route.access and route.access not in edge.access:
            raise ConfigError(f"{at}.access", f"there is no {route.access!r}")
        for j, one in enumerate(route.restrictions):
            _check_restriction(f"{at}.restrictions[{j}]", one)
        if not (route.backends or route.redirect or route.direct_response):
            raise ConfigError(at, "it leads nowhere and answers nothing")
    for name, access in edge.access.items():
        external = access.external
        if external is not None and (external.service is None) == (external.host is None):
            raise ConfigError(f"{where}.access.{name}.external", "one of `service` and `host`")


def _check_restriction(where: str, one: Restriction) -> None:
    for i, path in enumerate(one.paths):
        try:
            judge_rule_path(path)
        except ValueError as exc:
            raise ConfigError(f"{where}.paths[{i}]", str(exc)) from exc
    for part, entries in (("allow", one.allow or ()), ("deny", one.deny)):
        for i, entry in enumerate(entries):
            check_client(f"{where}.{part}[{i}]", entry)
