"""Rules that change a head: header edits, rewrites, redirections.

None of them touches framing or the fields that say who calls: `model/rule_check.py` refuses such rules. Paths come out in the spelling
that a judge would leave, so that no edit opens a way that the judge had closed.
Spec: Gateway API HTTPHeaderFilter, HTTPURLRewriteFilter, HTTPRequestRedirectFilter.
"""


from msgspec.structs import replace

from sidecar.model.message import Headers, RequestHead
from sidecar.model.path import judge_path, judge_rule_path
from sidecar.model.route import HeaderEdit, Match, Redirect, Rewrite

_PORTS = {"http": 80, "https": 443}


def edit_headers(headers: Headers, edit: HeaderEdit) -> Headers:
    """First remove, then set, then add. What is set or added stands at the end."""
    gone = {name.lower().encode() for name in (*edit.remove, *edit.set)}
    kept = [field for field in headers if field[0].lower() not in gone]
    return kept + [(name.encode(), value.encode()) for name, value in (*edit.set.items(), *edit.add.items())]


def rewrite_request(request: RequestHead, rewrite: Rewrite, match: Match) -> RequestHead:
    """What the application sees.

    Args:
        match: the alternative that matched; says which prefix is replaced.
    Raises: ValueError if no path comes out that would be let through.
    """
    target = _target(request, rewrite.path, rewrite.prefix, match)
    if rewrite.hostname is None:
        return replace(request, target=target)
    return replace(request, target=target, host=rewrite.hostname.encode(), port=None)


def location(request: RequestHead, redirect: Redirect, match: Match) -> bytes:
    """The value of Location: the URL that was asked for, with parts replaced.

    What is not replaced is left out where a reference may leave it out (RFC 3986 s4.2): only the client knows which scheme it used.
    Raises: ValueError as for rewrites.
    """
    target = _target(request, redirect.path, redirect.prefix, match)
    if target == b"*":
        raise ValueError("`*` is no path")      # behind a host it would be a part of its name
    if redirect.scheme is None and redirect.hostname is None and redirect.port is None:
        return target
    host = request.host if redirect.hostname is None else redirect.hostname.encode()
    # > If no port is specified, the redirect port MUST be derived: with a scheme its well-known one, else the one that was asked.
    port = redirect.port or (None if redirect.scheme else request.port)
    scheme = redirect.scheme or ""
    authority = host if port is None or port == _PORTS.get(scheme) else b"%b:%d" % (host, port)
    return (scheme.encode() + b":" if scheme else b"") + b"//" + authority + target


def _target(request: RequestHead, path: str | None, prefix: str | None, match: Match) -> bytes:
    old, mark, query = request.target.partition(b"?")
    if path is not None:
        new = judge_rule_path(path)
    elif old == b"*" or prefix is None:     # `*`, of OPTIONS, has no prefix
        new = old
    else:
        new = judge_path(_replace_prefix(old, match, prefix))
    return new + mark + query


def _replace_prefix(path: bytes, match: Match, prefix: str) -> bytes:
    """By segments, of which both spellings of a path have the same number."""
    matched = match.path.value.rstrip("/").count("/") if match.path is not None else 0
    rest = b"/".join([b"", *path.split(b"/")[1 + matched:]])
    return (judge_rule_path(prefix or "/").rstrip(b"/") + rest) or b"/"
