"""One Ingress, and what it says of the edge.

What of it cannot be in force is left out and told; the rest goes on. A path whose backend is none keeps its requests to itself and
answers 503, lest they go to a rule that was not meant.

Trust: an Ingress is an application team's, in any form that the API server takes, or that a file holds. Whatever it says leads to Services
of its own namespace, and takes Secrets of its own namespace. Attacked by tests/injector/compile/test_ingress.py.
Spec: networking.k8s.io/v1 Ingress.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from injector.cluster import ref_of
from injector.cluster.objects import Object, mapping, text, texts
from sidecar.model.address import is_address
from sidecar.model.edge import EdgeRoute, TlsHost
from sidecar.model.errors import ConfigError
from sidecar.model.path import judge_rule_path
from sidecar.model.route import DirectResponse, Match, PathMatch
from sidecar.model.rule_check import check_matches
from sidecar.model.service import Backend

from .edge_backends import backend_of
from .edge_rule import ANYBODY, Annotated, with_canaries, with_rule
from .edge_tls import tls_host
from .looked import Looked
from .said import PLAIN, TLS, Said

NOWHERE = DirectResponse(503, "the Ingress leads nowhere: its backend is none\n")
EXACT, PREFIX, OURS = "Exact", "Prefix", "ImplementationSpecific"
_NOT_LITERAL = frozenset("*()[]{}^$|\\")
MOST_LENGTH = 1024      # of a path


def read_ingress(one: Object, look: Looked, found: Annotated) -> Said:
    """Never an exception: what cannot be read is told.

    Args:
        found: its annotation.
    """
    reader = _Reader(one, look, found)
    try:
        reader.read()
    except ConfigError as exc:
        reader.mistakes.append(f"{exc}; nothing of it is in force from there on")
    return Said(
        ref_of(one), one.created, access=found.accesses, issuers=found.issuers,
        routes=tuple(reader.routes), tls=tuple((TLS, host) for host in reader.tls),
        problems=(*found.problems, *reader.mistakes, *reader.absent), mistakes=tuple(reader.mistakes),
        default=reader.default, redirected=frozenset(reader.redirected), is_plain=not found.rule.https_redirect,
    )


def host_problem(host: str) -> str:
    """What is wrong with a host that clients are to be answered for; empty: nothing."""
    if not host.isascii():
        return f"{host[:100]!r}: write the name as it goes over the wire, xn--..."
    if len(host) > 253:
        return "the host is longer than any name"
    try:
        check_matches("", (host,), ())
    except ConfigError:
        return f"{host[:100]!r} is no host name in lower case, without port; `*.` before it stands for one label"
    if host[-1] in "0123456789]" and is_address(host.strip("[]")):
        return f"{host!r} is an address, and an Ingress is for names; leave the host out for a rule about every host"
    return ""


class _Reader:
    def __init__(self, one: Object, look: Looked, found: Annotated) -> None:
        self._one = one
        self._look = look
        self._found = found
        self._base = f"ingress/{one.namespace}/{one.name}"
        self.routes: list[EdgeRoute] = []
        self.tls: list[TlsHost] = []
        self.default: EdgeRoute | None = None
        self.redirected: set[str] = set()
        self.mistakes: list[str] = []
        self.absent: list[str] = []         # what other objects may still cure

    def read(self) -> None:
        spec = self._one.spec
        hosts: list[str] = []       # of the rules; empty text: every one
        without_paths: list[str] = []
        for i, rule in _items(spec.get("rules"), "spec.rules", self.mistakes):
            host = self._host(rule.get("host"), f"spec.rules[{i}].host")
            if host is None:
                continue
            hosts.append(host)
            http = _below(rule, "http", self.mistakes, f"spec.rules[{i}]")
            paths = list(_items(http.get("paths"), f"spec.rules[{i}].http.paths", self.mistakes))
            if not paths:
                without_paths.append(host)
            for j, path in paths:
                self._add_path(host, path, f"{i}/{j}", f"spec.rules[{i}].http.paths[{j}]")
        self._add_default(spec.get("defaultBackend"), hosts, without_paths)
        self._add_tls(spec.get("tls"), [host for host in dict.fromkeys(hosts) if host])

    def _host(self, value: object, where: str) -> str | None:
        """Empty text for every host; None: it is none, which was told."""
        if value is None or value == "":
            return ""
        problem = host_problem(value) if isinstance(value, str) else "expected text"
        if problem:
            self.mistakes.append(f"{where}: {problem}; the rule is not in force")
            return None
        return str(value)

    # -- rules

    def _add_path(self, host: str, path: Mapping[str, Any], number: str, where: str) -> None:
        match = self._match(path, where)
        if match is not None:
            backend = self._backend(path.get("backend"), f"{where}.backend")
            self._add(number, (host,) if host else (), (match,), backend, f"{where}.backend")

    def _match(self, path: Mapping[str, Any], where: str) -> Match | None:
        kind, value = path.get("pathType"), path.get("path")
        problem = ""
        if kind is None:
            problem = f"pathType: it is missing; write {EXACT}, {PREFIX} or {OURS}"
        elif kind not in (EXACT, PREFIX, OURS):
            problem = f"pathType: {str(kind)[:100]!r} is none of {EXACT}, {PREFIX} and {OURS}"
        elif value is None or value == "":
            value = "/" if kind == OURS else value
            problem = "" if value else "path: it is missing"
        if not problem:
            problem = _path_problem(value)
        if problem:
            self.mistakes.append(f"{where}.{problem}; the path is not in force")
            return None
        value = str(value)
        if kind == OURS and not _NOT_LITERAL.isdisjoint(value):
            self.mistakes.append(f"{where}.path: {value!r} is a prefix here, of whole segments, and each of its signs stands for itself; "
                                 "expressions are for an HTTPRoute")
        if kind == EXACT:
            return Match(PathMatch(value, "Exact"))
        return Match(PathMatch(value.rstrip("/") or "/", "PathPrefix"))

    def _add(self, number: str, hosts: tuple[str, ...], matches: tuple[Match, ...], backend: Backend | None, where: str) -> None:
        route = EdgeRoute(
            name=f"{self._base}/{number}", allow=ANYBODY, hosts=hosts, matches=matches, ports=(PLAIN, TLS), upgrades=("websocket",),
        )
        if backend is None:
            self.routes.append(with_rule(replace(route, direct_response=NOWHERE, upgrades=()), self._found))
            return
        whole = with_rule(replace(route, backends=(backend,)), self._found)
        routes, problems = with_canaries(whole, self._found.rule, self._one.namespace, self._look)
        self.routes += routes
        for problem in problems:
            self._miss(problem)

    def _backend(self, value: object, where: str) -> Backend | None:
        """None: there is none, which was told."""
        try:
            whole = mapping(value, where)
            service = mapping(whole.get("service"), f"{where}.service")
            if not service:
                why = "a `resource` is no Service; name a Service" if whole.get("resource") is not None else "it names no Service"
                self.mistakes.append(f"{where}: {why}; requests are answered 503")
                return None
            port = mapping(service.get("port"), f"{where}.service.port")
            named = port.get("number") if port.get("number") is not None else port.get("name")
            backend, problem = backend_of(text(service.get("name"), f"{where}.service.name"), named, self._one.namespace, self._look)
        except ConfigError as exc:
            self.mistakes.append(f"{exc}; requests are answered 503")
            return None
        if problem:
            self._miss(f"{where}: {problem}; requests are answered 503")
        return backend

    # -- what no rule is about

    def _add_default(self, value: object, hosts: list[str], without_paths: list[str]) -> None:
        if value is None:
            for host in dict.fromkeys(without_paths):
                self.mistakes.append(f"spec.rules: the rule of {host or 'every host'} has no paths, and there is no defaultBackend")
            return
        backend = self._backend(value, "spec.defaultBackend")
        before = len(self.routes)
        self._add("default", (), (), backend, "spec.defaultBackend")
        made, self.routes = self.routes[before:], self.routes[:before]
        self.default = made[-1]
        named = tuple(dict.fromkeys(filter(None, hosts)))
        if named:
            self.routes += [replace(route, name=f"{route.name}/hosts", hosts=named) for route in made]

    # -- TLS

    def _add_tls(self, value: object, of_rules: list[str]) -> None:
        for i, entry in _items(value, "spec.tls", self.mistakes):
            where = f"spec.tls[{i}]"
            try:
                written, secret = texts(entry.get("hosts"), f"{where}.hosts"), text(entry.get("secretName"), f"{where}.secretName")
            except ConfigError as exc:
                self.mistakes.append(f"{exc}; the entry is not in force")
                continue
            hosts = [host for host in dict.fromkeys(written) if self._host(host, f"{where}.hosts")] if written else of_rules
            if written and not hosts:
                continue
            key = self._one.namespace, secret or "(none)"
            found = self._look.secret(key) if secret else None
            one, problem = tls_host(key, found, hosts, self._found.rule.min_tls_version, self._found.clients)
            if not secret:
                self.mistakes.append(f"{where}: it names no Secret (secretName), and TLS is not passed on unopened: "
                                     "TLS is refused for its hosts")
            elif problem:
                self._miss(f"{where}: {problem}")
            self.tls.append(one)
            if self._found.rule.https_redirect:
                self.redirected |= {*hosts, *_covered(of_rules, hosts)} or {""}

    def _miss(self, problem: str) -> None:
        if problem not in self.absent:
            self.absent.append(problem)


def _covered(hosts: Iterable[str], patterns: Iterable[str]) -> Iterator[str]:
    """Those that a wildcard of one label stands for."""
    known = set(patterns)
    for host in hosts:
        if f"*.{host.partition('.')[2]}" in known and not host.startswith("*."):
            yield host


def _path_problem(value: object) -> str:
    if not isinstance(value, str):
        return "path: expected text"
    if len(value) > MOST_LENGTH:
        return f"path: it is longer than {MOST_LENGTH:,} characters"
    try:
        judge_rule_path(value)
    except (ValueError, UnicodeEncodeError) as exc:
        return f"path: {value[:200]!r} is no path that is let through: {exc}"
    return ""


def _items(value: object, where: str, problems: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a list, with their numbers, as far as they are any; the others are told."""
    if value is not None and not isinstance(value, list):
        problems.append(f"{where}: expected a list of objects")
    for i, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, dict):
            yield i, item
        else:
            problems.append(f"{where}[{i}]: expected an object")


def _below(data: Mapping[str, Any], field: str, problems: list[str], where: str) -> dict[str, Any]:
    found = data.get(field)
    if found is not None and not isinstance(found, dict):
        problems.append(f"{where}.{field}: expected an object")
    return found if isinstance(found, dict) else {}
