"""What the types cannot say of `authentication` and `authorization` in `bartizan.dev/edge`."""

from collections.abc import Iterable, Iterator, Sequence

from injector.documents.access import Authentication, Authorization, Client, External
from sidecar.model.fields import has_owner
from sidecar.model.identity import NAMESPACE, SERVICE_ACCOUNT
from sidecar.model.path import decode_path, judge_rule_path

from .text import Complaint, below, duration_problems, host_problems, network_problems

MOST_WITHIN = "9s"      # a decision has no more
_REALM = range(0x20, 0x7F)


def authentication_problems(one: Authentication) -> Iterator[Complaint]:
    ways = [bool(one.tokens), one.api_keys is not None, one.basic is not None, one.client_certificate is not None]
    if not any(ways) and one.external is None:
        yield "", "it asks for nothing; name one of jwt, apiKeys, basic, clientCertificate, external"
    elif not any(ways) and (one.optional or one.claim_headers):
        yield "optional" if one.optional else "claimHeaders", "there are no claims without jwt, apiKeys, basic or clientCertificate"
    if sum(ways) > 1 and one.client_certificate is not None and one.client_certificate.mode == "required":
        yield "clientCertificate.mode", "every request would bring two credentials, and none be let in; write mode: optional, or this alone"
    for field, named in (("apiKeys", one.api_keys), ("basic", one.basic), ("clientCertificate", one.client_certificate)):
        if named is not None and not SERVICE_ACCOUNT.fullmatch(named.secret):
            yield f"{field}.secret", f"{named.secret[:100]!r} is no name of a Secret"
    for i, jwt in enumerate(one.tokens):
        path = f"jwt[{i}]" if isinstance(one.jwt, tuple) else "jwt"
        if not jwt.audiences:
            yield f"{path}.audiences", "name at least one: a token for somebody else must not open this door"
        yield from below(f"{path}.header", _credential_field(jwt.header))
    if one.api_keys is not None:
        yield from below("apiKeys.header", _credential_field(one.api_keys.header))
        if one.api_keys.header.lower() in {"authorization", *(jwt.header.lower() for jwt in one.tokens)}:
            yield "apiKeys.header", "another way uses this field; whose it is could not be told; leave it out for x-api-key"
    if one.basic is not None and ('"' in one.basic.realm or "\\" in one.basic.realm or len(one.basic.realm) > 128
                                  or any(ord(char) not in _REALM for char in one.basic.realm)):
        yield "basic.realm", "write up to 128 letters of ASCII, without quotes and backslashes"
    credentials = _credential_fields(one)
    for header in one.claim_headers:
        yield from below(f"claimHeaders.{header}", _told_field(header, credentials))
    yield from _twice("claimHeaders", one.claim_headers)
    if one.external is not None:
        yield from below("external", _external_problems(one.external))


def _credential_fields(one: Authentication) -> frozenset[str]:
    fields = {"authorization", "cookie", "content-type"} | {jwt.header.lower() for jwt in one.tokens}
    return frozenset(fields | {one.api_keys.header.lower()} if one.api_keys is not None else fields)


def _credential_field(name: str) -> Iterator[Complaint]:
    if has_owner(name):
        yield "", f'no client can send "{name}"; choose another field'


def _told_field(name: str, credentials: frozenset[str] = frozenset()) -> Iterator[Complaint]:
    if has_owner(name):
        yield "", f'"{name}" is the mesh\'s own, or has a _, and is taken off on the way; choose another field, such as x-user'
    elif name.lower() in credentials:
        yield "", f'"{name}" is a field that clients use for something else; choose another, such as x-user'


def _twice(path: str, names: Iterable[str]) -> Iterator[Complaint]:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            yield path, f'"{name}" is there twice'
        seen.add(name.lower())


def _external_problems(one: External) -> Iterator[Complaint]:
    if (one.service is None) == (one.host is None):
        yield "", "name one of `service` and `host`"
    if one.service is not None and not NAMESPACE.fullmatch(one.service):
        yield "service", f"{one.service[:100]!r} is no name of a Service; write the plain name of one in the object's own namespace"
    if one.host is not None:
        yield from host_problems("host", one.host)
        if one.host.startswith("*"):
            yield "host", "name one host; a wildcard is nobody who could be asked"
    if one.prefix:
        yield from _path_problems("prefix", one.prefix)
        if one.prefix.endswith("/"):
            yield "prefix", "write it without the / at its end; the path that is asked about begins with one"
    for field, names in (("sends", one.sends), ("takes", one.takes)):
        for i, name in enumerate(names):
            yield from below(f"{field}[{i}]", _told_field(name))
        yield from _twice(field, names)
    yield from duration_problems("within", one.within, most=MOST_WITHIN)


def authorization_problems(entries: Sequence[Authorization]) -> Iterator[Complaint]:
    for i, entry in enumerate(entries):
        yield from below(f"[{i}]", _entry_problems(entry))
        for j, earlier in enumerate(entries[:i]):
            if _covers(earlier, entry):
                yield f"[{i}]", f"the entry [{j}] decides all that this is about; the first counts, so put the narrower one before it"
                break


def _entry_problems(entry: Authorization) -> Iterator[Complaint]:
    if entry.allow is None and not entry.deny:
        yield "", "it says neither `allow` nor `deny`; `allow: []` lets nobody in"
    for i, path in enumerate(entry.paths):
        yield from _path_problems(f"paths[{i}]", path)
    for i, method in enumerate(entry.methods):
        if method in ("CONNECT", "TRACE"):
            yield f"methods[{i}]", f"{method} is never forwarded"
    for field, clients in (("allow", entry.allow or ()), ("deny", entry.deny)):
        for i, client in enumerate(clients):
            yield from below(f"{field}[{i}]", _client_problems(client))


def _client_problems(client: Client) -> Iterator[Complaint]:
    if client.source is not None:
        yield from network_problems("source", client.source)
    if client.roles and "roles" in client.claims:
        yield "claims.roles", "`roles` is there already; write them in one place"
    for claim, values in client.claims.items():
        if not values:
            yield f"claims.{claim[:100]}", "it has no values, so nobody could hold one of them"


def _path_problems(path: str, text: str) -> Iterator[Complaint]:
    if "?" in text or "#" in text:
        yield path, f"{text[:100]!r}: write the path alone; no query is looked at"
        return
    try:
        judge_rule_path(text)
    except ValueError as exc:
        yield path, str(exc)


def _covers(wide: Authorization, narrow: Authorization) -> bool:
    """Whether every request of `narrow` is one of `wide`."""
    if wide.methods and not (narrow.methods and set(narrow.methods) <= set(wide.methods)):
        return False
    try:
        stems = [_stem(text) for text in wide.paths]
        return not stems or (bool(narrow.paths) and all(
            any(_stem(text) == stem or _stem(text).startswith(stem + b"/") for stem in stems) for text in narrow.paths
        ))
    except ValueError:
        return False    # that it is no path, is said already


def _stem(text: str) -> bytes:
    return decode_path(judge_rule_path(text)).rstrip(b"/")
