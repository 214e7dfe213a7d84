"""What each rule of an HTTPRoute becomes, and what is refused: tables from the API's documentation."""

from typing import Any

import pytest

from injector.cluster import Cluster
from injector.compile.http_rules import Refused, Rule, checked, compile_rule
from injector.compile.looked import Looked
from injector.compile.references import Grants
from sidecar.model.edge import EdgeRoute
from sidecar.model.errors import ConfigError
from sidecar.model.route import Caller, Fault, HeaderEdit, HeaderMatch, Match, PathMatch, QueryMatch, Redirect, Rewrite
from sidecar.model.service import Backend, Mirror
from tests.injector.compile.gateway_objects import Json, grant, service, to

SERVICE = {"group": "", "kind": "Service"}
THERE = (
    service(), service("canary"), service("db", "data"), service("closed", "vault"),
    service("outside", type="ExternalName", externalName="example.org"),
    grant("HTTPRoute", "shop", SERVICE),
)


def compiled(rule: Any) -> Rule:
    cluster = Cluster.of(THERE)
    return compile_rule("httproute/shop/web/0", rule, "spec.rules[0]", "shop", Looked(cluster), Grants(cluster))


def led(**fields: Any) -> EdgeRoute:
    return compiled({"backendRefs": [to()], **fields}).route


def test_the_least_that_a_rule_says() -> None:
    assert led() == EdgeRoute(
        name="httproute/shop/web/0", allow=(Caller(),), ports=(80,), matches=(Match(PathMatch("/")),), backends=(Backend("web.shop", 80),),
        upgrades=("websocket",),
    )


MATCHES: tuple[tuple[Json, Match], ...] = (
    ({}, Match(PathMatch("/"))),
    ({"path": {"value": "/app"}}, Match(PathMatch("/app", "PathPrefix"))),
    ({"path": {"type": "PathPrefix", "value": "/app/"}}, Match(PathMatch("/app/", "PathPrefix"))),
    ({"path": {"type": "Exact", "value": "/app"}}, Match(PathMatch("/app", "Exact"))),
    ({"path": {"type": "RegularExpression", "value": "/a[0-9]+"}}, Match(PathMatch("/a[0-9]+", "RegularExpression"))),
    ({"method": "GET"}, Match(PathMatch("/"), "GET")),
    ({"headers": [{"name": "Version", "value": "2"}]}, Match(PathMatch("/"), headers=(HeaderMatch("Version", "2"),))),
    ({"headers": [{"name": "a", "type": "RegularExpression", "value": "x.*"}]},
     Match(PathMatch("/"), headers=(HeaderMatch("a", "x.*", "RegularExpression"),))),
    ({"headers": [{"name": "A", "value": "1"}, {"name": "a", "value": "2"}]}, Match(PathMatch("/"), headers=(HeaderMatch("A", "1"),))),
    ({"queryParams": [{"name": "q", "value": "1"}]}, Match(PathMatch("/"), query=(QueryMatch("q", "1"),))),
    ({"queryParams": [{"name": "q", "value": "1"}, {"name": "q", "value": "2"}, {"name": "Q", "value": "3"}]},
     Match(PathMatch("/"), query=(QueryMatch("q", "1"), QueryMatch("Q", "3")))),
)


@pytest.mark.parametrize(("said", "match"), MATCHES)
def test_matches(said: Json, match: Match) -> None:
    assert led(matches=[said]).matches == (match,)


def test_matches_are_alternatives_and_none_is_all() -> None:
    assert led(matches=[{"method": "GET"}, {"method": "HEAD"}]).matches == (Match(PathMatch("/"), "GET"), Match(PathMatch("/"), "HEAD"))
    assert led(matches=[]).matches == (Match(PathMatch("/")),)


def header_filter(kind: str, **fields: Any) -> Json:
    return {"type": kind, kind[:1].lower() + kind[1:]: fields}


def redirect(**fields: Any) -> Json:
    return {"type": "RequestRedirect", "requestRedirect": fields}


def rewrite(**fields: Any) -> Json:
    return {"type": "URLRewrite", "urlRewrite": fields}


