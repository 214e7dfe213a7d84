"""What the types of `route.py` cannot say: the checks of one rule, for snapshots, webhook and linter alike.

A rule that could never hold, or that would not do what it says, is refused: nobody shall think it in force.
"""

import ipaddress
import re
from collections.abc import Iterable

from . import identity
from .errors import ConfigError
from .fields import has_owner
from .path import judge_rule_path
from .route import Caller, HeaderEdit, Match, Redirect, Rewrite, Route

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*(?!\d+\Z){_LABEL}")


def check_route(where: str, route: Route, *, is_edge: bool = False) -> None:
    """Raises: ConfigError.

    Args:
        where: path to the route.
        is_edge: its callers are clients at the edge, who have an address, claims, and no name; `**.` may stand before a host.
    """
    check_matches(where, route.hosts, route.matches, is_edge=is_edge)
    for part, entries in (("allow", route.allow), ("deny", route.deny)):
        for i, entry in enumerate(entries):
            if is_edge:
                check_client(f"{where}.{part}[{i}]", entry)
            else:
                _check_caller(f"{where}.{part}[{i}]", entry, has_token=route.jwt is not None)
    if route.jwt is not None:
        if not route.jwt.audiences:
            raise ConfigError(f"{where}.jwt.audiences", "name at least one; a token for anybody is a token for nobody")
        _check_field(f"{where}.jwt.header", route.jwt.header)
    if route.rate_limit is not None:
        if (route.rate_limit.by == "header") != (route.rate_limit.header is not None):
            raise ConfigError(f"{where}.rateLimit.header", "it goes with `by: header`, and only with it")
        if route.rate_limit.header is not None:
            _check_field(f"{where}.rateLimit.header", route.rate_limit.header)
    _check_edit(f"{where}.requestHeaders", route.request_headers)
    _check_edit(f"{where}.responseHeaders", route.response_headers)
    _check_answer(where, route)


def _check_answer(where: str, route: Route) -> None:
    """What becomes of the request: one of forwarding (perhaps rewritten), redirecting and answering."""
    ends = [name for name, value in (("redirect", route.redirect), ("directResponse", route.direct_response)) if value is not None]
    if len(ends) == 2 or (ends and route.rewrite is not None):
        raise ConfigError(where, "`rewrite`, `redirect` and `directResponse` exclude each other")
    if route.rewrite is not None:
        _check_parts(f"{where}.rewrite", route.rewrite, route.matches)
    if route.redirect is not None:
        _check_parts(f"{where}.redirect", route.redirect, route.matches)
        if route.redirect == Redirect(status=route.redirect.status):
            raise ConfigError(f"{where}.redirect", "it leads to where the request was sent; name what is to be replaced")
    if route.direct_response is not None and route.direct_response.status in (204, 205, 304) and route.direct_response.body:
        raise ConfigError(f"{where}.directResponse.body", f"a response with status {route.direct_response.status} has none")


def check_client(where: str, entry: Caller) -> None:
    """An entry that speaks of clients at the edge. Raises: ConfigError."""
    if entry != Caller(source=entry.source, claims=entry.claims):
        raise ConfigError(where, "a client at the edge has an address (`source`) and `claims`, and no name")
    _check_caller(where, entry, has_token=True)


def check_matches(where: str, hosts: Iterable[str], matches: Iterable[Match], *, is_edge: bool = False) -> None:
    """The part that routes and the callers' rules have in common. Raises: ConfigError."""
    for i, host in enumerate(hosts):
        _check_host(f"{where}.hosts[{i}]", host, host.removeprefix("**." if is_edge and host.startswith("**.") else "*."))
    for i, match in enumerate(matches):
        if match.path is not None and match.path.type != "RegularExpression":
            _check_path(f"{where}.matches[{i}].path.value", match.path.value)
        for j, header in enumerate(match.headers):
            _check_field(f"{where}.matches[{i}].headers[{j}].name", header.name)


def _check_host(where: str, text: str, name: str) -> None:
    """As a judged Host spells it."""
    if _NAME.fullmatch(name) is not None:
        return
    try:
        ip = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ConfigError(where, f"{text!r} is no host name in lower case, without port; `*.` before it stands for one label") from None
    if text != (f"[{ip}]" if ip.version == 6 else str(ip)):
        raise ConfigError(where, f"{text!r} is not how Host spells the address")


def _check_path(where: str, text: str) -> None:
    try:
        judge_rule_path(text)
    except ValueError as exc:
        raise ConfigError(where, f"{text!r} is no path that is let through: {exc}") from exc


def _check_field(where: str, name: str) -> None:
    if has_owner(name):
        raise ConfigError(where, f"{name!r} is not for rules: it speaks of the connection or of the caller, or never arrives")


def _check_caller(where: str, entry: Caller, *, has_token: bool) -> None:
    for field, text in (("serviceAccount", entry.service_account), ("namespace", entry.namespace)):
        if text.count("*") > 1 or "*" in text[1:-1]:
            raise ConfigError(f"{where}.{field}", f"{text!r} may hold one *, at either end")
    if entry.identity is not None:
        _check_identity(f"{where}.identity", entry.identity)
    if entry.source is not None:
        if entry != Caller(source=entry.source, claims=entry.claims):
            raise ConfigError(f"{where}.source", "it speaks of plaintext peers, who have no name; give them an entry of their own")
        try:
            ipaddress.ip_network(entry.source)
        except ValueError as exc:
            raise ConfigError(f"{where}.source", str(exc)) from exc
    if entry.claims and not has_token:
        raise ConfigError(f"{where}.claims", "claims are those of a token; the route needs `jwt`")


def _check_identity(where: str, text: str) -> None:
    beginning = text.removesuffix("*")
    if beginning == text:
        try:
            identity.parse(text)
        except ValueError as exc:
            raise ConfigError(where, str(exc)) from exc
    elif "*" in beginning or not (beginning.startswith("spiffe://") or "spiffe://".startswith(beginning)):
        raise ConfigError(where, f"{text[:120]!r} is not the beginning of a SPIFFE ID and one *")


def _check_edit(where: str, edit: HeaderEdit) -> None:
    for part, names in (("set", edit.set), ("add", edit.add), ("remove", edit.remove)):
        for name in names:
            _check_field(f"{where}.{part}", name)


def _check_parts(where: str, parts: Rewrite | Redirect, matches: tuple[Match, ...]) -> None:
    if parts.path is not None and parts.prefix is not None:
        raise ConfigError(where, "`path` and `prefix` exclude each other")
    if parts.hostname is not None:
        _check_host(f"{where}.hostname", parts.hostname, parts.hostname)
    if parts.path is not None:
        _check_path(f"{where}.path", parts.path)
    if parts.prefix is not None:
        _check_path(f"{where}.prefix", parts.prefix or "/")
        if any(match.path is None or match.path.type != "PathPrefix" for match in matches):
            raise ConfigError(f"{where}.prefix", "it replaces the prefix that matched; each of `matches` needs a path of type PathPrefix")
