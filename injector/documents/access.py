"""Who may come in: `authentication` and `authorization` of `bartizan.dev/edge`, on an Ingress or an HTTPRoute.

Of the ways that `authentication` lists a request brings one; what it says, verified, are the client's claims. `authorization` says which
claims, and from where, what needs.
"""

from typing import Literal

from sidecar.model import edge, route
from sidecar.model.route import HeaderName, Method
from sidecar.model.value import Name, Port, Value

from .text import Duration

_KEYS, _BASIC, _EXTERNAL = edge.ApiKeys(()), edge.Basic(()), edge.External()      # for their defaults


class ApiKeys(Value, frozen=True):
    """
    Args:
        secret: of type Opaque, in the namespace of the object: names, and for each the SHA-256 of a key in hex, `roles=a,b` behind it.
        header: that holds the key, and nothing before it.
    """

    secret: Name
    header: HeaderName = _KEYS.header


class Basic(Value, frozen=True):
    """
    Args:
        secret: with `auth`, lines of `htpasswd -B`; and `roles`, if there are any: lines of `name: a,b`.
    """

    secret: Name
    realm: str = _BASIC.realm


class ClientCertificate(Value, frozen=True):
    """
    Args:
        secret: with `ca.crt`, what clients' certificates chain to.
        mode: `required` refuses the connection without one; `optional` leaves it to the request's other credentials.
    """

    secret: Name
    mode: Literal["required", "optional"] = "required"


class External(Value, frozen=True):
    """An authorizer, which is asked about each request that the rest lets in: 2xx lets it in.

    Args:
        service: of the object's namespace, by its plain name; or
        host: outside of the mesh. An EgressPolicy must approve it for the ingress gateway, with TLS.
        port: of the Service; of a host, where plain HTTP is originated from.
        prefix: stands before the path that is asked about.
        sends: fields of the request that it is shown.
        takes: fields of its answer that the application gets; no client can say them.
    """

    service: Name | None = None
    host: Name | None = None
    port: Port = _EXTERNAL.port
    prefix: str = ""
    sends: tuple[HeaderName, ...] = _EXTERNAL.sends
    takes: tuple[HeaderName, ...] = ()
    within: Duration = "2s"


class Authentication(Value, frozen=True):
    """How clients say who they are: each request in one of these ways.

    Args:
        jwt: bearer tokens, of issuers that a MeshPolicy names.
        optional: who brings nothing goes on without claims; what is brought must be right all the same.
        claim_headers: what the application is told, by field: {x-user: sub, x-roles: roles}. No client can say these fields.
        keep_credentials: they go on to the application.
    """

    jwt: route.Jwt | tuple[route.Jwt, ...] = ()
    api_keys: ApiKeys | None = None
    basic: Basic | None = None
    client_certificate: ClientCertificate | None = None
    optional: bool = False
    claim_headers: dict[HeaderName, Name] = {}  # noqa: RUF012 -- msgspec copies it for each value
    keep_credentials: bool = False
    external: External | None = None

    @property
    def tokens(self) -> tuple[route.Jwt, ...]:
        return self.jwt if isinstance(self.jwt, tuple) else (self.jwt,)

    @property
    def has_ways(self) -> bool:
        """Whether clients can say who they are; an authorizer alone knows it for itself."""
        return bool(self.tokens or self.api_keys or self.basic or self.client_certificate)


class Client(Value, frozen=True):
    """Which clients; all that is given must hold, and `{}` is every client that the rest lets in.

    Args:
        roles: has one of these (the claim `roles`).
        claims: each claim is one of the values, or holds one of them.
        source: a CIDR.
    """

    roles: tuple[Name, ...] = ()
    claims: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 -- msgspec copies it for each value
    source: str | None = None


class Authorization(Value, frozen=True):
    """Who may make some of the requests. Of several the first that is for a request decides; where none is, authentication suffices.

    Args:
        paths: each stands for itself and what is below it; none: every path.
        methods: none: every method.
        allow: absent: whoever `deny` does not name; `[]`: nobody.
    """

    paths: tuple[str, ...] = ()
    methods: tuple[Method, ...] = ()
    allow: tuple[Client, ...] | None = None
    deny: tuple[Client, ...] = ()
