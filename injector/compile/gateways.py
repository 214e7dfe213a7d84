"""GatewayClasses and Gateways: which listeners there are, with which certificates, and whose routes they hear. Pure.

All Gateways of our classes are served by the one ingress gateway, on the ports that it listens at: 80 speaks HTTP, 443 TLS. A listener that
is none of these is told so, and the others go on. Of the listeners of one Gateway on a port the one with the narrowest name alone
hears a request, also where none of its own routes matches (the API calls that listener isolation).

Trust: whoever may write a Gateway says which namespaces' routes are heard, and whose certificate is shown; a Secret of another namespace
only where that one grants it. Attacked by tests/injector/compile/test_gateways.py.
Spec: gateway.networking.k8s.io/v1 GatewayClass, Gateway.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from injector.cluster import Cluster, Ref, ref_of
from injector.cluster.objects import Object, mapping, objects
from injector.documents.gateway_api import GROUP, GatewaySpec, Listener, ObjectRef
from injector.hints import read
from injector.settings import GATEWAY_CONTROLLER
from sidecar.model.edge import TlsHost
from sidecar.model.errors import ConfigError
from sidecar.model.rule_check import check_matches

from .conditions import Cause, Condition, condition
from .edge_tls import tls_host
from .hostnames import deep, is_within
from .looked import Looked
from .references import Grants
from .said import PLAIN, TLS, Said

ROUTE_KINDS = ("HTTPRoute",)
# What the API's conformance tests call what we offer.
FEATURES = (
    "Gateway", "GatewayHTTPListenerIsolation", "HTTPRoute", "HTTPRouteBackendTimeout", "HTTPRouteHostRewrite", "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule", "HTTPRouteParentRefPort", "HTTPRoutePathRedirect", "HTTPRoutePathRewrite", "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching", "HTTPRouteRequestMirror", "HTTPRouteRequestPercentageMirror", "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification", "HTTPRouteSchemeRedirect", "ReferenceGrant",
)
PORTS: Mapping[int, str] = {PLAIN: "HTTP", TLS: "HTTPS"}


@dataclass(slots=True)
class Heard:
    """A listener, and what is wrong with it by the condition that says so.

    Args:
        attached: routes.
    """

    name: str
    said: Listener | None = None
    tls: TlsHost | None = None
    kinds: tuple[str, ...] = ()
    refused: list[Cause] = field(default_factory=list)
    conflicts: list[Cause] = field(default_factory=list)
    unresolved: list[Cause] = field(default_factory=list)
    attached: set[Ref] = field(default_factory=set)

    @property
    def is_served(self) -> bool:
        """A listener without its certificate is served, too: its hosts get no handshake, and never another's certificate."""
        return not self.refused and not self.conflicts and self.said is not None

    @property
    def hostname(self) -> str:
        return (self.said.hostname if self.said is not None else None) or ""

    def hears(self, ref: Ref, own_namespace: str, look: Looked) -> bool:
        """Whether routes of this kind and namespace may ask for it."""
        if self.said is None or ref[0] not in self.kinds:
            return False
        namespaces = self.said.allowed_routes.namespaces
        if namespaces.from_ == "Selector":
            return namespaces.selector is not None and namespaces.selector.selects(look.namespace_labels(ref[1]))
        return namespaces.from_ == "All" or (namespaces.from_ == "Same" and ref[1] == own_namespace)

    def status(self) -> dict[str, Any]:
        causes = [*self.refused, *self.conflicts, *self.unresolved]
        conditions = [
            condition("Accepted", self.refused),
            condition("ResolvedRefs", self.unresolved),
            Condition("Conflicted", bool(self.conflicts), self.conflicts[0].reason if self.conflicts else "NoConflicts",
                      "; ".join(one.message for one in self.conflicts)),
            condition("Programmed", [Cause("Invalid", one.message) for one in causes]),
        ]
        return {
            "name": self.name, "attachedRoutes": len(self.attached), "conditions": [one.as_json() for one in conditions],
            "supportedKinds": [{"group": GROUP, "kind": kind} for kind in self.kinds],
        }


