"""Hosts kept apart: what no rule of a host is about goes on to the rules of wider hosts, but to those of its own namespace only.

A `RouteTable` asks the exact host, then the wildcards, then the rules of every host, whosever they are. So a host for which that would be
somebody else's gets the wider rules of its own namespace under its own name, and behind them an answer: 404. The same, without the answer,
where the host's own default backend would stand before a wider rule that names a path.

Trust: any namespace may make a rule for every host, or for a wildcard; with it it gets nothing that is sent to another namespace's host.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from sidecar.model.edge import EdgeRoute
from sidecar.model.path import decode_path, judge_rule_path
from sidecar.model.route import DirectResponse, Match

from .edge_rule import ANYBODY

UNCLAIMED = DirectResponse(404, "no rule is about this path\n")
MOST_COPIED_BYTES = 1024 * 1024     # of hosts that wider rules are told of besides, all together

Owned = tuple[str, EdgeRoute]       # whose it is


@dataclass(slots=True)
class _Host:
    """The rules of one port and host: by namespace, and the prefixes that are led somewhere whatever else a request holds."""

    routes: dict[str, list[EdgeRoute]] = field(default_factory=dict)
    whole: set[bytes] = field(default_factory=set)
    has_rest: bool = False      # a rule that is about every path
    is_closed: bool = False     # and comes before wider rules, whatever they say: no default backend

    def add(self, namespace: str, route: EdgeRoute) -> None:
        self.routes.setdefault(namespace, []).append(route)
        for match in route.matches:
            if match.path is not None and match.path.type == "PathPrefix" and not (match.headers or match.query or match.method):
                self.whole.add(path_of(match).rstrip(b"/"))
        is_rest = not route.matches or Match() in route.matches
        self.has_rest |= is_rest
        self.is_closed |= is_rest and (route.redirect is not None or not route.name.startswith("ingress/"))

    def holds(self, match: Match) -> bool:
        """Whether all that the match is about is led somewhere already."""
        if match.path is None:
            return self.has_rest
        if match.path.type == "RegularExpression":
            return b"" in self.whole
        path = path_of(match).rstrip(b"/")
        return any(path[:at] in self.whole for at in (*(at for at, byte in enumerate(path) if byte == 0x2F), len(path)))


def apart(
    owned: Iterable[Owned], owners: Mapping[tuple[int, str], str], closed: Collection[tuple[int, str]] = (),
) -> tuple[list[EdgeRoute], list[str]]:
    """(the rules, with what keeps hosts apart; the names of those that there are too many hosts for).

    Args:
        owners: of each port and host.
        closed: ports and hosts that get no wider rules, not even those of their own namespace.
    """
    owned = list(owned)
    ports: dict[int, dict[str, _Host]] = {}
    for namespace, route in owned:
        for port in route.ports:
            for host in route.hosts or ("",):
                ports.setdefault(port, {}).setdefault(host, _Host()).add(namespace, route)
    for port, host in closed:
        ports.setdefault(port, {}).setdefault(host, _Host())
    copies: dict[tuple[str, int, tuple[Match, ...]], tuple[EdgeRoute, list[str]]] = {}
    ends: dict[int, list[str]] = {}
    size, too_many = 0, {}
    for port, hosts in ports.items():
        for host, here in hosts.items():
            if (port, host) in closed:
                if not here.has_rest:
                    ends.setdefault(port, []).append(host)
                continue
            wider = [hosts[name] for name in _wider(host) if name in hosts]
            owner = owners.get((port, host), "")
            is_foreign = any(namespace != owner for one in wider for namespace in one.routes)
            if here.is_closed or b"" in here.whole or not wider or not (is_foreign or here.has_rest):
                continue
            if is_foreign and not here.has_rest:
                ends.setdefault(port, []).append(host)
            for one in wider:
                for route in one.routes.get(owner, ()):
                    kept = tuple(match for match in route.matches or (Match(),) if not here.holds(match))
                    if not kept:
                        continue
                    size += len(host) + 3
                    if size > MOST_COPIED_BYTES:
                        too_many[route.name] = True
                        continue
                    copies.setdefault((route.name, port, kept), (route, []))[1].append(host)
    made = [route for _, route in owned]
    numbers: dict[str, int] = {}
    for (name, port, kept), (route, names) in copies.items():
        number = numbers[name] = numbers.get(name, -1) + 1
        made.append(replace(route, name=f"{name}/hosts-{number}", ports=(port,), hosts=tuple(names), matches=kept))
    for port, names in ends.items():
        made.append(EdgeRoute(f"edge/unclaimed/{port}", ANYBODY, ports=(port,), hosts=tuple(names), direct_response=UNCLAIMED))
    return made, list(too_many)


def path_of(match: Match) -> bytes:
    """As rules compare it."""
    text = match.path.value if match.path is not None else ""
    return decode_path(judge_rule_path(text)) if "%" in text else text.encode()     # nothing else is escaped, or undone


def where_of(match: Match) -> object:
    """The path that the match is about, whether as it is or with what is below it."""
    if match.path is not None and match.path.type == "RegularExpression":
        return match.path.value
    return path_of(match).rstrip(b"/")


def _wider(host: str) -> Iterator[str]:
    """The hosts of rules that a request for `host` comes to when none of its own is about it, the narrowest first."""
    if not host:
        return
    name = host.lstrip("*.")
    if not host.startswith("*"):
        name = host.partition(".")[2]
        yield f"*.{name}"
    if not host.startswith("**."):
        yield f"**.{name}"
    while name := name.partition(".")[2]:
        yield f"**.{name}"
    yield ""
