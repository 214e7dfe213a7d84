"""What no gateway should ever hear of: the mistakes in `authentication` and `authorization`, each named with its place."""

from typing import Any

import msgspec
import pytest

from injector.documents.access import Authentication, Authorization
from injector.semantics.access import authentication_problems, authorization_problems

JWT = {"issuer": "https://login.example", "audiences": ["shop"]}
KEYS, USERS, PARTNERS = {"secret": "keys"}, {"secret": "users"}, {"secret": "partners"}
HOST = {"host": "auth.example"}


def authentication(**fields: Any) -> Authentication:
    return msgspec.convert(fields, Authentication)


@pytest.mark.parametrize("fields", [
    {"jwt": JWT}, {"jwt": [JWT, {**JWT, "header": "x-token"}], "basic": USERS, "apiKeys": KEYS}, {"external": HOST},
    {"clientCertificate": PARTNERS}, {"clientCertificate": {**PARTNERS, "mode": "optional"}, "basic": USERS},
    {"basic": {**USERS, "realm": "The shop's back office"}, "claimHeaders": {"x-user": "sub", "X-Roles": "roles"}, "optional": True},
    {"external": {"service": "auth", "port": 8080, "prefix": "/check/it", "sends": ["cookie"], "takes": ["x-user"], "within": "9s"}},
    {"jwt": JWT, "external": {**HOST, "sends": ["authorization"], "takes": []}},
])
def test_good_authentication(fields: dict[str, Any]) -> None:
    assert list(authentication_problems(authentication(**fields))) == []


@pytest.mark.parametrize(("fields", "path", "words"), [
    ({}, "", "asks for nothing"),
    ({"external": HOST, "optional": True}, "optional", "no claims"),
    ({"external": HOST, "claimHeaders": {"x-user": "sub"}}, "claimHeaders", "no claims"),
    ({"clientCertificate": PARTNERS, "basic": USERS}, "clientCertificate.mode", "two credentials"),
    ({"basic": {"secret": "Users"}}, "basic.secret", "no name of a Secret"),
    ({"apiKeys": {"secret": "a/b"}}, "apiKeys.secret", "no name of a Secret"),
    ({"jwt": {**JWT, "audiences": []}}, "jwt.audiences", "at least one"),
    ({"jwt": [{**JWT, "audiences": []}]}, "jwt[0].audiences", "at least one"),
    ({"jwt": {**JWT, "header": "x-forwarded-for"}}, "jwt.header", "no client can send"),
    ({"apiKeys": {**KEYS, "header": "x-real-ip"}}, "apiKeys.header", "no client can send"),
    ({"apiKeys": {**KEYS, "header": "Authorization"}}, "apiKeys.header", "another way"),
    ({"apiKeys": {**KEYS, "header": "x-token"}, "jwt": {**JWT, "header": "X-Token"}}, "apiKeys.header", "another way"),
    ({"basic": {**USERS, "realm": 'a"b'}}, "basic.realm", "quotes"),
    ({"basic": {**USERS, "realm": "a\r\nb"}}, "basic.realm", "ASCII"),
    ({"basic": USERS, "claimHeaders": {"authorization": "sub"}}, "claimHeaders.authorization", "something else"),
    ({"apiKeys": KEYS, "claimHeaders": {"X-Api-Key": "sub"}}, "claimHeaders.X-Api-Key", "something else"),
    ({"basic": USERS, "claimHeaders": {"x-forwarded-user": "sub"}}, "claimHeaders.x-forwarded-user", "taken off"),
    ({"basic": USERS, "claimHeaders": {"x_user": "sub"}}, "claimHeaders.x_user", "taken off"),
    ({"basic": USERS, "claimHeaders": {"x-user": "sub", "X-User": "roles"}}, "claimHeaders", "twice"),
    ({"external": {}}, "external", "one of"),
    ({"external": {**HOST, "service": "auth"}}, "external", "one of"),
    ({"external": {"service": "auth.shop"}}, "external.service", "plain name"),
    ({"external": {"host": "*.example.com"}}, "external.host", "wildcard"),
    ({"external": {"host": "192.0.2.1"}}, "external.host", "address"),
    ({"external": {**HOST, "prefix": "check"}}, "external.prefix", "slash"),
    ({"external": {**HOST, "prefix": "/check/"}}, "external.prefix", "at its end"),
    ({"external": {**HOST, "prefix": "/a/../b"}}, "external.prefix", "dot segment"),
    ({"external": {**HOST, "prefix": "/a?b="}}, "external.prefix", "alone"),
    ({"external": {**HOST, "sends": ["x-forwarded-for"]}}, "external.sends[0]", "mesh's own"),
    ({"external": {**HOST, "takes": ["Host"]}}, "external.takes[0]", "mesh's own"),
    ({"external": {**HOST, "takes": ["x-a", "X-A"]}}, "external.takes", "twice"),
    ({"external": {**HOST, "within": "10s"}}, "external.within", "longer than 9s"),
])
def test_mistakes_in_authentication(fields: dict[str, Any], path: str, words: str) -> None:
    problems = dict(authentication_problems(authentication(**fields)))
    assert words in problems[path], problems


def authorization(*entries: Any) -> dict[str, str]:
    return dict(authorization_problems(msgspec.convert(entries, tuple[Authorization, ...])))


@pytest.mark.parametrize("entries", [
    [{"paths": ["/admin"], "allow": [{"roles": ["admin"]}]}, {"allow": [{}]}],
    [{"methods": ["POST"], "deny": [{"source": "192.0.2.0/24"}]}, {"paths": ["/a"], "allow": []}],
    [{"paths": ["/a"], "methods": ["GET"], "allow": []}, {"paths": ["/a"], "allow": [{"claims": {"sub": ["ann"]}}]}],
    [{"paths": ["/a/b"], "allow": []}, {"paths": ["/a", "/c"], "allow": []}, {"paths": ["/ab"], "allow": []}],
])
def test_good_authorization(entries: list[Any]) -> None:
    assert authorization(*entries) == {}


@pytest.mark.parametrize(("entries", "path", "words"), [
    ([{}], "[0]", "neither"),
    ([{"paths": ["admin"], "allow": []}], "[0].paths[0]", "slash"),
    ([{"paths": ["/a//b"], "allow": []}], "[0].paths[0]", "empty segment"),
    ([{"paths": ["/a?b"], "allow": []}], "[0].paths[0]", "query"),
    ([{"methods": ["TRACE"], "allow": []}], "[0].methods[0]", "never forwarded"),
    ([{"allow": [{"source": "192.0.2.1/24"}]}], "[0].allow[0].source", "192.0.2.0/24"),
    ([{"deny": [{"claims": {"sub": []}}]}], "[0].deny[0].claims.sub", "no values"),
    ([{"allow": [{"roles": ["a"], "claims": {"roles": ["b"]}}]}], "[0].allow[0].claims.roles", "one place"),
    ([{"allow": []}, {"paths": ["/a"], "allow": []}], "[1]", "entry [0]"),
    ([{"paths": ["/a"], "allow": []}, {"paths": ["/%61/b", "/a"], "methods": ["GET"], "allow": []}], "[1]", "entry [0]"),
])
def test_mistakes_in_authorization(entries: list[Any], path: str, words: str) -> None:
    problems = authorization(*entries)
    assert words in problems[path], problems
