"""Which rule decides a request: one index for the routes of a pod and for the rules of its callers.

Of the alternatives that match, the most specific decides alone, in this order: port named; host exact, then wildcard (of one label, then
of more), then none; path Exact, then RegularExpression, then PathPrefix (longer values first), then none; method named; more headers; more
query parameters; then the order they stand in. So says the Gateway API where it says anything.

The first three are looked up: by port, by host, by path, and prefixes by the request's own segments, as deep as any rule goes. What is
left is compared one by one: expressions, and the alternatives of one same path. So the cost does not grow with the number of rules.

Trust: the request was judged by `protocol/framing.py`. Paths are compared decoded, so that no rule is dodged by another spelling; a
field or parameter that repeats, or is no text, matches nothing. Attacked by tests/policy/test_route_table.py.
"""

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from sidecar.model.edge import EdgeRoute
from sidecar.model.message import RequestHead
from sidecar.model.path import decode_path, judge_rule_path
from sidecar.model.route import HeaderMatch, Match, QueryMatch, Route
from sidecar.model.service import CallRule

from .pattern import Expression

R = TypeVar("R", bound=Route | CallRule)     # an EdgeRoute is a Route

EVERYTHING = Match()
THIS_PORT = 0       # callers have those rules only that are about the port they call; some were declared for no other


class Found(NamedTuple, Generic[R]):
    """
    Args:
        match: the alternative of `rule` that matched.
        more: the rule, if it asks for anything but leave.
    """

    rule: R
    match: Match
    more: R | None


class RouteTable(Generic[R]):
    """Built once for each snapshot. Raises: ConfigError for an expression that RE2 or our budget refuses."""

    def __init__(self, rules: Iterable[R]) -> None:
        self._ports: dict[int | None, _Hosts[R]] = {}
        order = count()
        for rule in rules:
            tables = [self._ports.setdefault(port, _Hosts()) for port in _ports_of(rule)]
            for i, match in enumerate(rule.matches or (EVERYTHING,)):
                entry = _Entry(rule, match, next(order), f"{rule.name}.matches[{i}]")
                for host in rule.hosts or (None,):
                    for hosts in tables:
                        hosts.of_rule(host).add(entry)
        for hosts in self._ports.values():
            hosts.sort()

    def find(self, port: int, request: RequestHead | None) -> Found[R] | None:
        """The rule that decides.

        Args:
            request: None for a TCP connection. It could carry any request, so that only a rule without matches and hosts can decide
                it, and only if no more specific one would decide some request otherwise.
        """
        asked = _Asked(request) if request is not None else None
        for at in (port, THIS_PORT, None):
            hosts = self._ports.get(at)
            if hosts is None:
                continue
            if asked is None:
                return hosts.whole()
            for paths in hosts.of_request(asked.host):
                if paths is not None and (found := paths.find(asked)) is not None:
                    return found
        return None


def _ports_of(rule: Route | CallRule) -> tuple[int | None, ...]:
    if isinstance(rule, EdgeRoute):
        return rule.ports
    if isinstance(rule, Route):
        return (rule.port,)
    return (THIS_PORT if rule.names_port else None,)


class _Asked:
    """The request as rules see it; headers and query are taken apart when the first rule asks for them."""

    __slots__ = ("_fields", "_parameters", "_request", "host", "method", "path")

    def __init__(self, request: RequestHead) -> None:
        self._request = request
        self._fields: dict[bytes, bytes | None] | None = None
        self._parameters: dict[bytes, bytes | None] | None = None
        self.method = request.method
        self.host = request.host
        path = request.target.partition(b"?")[0]
        self.path = decode_path(path) if b"%" in path else path

    def field(self, name: bytes) -> bytes | None:
        """None if it is absent or repeats, since hops differ in which of two they read."""
        if self._fields is None:
            self._fields = {}
            for key, value in self._request.headers:
                key = key.lower()
                self._fields[key] = None if key in self._fields else value
        return self._fields.get(name)

    def parameter(self, name: bytes) -> bytes | None:
        """Likewise; and None if it is not percent-encoded UTF-8."""
        if self._parameters is None:
            self._parameters = {}
            for pair in self._request.target.partition(b"?")[2].split(b"&"):
                key_text, _, value = pair.partition(b"=")
                key = _decode_query(key_text)
                if key is not None:
                    self._parameters[key] = None if key in self._parameters else _decode_query(value)
        return self._parameters.get(name)


def _decode_query(text: bytes) -> bytes | None:
    data = unquote_to_bytes(text.replace(b"+", b" "))
    try:
        data.decode()
    except UnicodeDecodeError:
        return None
    return data


class _Entry(Generic[R]):
    """One alternative, ready to be compared in what no look-up has settled."""

    def __init__(self, rule: R, match: Match, order: int, where: str) -> None:
        self.rule = rule
        self.match = match
        self.method = match.method.encode() if match.method is not None else None
        self.fields = [
            (one.name.lower().encode(), _value_of(one, f"{where}.headers[{i}].value")) for i, one in enumerate(match.headers)
        ]
        self.parameters = [(one.name.encode(), _value_of(one, f"{where}.query[{i}].value")) for i, one in enumerate(match.query)]
        self.expression = (
            Expression(match.path.value, f"{where}.path.value")
            if match.path is not None and match.path.type == "RegularExpression" else None
        )
        self.found = Found(rule, match, None if isinstance(rule, Route) and rule.is_plain else rule)
        self.is_sure = self.method is None and not (self.fields or self.parameters)     # nothing is left to be compared
        self.rank = (self.method is None, -len(self.fields), -len(self.parameters), order)

    def holds(self, asked: _Asked) -> bool:
        if self.method is not None and self.method != asked.method:
            return False
        for name, wanted in self.fields:
            if not _is(wanted, asked.field(name)):
                return False
        for name, wanted in self.parameters:  # noqa: SIM110 -- nearly all rules have none of them, and a loop over nothing is quick
            if not _is(wanted, asked.parameter(name)):
                return False
        return True


