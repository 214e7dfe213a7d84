"""What several objects say of one edge, joined: who has which host, path and certificate. Pure.

A host belongs to the namespace of the oldest object that names it. Others may add rules to it, under paths that nobody has claimed; its
certificate, and what no rule of it is about, are its namespace's alone.

Trust: any namespace may say anything of any host. Of two that claim the same the older one counts, and the other is told. Attacked by
tests/injector/compile/test_edge_join.py.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from injector.cluster import Ref
from sidecar.model.edge import Edge, EdgeListener, EdgeRoute, TlsHost
from sidecar.model.route import Match, Redirect

from .edge_hosts import apart, path_of, where_of
from .edge_rule import ANYBODY
from .edge_size import fitting
from .said import PLAIN, TLS, Said

EVERYTHING = Match()
Place = tuple[int, str]     # port and host; no host: every one


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """
    Args:
        problems: by object, what of it is not in force, in words.
        taken: objects that an older one stands before: it has their host and path, or the certificate.
        services: of the mesh that it leads to, as `web.shop`.
        hosts: outside of the mesh that authorizers are at, and their ports.
    """

    edge: Edge
    problems: Mapping[Ref, tuple[str, ...]]
    taken: frozenset[Ref] = frozenset()
    services: frozenset[str] = frozenset()
    hosts: frozenset[tuple[str, int]] = frozenset()


def join(saids: Iterable[Said]) -> Joined:
    return _Join(sorted(saids, key=lambda said: said.age)).joined()


class _Join:
    def __init__(self, saids: list[Said]) -> None:
        self._taken: set[Ref] = set()
        self._owners: dict[Place, str] = {}
        for said in saids:
            for place in _named(said):
                self._owners.setdefault(place, said.namespace)
        saids, self._over = fitting(saids)
        self._saids = saids
        self._problems: dict[Ref, list[str]] = {said.ref: list(said.problems) for said in saids}
        self._redirected = {
            host: said.namespace for said in saids for host in said.redirected if self._owners.get((TLS, host)) == said.namespace
        }

    def joined(self) -> Joined:
        routes = [*self._routes(), *self._redirects()]
        default = next((said for said in self._saids if said.default is not None), None)
        if default is not None and default.default is not None:
            routes.append((default.namespace, default.default))
            self._tell_defaults(default)
        closed = {place for said in self._saids for place in said.closed if self._owners.get(place, said.namespace) == said.namespace}
        whole, too_many = apart(routes, self._owners, closed)
        for name in too_many:
            for said in self._saids:
                if any(route.name == name for route in said.routes):
                    self._tell(said, f"{name}: there are too many hosts that it would be for besides; it is for those that nobody names")
        listeners = self._listeners()
        edge = Edge(
            listeners, tuple(whole), {name: access for said in self._saids for name, access in said.access.items()},
            tuple({issuer.issuer: issuer for said in self._saids for issuer in said.issuers}.values()),
        )
        external = [access.external for access in edge.access.values() if access.external is not None]
        services = {backend.service for route in whole for backend in route.backends}
        services |= {route.mirror.service for route in whole if route.mirror is not None}
        services |= {one.service.service for one in external if one.service is not None}
        return Joined(
            edge, {ref: tuple(problems) for ref, problems in self._problems.items() if problems}, frozenset(self._taken),
            frozenset(services), frozenset((one.host, one.port) for one in external if one.host is not None),
        )

    def _tell(self, said: Said, problem: str) -> None:
        if problem not in self._problems[said.ref]:
            self._problems[said.ref].append(problem)

    # -- rules

    def _routes(self) -> Iterator[tuple[str, EdgeRoute]]:
        claimed: dict[object, tuple[Said, EdgeRoute]] = {}
        first: dict[object, tuple[Said, EdgeRoute]] = {}
        for said in self._saids:
            for route in said.routes:
                for part in self._in_force(said, route, claimed, first):
                    yield said.namespace, part

    def _in_force(
        self, said: Said, route: EdgeRoute, claimed: dict[object, tuple[Said, EdgeRoute]], first: dict[object, tuple[Said, EdgeRoute]],
    ) -> Iterator[EdgeRoute]:
        """The route without what an older object has claimed, and without what is left to a redirect; in parts, where it has to be.

        Args:
            claimed: by all that rules of one namespace are told apart by.
            first: by port, host and path alone. To another namespace a narrower rule for the same path would be the way to take it.
        """
        left: dict[tuple[int, str], list[Match]] = {}
        hosts, matches = route.hosts or ("",), route.matches or (EVERYTHING,)
        is_whole = True
        for port in route.ports:
            for host in hosts:
                for match in matches:
                    first.setdefault((port, host, where_of(match)), (said, route))
                if port == PLAIN and self._is_redirected(host, said):
                    is_whole = False
                    continue
                if said.namespace not in self._over and (owner := self._owners[port, host]) in self._over:
                    is_whole = False
                    self._tell(said, f"{host or 'every host'} is closed: its namespace {owner} says more than gateways can hold")
                    continue
                for match in matches:
                    other, former = first[port, host, where_of(match)]
                    if other.namespace != said.namespace:
                        is_whole = False
                        self._tell_claimed(said, route, host, match, other, former)
                        continue
                    if (why := self._why_owners_alone(said, port, host, match)) is not None:
                        is_whole = False
                        self._tell(said, why)
                        continue
                    # A canary is a part of its rule: whoever has the path has it for every header.
                    key = port, host, (_path(match), None, (), ()) if said.ref[0] == "Ingress" else _whole(match)
                    other, former = claimed.setdefault(key, (said, route))
                    if other is said:
                        left.setdefault((port, host), []).append(match)
                    else:
                        is_whole = False
                        self._tell_claimed(said, route, host, match, other, former)
        if is_whole:
            yield route
            return
        parts: dict[tuple[int, tuple[Match, ...]], list[str]] = {}
        for (port, host), kept in left.items():
            parts.setdefault((port, tuple(kept)), []).append(host)
        same: dict[tuple[tuple[str, ...], tuple[Match, ...]], list[int]] = {}
        for (port, matched), some in parts.items():
            same.setdefault((tuple(some), matched), []).append(port)
        for i, ((names, matched), ports) in enumerate(same.items()):
            name = route.name if len(same) == 1 else f"{route.name}/part-{i}"
            yield replace(
                route, name=name, ports=tuple(ports), hosts=tuple(filter(None, names)), matches=matched if route.matches else (),
            )

    def _why_owners_alone(self, said: Said, port: int, host: str, match: Match) -> str | None:
        """Why nobody but the host's own namespace may have a rule for this."""
        owner = self._owners[port, host]
        if owner == said.namespace:
            return None
        if match.path is not None and match.path.type == "RegularExpression":
            return (f"{match.path.value} could be any path for {host or 'all hosts'}, "
                    f"and is for namespace {owner} alone; write Exact or PathPrefix")
        if host and not where_of(match) and (match.path is None or match.path.type == "PathPrefix"):
            return f"what no rule of {host} is about is namespace {owner}'s alone; name a path"
        return None

    def _tell_claimed(self, said: Said, route: EdgeRoute, host: str, match: Match, other: Said, former: EdgeRoute) -> None:
        if other.namespace == said.namespace and (route.backends, route.direct_response) == (former.backends, former.direct_response):
            return
        kind, namespace, name = other.ref
        path = f"the path {match.path.value} ({match.path.type})" if match.path is not None else "every path"
        self._taken.add(said.ref)
        self._tell(said, f"{path} of {host or 'every host'} is {kind} {namespace}/{name}'s, {other.precedence}; remove one of the two")

    def _is_redirected(self, host: str, said: Said) -> bool:
        """By an entry of this host, whosever; or by a wildcard of the same namespace. Not where whose entry it is wants none here."""
        owner = self._redirected.get(host)
        if host and owner not in (None, said.namespace):
            if said.is_plain or said.ref[0] != "Ingress":
                self._tell(said, f"port {PLAIN} of {host} is redirected to HTTPS, as namespace {owner} says")
            return True
        if said.is_plain or said.ref[0] != "Ingress" or not self._redirected:
            return False
        if owner is not None:
            return bool(host) or owner == said.namespace
        return self._redirected.get(f"*.{host.partition('.')[2]}") == said.namespace

    def _redirects(self) -> Iterator[tuple[str, EdgeRoute]]:
        done: set[str] = set()
        for said in self._saids:
            found = sorted(host for host in said.redirected - done if self._redirected.get(host) == said.namespace)
            done.update(found)
            kind, namespace, name = said.ref
            for suffix, hosts in ("https", [host for host in found if host]), ("https-every", [host for host in found if not host]):
                if hosts:
                    yield said.namespace, EdgeRoute(
                        name=f"{kind.lower()}/{namespace}/{name}/{suffix}", allow=ANYBODY, ports=(PLAIN,), hosts=tuple(filter(None, hosts)),
                        redirect=Redirect(scheme="https", status=308),
                    )

    def _tell_defaults(self, oldest: Said) -> None:
        kind, namespace, name = oldest.ref
        for said in self._saids:
            if said.default is not None and said is not oldest and said.default.backends != (oldest.default and oldest.default.backends):
                self._tell(said, f"its defaultBackend answers for its own hosts only: for those that nobody names answers that of "
                                 f"{kind} {namespace}/{name}, {oldest.precedence}")

    # -- TLS

    def _listeners(self) -> tuple[EdgeListener, ...]:
        kinds: dict[int, tuple[bool, Said | None]] = {PLAIN: (False, None), TLS: (True, None)}
        for said in self._saids:
            for port, is_tls in said.listeners:
                first = kinds.setdefault(port, (is_tls, said))
                if first[0] != is_tls:
                    self._tell(said, f"port {port} speaks {'TLS' if first[0] else 'plain HTTP'} here, and cannot speak both")
        found: dict[int, dict[TlsHost, dict[str, None]]] = {port: {} for port, (is_tls, _) in kinds.items() if is_tls}
        holders: dict[Place, tuple[Said, str]] = {}
        for said in self._saids:
            for port, one in said.tls:
                hosts = [host for host in one.hosts or ("",) if self._has_certificate(said, port, host, one, holders)]
                if hosts and port in found:
                    found[port].setdefault(replace(one, hosts=()), {}).update(dict.fromkeys(hosts))
        return tuple(EdgeListener(port, tuple(_tls_hosts(found[port])) if is_tls else None) for port, (is_tls, _) in sorted(kinds.items()))

    def _has_certificate(self, said: Said, port: int, host: str, one: TlsHost, holders: dict[Place, tuple[Said, str]]) -> bool:
        named, owner = host or "every other host", self._owners.get((port, host))
        if said.ref[0] != "Gateway" and owner != said.namespace:
            self._taken.add(said.ref)
            self._tell(said, f"TLS for {named} is not this namespace's to speak: an object of namespace {owner} has named it before")
            return False
        other, name = holders.setdefault((port, host), (said, one.name))
        if other is not said and name != one.name:
            kind, namespace, of = other.ref
            self._taken.add(said.ref)
            self._tell(said, f"{named} shows the certificate {name}, as {kind} {namespace}/{of} says, {other.precedence}; not {one.name}")
        return other is said


def _tls_hosts(found: Mapping[TlsHost, Iterable[str]]) -> Iterator[TlsHost]:
    for one, hosts in found.items():
        if names := tuple(filter(None, hosts)):
            yield replace(one, hosts=names)
        if "" in hosts:
            yield one


def _named(said: Said) -> Iterator[Place]:
    """Every port and host that the object names, as whoever claims them does. A Gateway names hosts for others."""
    for route in said.routes:
        for host in route.hosts or ("",):
            for port in route.ports:
                yield port, host
    if said.ref[0] != "Gateway":
        for port, one in said.tls:
            for host in one.hosts or ("",):
                yield port, host
        for host in said.redirected:
            yield PLAIN, host


def _path(match: Match) -> object:
    """What the match says of paths, however it is spelt."""
    if match.path is None or match.path.type == "RegularExpression":
        return match.path
    path = path_of(match)
    return match.path.type, path if match.path.type == "Exact" else path.rstrip(b"/")


def _whole(match: Match) -> object:
    return _path(match), match.method, match.headers, match.query