def mirror(name: str = "canary", **fields: Any) -> Json:
    return {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": name, "port": 80}, **fields}}


FULL, PREFIX = ({"type": kind, field: "/new"} for kind, field in
                (("ReplaceFullPath", "replaceFullPath"), ("ReplacePrefixMatch", "replacePrefixMatch")))
ROOT = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
NOTHING = {"type": "ReplacePrefixMatch", "replacePrefixMatch": ""}

FILTERS: tuple[tuple[Json, dict[str, Any]], ...] = (
    (header_filter("RequestHeaderModifier", set=[{"name": "a", "value": "1"}], add=[{"name": "b", "value": "2"}], remove=["c"]),
     {"request_headers": HeaderEdit({"a": "1"}, {"b": "2"}, ("c",))}),
    (header_filter("ResponseHeaderModifier", set=[{"name": "a", "value": "1"}]), {"response_headers": HeaderEdit({"a": "1"})}),
    (rewrite(hostname="one.example.org"), {"rewrite": Rewrite(hostname="one.example.org")}),
    (rewrite(path=FULL), {"rewrite": Rewrite(path="/new")}),
    (rewrite(path=PREFIX), {"rewrite": Rewrite(prefix="/new")}),
    (rewrite(path=ROOT), {"rewrite": Rewrite(prefix="/")}),
    (rewrite(path=NOTHING), {"rewrite": Rewrite(prefix="/")}),
    (rewrite(hostname="one.example.org", path=PREFIX), {"rewrite": Rewrite(prefix="/new", hostname="one.example.org")}),
    (mirror(), {"mirror": Mirror("canary.shop", 80)}),
    (mirror(percent=20), {"mirror": Mirror("canary.shop", 80, 20.0)}),
    (mirror(fraction={"numerator": 1, "denominator": 8}), {"mirror": Mirror("canary.shop", 80, 12.5)}),
)


@pytest.mark.parametrize(("said", "expected"), FILTERS)
def test_filters(said: Json, expected: dict[str, Any]) -> None:
    found = led(filters=[said])
    assert {name: getattr(found, name) for name in expected} == expected


REDIRECTS: tuple[tuple[Json, Redirect], ...] = (
    ({"scheme": "https"}, Redirect("https")),
    ({"scheme": "https", "statusCode": 301}, Redirect("https", status=301)),
    ({"hostname": "example.org"}, Redirect(hostname="example.org")),
    ({"hostname": "example.org", "statusCode": 308}, Redirect(hostname="example.org", status=308)),
    ({"port": 8443}, Redirect(port=8443)),
    ({"path": FULL}, Redirect(path="/new")),
    ({"path": PREFIX, "scheme": "http"}, Redirect("http", prefix="/new")),
)


@pytest.mark.parametrize(("said", "expected"), REDIRECTS)
def test_redirects(said: Json, expected: Redirect) -> None:
    found = compiled({"filters": [redirect(**said)]})
    assert found.route.redirect == expected
    assert found.route.backends == ()
    assert found.route.direct_response is None
    assert not found.unresolved


GONE, KIND, CLOSED = to("gone"), to(kind="Bucket", group="example.com"), to("closed", namespace="vault")
# backends; what is led where; percent that 500 answers; why
WEIGHTS: tuple[tuple[tuple[Json, ...], tuple[Backend, ...], float, tuple[str, ...]], ...] = (
    ((to(),), (Backend("web.shop", 80),), 0, ()),
    ((to(weight=9), to("canary", weight=1)), (Backend("web.shop", 80, 9), Backend("canary.shop", 80, 1)), 0, ()),
    ((to(weight=1), to("canary", weight=0)), (Backend("web.shop", 80),), 0, ()),
    ((to(weight=1), to(weight=2)), (Backend("web.shop", 80, 3),), 0, ()),
    ((to("db", namespace="data"),), (Backend("db.data", 80),), 0, ()),
    ((to(), GONE), (Backend("web.shop", 80),), 50, ("BackendNotFound",)),
    ((to(weight=3), {**GONE, "weight": 1}), (Backend("web.shop", 80, 3),), 25, ("BackendNotFound",)),
    ((to(), {**GONE, "weight": 0}), (Backend("web.shop", 80),), 0, ("BackendNotFound",)),
    ((to(), KIND), (Backend("web.shop", 80),), 50, ("InvalidKind",)),
    ((to(), CLOSED), (Backend("web.shop", 80),), 50, ("RefNotPermitted",)),
    ((to(), to(port=81)), (Backend("web.shop", 80),), 50, ("BackendNotFound",)),
    ((to(), {"name": "web"}), (Backend("web.shop", 80),), 50, ("BackendNotFound",)),
    ((to(), to("outside")), (Backend("web.shop", 80),), 50, ("BackendNotFound",)),
    ((to(), GONE, KIND, CLOSED), (Backend("web.shop", 80),), 75, ("BackendNotFound", "InvalidKind", "RefNotPermitted")),
    ((GONE,), (), 100, ("BackendNotFound",)),
    ((GONE, KIND), (), 100, ("BackendNotFound", "InvalidKind")),
    ((to(weight=0),), (), 100, ()),
)


@pytest.mark.parametrize(("refs", "backends", "lost", "reasons"), WEIGHTS)
def test_the_share_of_a_backend_that_cannot_be_reached_is_answered_with_500(
    refs: tuple[Json, ...], backends: tuple[Backend, ...], lost: float, reasons: tuple[str, ...],
) -> None:
    found = compiled({"backendRefs": list(refs)})
    assert found.route.backends == backends
    assert tuple(fault.reason for fault in found.unresolved) == reasons
    if backends:
        assert found.route.fault == (Fault(abort_status=500, abort_percent=lost) if lost else None)
        assert found.route.direct_response is None
    else:
        assert found.route.direct_response is not None
        assert found.route.direct_response.status == 500


def test_a_mirror_that_cannot_be_reached_is_left_out_and_told() -> None:
    found = compiled({"backendRefs": [to()], "filters": [mirror("gone")]})
    assert found.route.mirror is None
    assert found.route.backends == (Backend("web.shop", 80),)
    assert found.route.fault is None
    assert [fault.reason for fault in found.unresolved] == ["BackendNotFound"]


def test_a_rule_without_backends_leads_nowhere() -> None:
    found = compiled({"filters": [rewrite(hostname="x.example.org")]}).route
    assert found.direct_response is not None
    assert found.direct_response.status == 404
    assert found.rewrite is None


TIMEOUTS: tuple[tuple[Json, float | None], ...] = (
    ({}, None), ({"request": "10s"}, 10.0), ({"backendRequest": "500ms"}, 0.5), ({"request": "10s", "backendRequest": "2s"}, 2.0),
    ({"request": "0s"}, None), ({"request": "0s", "backendRequest": "2s"}, 2.0), ({"request": "1h30m"}, 5400.0),
)


@pytest.mark.parametrize(("said", "request_s"), TIMEOUTS)
def test_timeouts(said: Json, request_s: float | None) -> None:
    assert led(timeouts=said).request_s == request_s


REFUSED: tuple[tuple[Json, str, str], ...] = (
    ({"sessionPersistence": {}}, "UnsupportedValue", 'unknown field "sessionPersistence"'),
    ({"retry": {"attempts": 2}}, "UnsupportedValue", 'unknown field "retry"'),
    ({"filters": [{"type": "CORS", "cors": {}}]}, "UnsupportedValue", "filters"),
    ({"filters": [{"type": "ExternalAuth"}]}, "UnsupportedValue", '"ExternalAuth" is not valid'),
    ({"filters": [{"type": "ExtensionRef", "extensionRef": {}}]}, "UnsupportedValue", "filters"),
    ({"filters": [{"type": "URLRewrite"}]}, "UnsupportedValue", "the field of type URLRewrite is missing"),
    ({"filters": [{"type": "URLRewrite", "requestRedirect": {"scheme": "https"}}]}, "UnsupportedValue", "the field of type URLRewrite"),
    ({"filters": [mirror(), mirror("web")]}, "UnsupportedValue", "RequestMirror stands there twice"),
    ({"filters": [redirect(scheme="https")]}, "IncompatibleFilters", "what RequestRedirect answers is not forwarded"),
    ({"filters": [redirect(scheme="https"), rewrite(path=FULL)], "backendRefs": []}, "IncompatibleFilters", "exclude each other"),
    ({"filters": [redirect()], "backendRefs": []}, "UnsupportedValue", "it leads to where the request was sent"),
    ({"filters": [redirect(statusCode=418)], "backendRefs": []}, "UnsupportedValue", "statusCode"),
    ({"filters": [header_filter("RequestHeaderModifier", set=[{"name": "x-forwarded-for", "value": "1"}])]}, "UnsupportedValue",
     "'x-forwarded-for' is not for rules"),
    ({"filters": [header_filter("RequestHeaderModifier", remove=["a b"])]}, "UnsupportedValue", "the name of a header field"),
    ({"filters": [rewrite(path=PREFIX)], "matches": [{"path": {"type": "Exact", "value": "/a"}}]}, "UnsupportedValue", "rewrite.prefix"),
    ({"filters": [rewrite(hostname="NO HOST")]}, "UnsupportedValue", "is no host name"),
    ({"filters": [mirror(fraction={"numerator": 3, "denominator": 2})]}, "UnsupportedValue", "mirror.percent"),
    ({"matches": [{"path": {"value": "no-slash"}}]}, "UnsupportedValue", "does not begin with a slash"),
    ({"matches": [{"path": {"value": "/a/../b"}}]}, "UnsupportedValue", "dot segment"),
    ({"matches": [{"path": {"type": "RegularExpression", "value": "/(["}}]}, "UnsupportedValue", "path.value"),
    ({"matches": [{"headers": [{"name": "host", "value": "x"}]}]}, "UnsupportedValue", "'host' is not for rules"),
    ({"matches": [{"method": "get"}]}, "UnsupportedValue", "a method in capitals"),
    ({"backendRefs": [to(filters=[])]}, "UnsupportedValue", 'unknown field "filters"'),
    ({"backendRefs": [to(weight=-1)]}, "UnsupportedValue", "weight"),
    ({"timeouts": {"request": "soon"}}, "UnsupportedValue", "a duration such as"),
    ({"timeouts": {"request": "99999h"}}, "UnsupportedValue", "requestS"),
)


@pytest.mark.parametrize(("said", "reason", "problem"), REFUSED)
def test_what_cannot_be_done_as_it_says_is_refused(said: Json, reason: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        led(**said)
    assert problem in str(caught.value)
    assert (caught.value.reason if isinstance(caught.value, Refused) else "UnsupportedValue") == reason


def test_no_route_leaves_that_a_sidecar_would_refuse() -> None:
    with pytest.raises(ConfigError, match=r"^here.requestHeaders.set"):
        checked("here", EdgeRoute(name="x", allow=(), ports=(80,), request_headers=HeaderEdit({"te": "trailers"})))
    with pytest.raises(ConfigError, match=r"^here"):
        checked("here", EdgeRoute(name="x", allow=(), ports=(0,)))