@dataclass(frozen=True, slots=True, eq=False)
class Gateway:
    """
    Args:
        refused: why nothing of it is in force.
    """

    ref: Ref
    created: str
    listeners: tuple[Heard, ...] = ()
    refused: tuple[Cause, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        own = [one.message for one in self.refused]
        return (*own, *(
            f"listener {heard.name}: {cause.message}"
            for heard in self.listeners for cause in (*heard.refused, *heard.conflicts, *heard.unresolved)
        ))

    def named(self, section: str | None, port: int | None) -> list[Heard]:
        """The listeners that a route means."""
        return [
            one for one in self.listeners
            if one.said is not None and section in (None, one.name) and port in (None, one.said.port)
        ]

    def beside(self, heard: Heard) -> list[str]:
        """The names of the other listeners that are served on the port."""
        return [
            one.hostname for one in self.listeners
            if one is not heard and one.is_served and one.said and heard.said and one.said.port == heard.said.port
        ]

    def said(self) -> Said:
        served = [one for one in self.listeners if one.is_served and one.said is not None]
        return Said(
            ref=self.ref, created=self.created, closed=frozenset(self._isolated()), problems=self.problems,
            tls=tuple((one.said.port, one.tls) for one in served if one.said is not None and one.tls is not None),
            listeners=tuple(dict.fromkeys((one.said.port, one.tls is not None) for one in served if one.said is not None)),
        )

    def _isolated(self) -> Iterator[tuple[int, str]]:
        """What none of its rules matches is not for the wider listener beside it."""
        for one in self.listeners:
            if one.is_served and one.said is not None and any(is_within(one.hostname, other) for other in self.beside(one)):
                yield one.said.port, deep(one.hostname)


def read_classes(cluster: Cluster) -> dict[str, Condition]:
    """Whether each GatewayClass that is ours is accepted, by name."""
    found = {}
    for (_, name), one in cluster.of_kind("GatewayClass").items():
        try:
            spec = one.spec
        except ConfigError:
            continue
        if spec.get("controllerName") == GATEWAY_CONTROLLER:
            causes = [Cause("InvalidParameters", "parametersRef: there are no parameters of a class; remove it")] \
                if spec.get("parametersRef") else []
            found[name] = condition("Accepted", causes)
    return found


def read_gateways(cluster: Cluster, look: Looked, classes: Mapping[str, Condition], grants: Grants) -> dict[Ref, Gateway]:
    """Those of our classes."""
    found = {}
    for one in cluster.of_kind("Gateway").values():
        if isinstance(one.data.get("spec"), dict) and (accepted := classes.get(str(one.spec.get("gatewayClassName")))) is not None:
            found[ref_of(one)] = _gateway(ref_of(one), one, accepted, look, grants)
    return found


def _gateway(ref: Ref, one: Object, accepted: Condition, look: Looked, grants: Grants) -> Gateway:
    def refused(reason: str, message: str) -> Gateway:
        return Gateway(ref, one.created, refused=(Cause(reason, message),))

    if not accepted.holds:
        return refused("Pending", "its GatewayClass is not accepted")
    try:
        spec = read(one.spec, GatewaySpec, "spec")
        listeners = objects(list(spec.listeners), "spec.listeners")
    except ConfigError as exc:
        return refused("Invalid", str(exc))
    if spec.addresses:
        return refused("UnsupportedAddress", "spec.addresses: the addresses are those of the Service bartizan-gateway; ask for none here")
    if spec.infrastructure.get("parametersRef"):
        return refused("InvalidParameters", "spec.infrastructure.parametersRef: there are no parameters of a Gateway; remove it")
    heard: list[Heard] = []
    for i, data in enumerate(listeners):
        made = _heard(f"spec.listeners[{i}]", data, ref[1], look, grants)
        made.conflicts += _conflicts(made, heard)
        heard.append(made)
    return Gateway(ref, one.created, tuple(heard))


def _heard(where: str, data: Mapping[str, Any], namespace: str, look: Looked, grants: Grants) -> Heard:
    name = str(data.get("name"))[:253]
    try:
        said = read(data, Listener, where)
        hosts = (deep(said.hostname),) if said.hostname else ()
        check_matches(where, hosts, (), is_edge=True)
    except ConfigError as exc:
        tells_protocol = mapping(data, where).get("protocol") not in PORTS.values()
        return Heard(name, refused=[Cause("UnsupportedProtocol" if tells_protocol else "UnsupportedValue", str(exc))])
    heard = Heard(name, said)
    if said.protocol not in PORTS.values():
        heard.refused.append(Cause("UnsupportedProtocol", f"{said.protocol} is not spoken here; there are {', '.join(PORTS.values())}"))
        return heard
    asked = said.allowed_routes.kinds
    known = tuple(kind.kind for kind in asked if kind.group == GROUP and kind.kind in ROUTE_KINDS)
    heard.kinds = tuple(dict.fromkeys(known)) if asked else ROUTE_KINDS
    heard.unresolved += [
        Cause("InvalidRouteKinds", f"{kind.group}/{kind.kind} is no kind of route here; there is {', '.join(ROUTE_KINDS)}")
        for kind in asked if kind.group != GROUP or kind.kind not in ROUTE_KINDS
    ]
    if said.port not in PORTS:
        ports = " and ".join(f"{port} for {protocol}" for port, protocol in PORTS.items())
        heard.refused.append(Cause("PortUnavailable", f"nobody listens at port {said.port}; the ingress gateway has {ports}"))
    elif PORTS[said.port] != said.protocol:
        heard.refused.append(Cause("PortUnavailable", f"port {said.port} speaks {PORTS[said.port]}, not {said.protocol}"))
    if said.protocol == "HTTPS":
        heard.tls = _certificate(heard, said, hosts, namespace, look, grants)
    elif said.tls is not None:
        heard.refused.append(Cause("UnsupportedValue", f"{where}.tls: {said.protocol} has none; write protocol: HTTPS"))
    if said.tls is not None and said.tls.mode == "Passthrough":
        heard.refused.append(Cause("UnsupportedValue", f"{where}.tls.mode: Passthrough is for routes that are not HTTP; write Terminate"))
    return heard


def _certificate(
    heard: Heard, said: Listener, hosts: tuple[str, ...], namespace: str, look: Looked, grants: Grants,
) -> TlsHost:
    refs = said.tls.certificate_refs if said.tls is not None else ()
    if len(refs) != 1:
        what = "names no certificate" if not refs else "names several certificates"
        heard.unresolved.append(Cause("InvalidCertificateRef", f"it {what}; tls.certificateRefs takes one Secret"))
        return TlsHost(f"{namespace}/{heard.name}", hosts)
    key = refs[0].namespace or namespace, refs[0].name
    name = "/".join(key)
    cause = _unresolved(refs[0], namespace, key, grants)
    if cause is not None:
        heard.unresolved.append(cause)
        return TlsHost(name, hosts)
    found, problem = tls_host(key, look.secret(key), hosts, "1.2")
    heard.unresolved += [Cause("InvalidCertificateRef", problem)] if problem else []
    return found


def _unresolved(ref: ObjectRef, namespace: str, key: tuple[str, str], grants: Grants) -> Cause | None:
    if ref.group or ref.kind not in (None, "Secret"):
        return Cause("InvalidCertificateRef", f"{ref.group}/{ref.kind} {ref.name} is no Secret")
    if not grants.allow("Gateway", namespace, ("", "Secret", *key)):
        return Cause("RefNotPermitted", f"no ReferenceGrant in namespace {key[0]} lets Gateways of {namespace} name Secret {key[1]}")
    return None


def _conflicts(made: Heard, before: list[Heard]) -> Iterator[Cause]:
    """The first of two that say the same counts."""
    for other in before:
        if made.name == other.name:
            yield Cause("HostnameConflict", f"there is another listener {made.name}, which counts")
        elif other.is_served and made.said is not None and other.said is not None and made.said.port == other.said.port:
            if made.said.protocol != other.said.protocol:
                yield Cause("ProtocolConflict", f"listener {other.name}, which counts, has port {made.said.port} with another protocol")
            elif made.hostname == other.hostname:
                yield Cause("HostnameConflict", f"listener {other.name}, which counts, has the same port and hostname")