def _value_of(match: HeaderMatch | QueryMatch, where: str) -> bytes | Expression:
    return match.value.encode() if match.type == "Exact" else Expression(match.value, where)


def _is(wanted: bytes | Expression, value: bytes | None) -> bool:
    if value is None:
        return False
    return wanted.holds(value) if isinstance(wanted, Expression) else wanted == value


class _Paths(Generic[R]):
    """The alternatives of one port and host, by path."""

    def __init__(self) -> None:
        self._exact: dict[bytes, list[_Entry[R]]] = {}
        self._expressions: list[_Entry[R]] = []
        self._prefixes: dict[bytes, list[_Entry[R]]] = {}       # without the slash at the end
        self._any: list[_Entry[R]] = []
        self._depths: list[int] = []                            # segments of the prefixes, most first
        self._has_paths = False

    def add(self, entry: _Entry[R]) -> None:
        path = entry.match.path
        if path is None:
            self._any.append(entry)
        elif path.type == "RegularExpression":
            self._expressions.append(entry)
        else:
            value = decode_path(judge_rule_path(path.value))
            if path.type == "Exact":
                self._exact.setdefault(value, []).append(entry)
            else:
                self._prefixes.setdefault(value.rstrip(b"/"), []).append(entry)

    def sort(self) -> None:
        self._has_paths = bool(self._exact or self._expressions or self._prefixes)
        lists = [*self._exact.values(), *self._prefixes.values(), self._any]
        for entries in lists:
            entries.sort(key=lambda entry: entry.rank)
        self._expressions.sort(key=lambda entry: (-len(entry.match.path.value if entry.match.path else ""), entry.rank))
        self._depths = sorted({stem.count(b"/") for stem in self._prefixes}, reverse=True)

    def find(self, asked: _Asked) -> Found[R] | None:
        """The most specific alternative that holds. `*`, of OPTIONS, is no path."""
        path = asked.path
        if self._has_paths and path.startswith(b"/"):
            if (found := _first(self._exact.get(path, ()), asked)) is not None:
                return found
            for entry in self._expressions:
                if entry.expression is not None and entry.expression.holds(path) and entry.holds(asked):
                    return entry.found
            if self._depths:
                ends = _ends_of_segments(path, self._depths[0])
                for depth in self._depths:
                    if depth < len(ends) and (found := _first(self._prefixes.get(path[:ends[depth]], ()), asked)) is not None:
                        return found
        return _first(self._any, asked)

    def whole(self) -> Found[R] | None:
        if self._exact or self._expressions or self._prefixes or not self._any:
            return None
        entry = self._any[0]
        return entry.found if entry.match is EVERYTHING else None


def _first(entries: Iterable[_Entry[R]], asked: _Asked) -> Found[R] | None:
    for entry in entries:
        if entry.is_sure or entry.holds(asked):
            return entry.found
    return None


def _ends_of_segments(path: bytes, most: int) -> list[int]:
    """Where the first 0, 1, ... `most` segments end, as far as there are so many."""
    ends, at = [0], 0
    while len(ends) <= most and at >= 0:
        at = path.find(b"/", at + 1)
        ends.append(at if at >= 0 else len(path))
    return ends


class _Hosts(Generic[R]):
    """The alternatives of one port, by host."""

    def __init__(self) -> None:
        self._exact: dict[bytes, _Paths[R]] = {}
        self._wild: dict[bytes, _Paths[R]] = {}     # by what stands behind the first label
        self._deep: dict[bytes, _Paths[R]] = {}     # behind one label or more
        self._any: _Paths[R] | None = None

    def of_rule(self, host: str | None) -> _Paths[R]:
        if host is None:
            self._any = self._any or _Paths()
            return self._any
        table = self._deep if host.startswith("**.") else self._wild if host.startswith("*.") else self._exact
        return table.setdefault(host.lstrip("*.").encode(), _Paths())

    def of_request(self, host: bytes) -> "tuple[_Paths[R] | None, ...]":
        """Most specific first; None where there are no rules."""
        if not (self._exact or self._wild or self._deep):
            return (self._any,)
        wild = self._wild.get(host.partition(b".")[2]) if self._wild else None
        if not self._deep:
            return self._exact.get(host), wild, self._any
        return self._exact.get(host), wild, *(self._deep.get(stem) for stem in _stems(host)), self._any

    def sort(self) -> None:
        tables = (self._exact, self._wild, self._deep)
        for paths in (*(paths for table in tables for paths in table.values()), *((self._any,) if self._any else ())):
            paths.sort()

    def whole(self) -> Found[R] | None:
        return self._any.whole() if self._any is not None and not (self._exact or self._wild or self._deep) else None


def _stems(host: bytes) -> Iterator[bytes]:
    """What stands behind the first label, behind the first two, ..."""
    while host := host.partition(b".")[2]:
        yield host
