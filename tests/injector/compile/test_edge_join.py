"""Several objects at one edge: who has a host, a path, a certificate."""

from typing import Any

import pytest

from injector.compile.edge_join import join
from injector.compile.edge_rule import ANYBODY
from injector.compile.said import Said
from sidecar.model.edge import ClientCertificates, EdgeRoute, TlsHost
from sidecar.model.route import HeaderMatch, Match, PathMatch
from sidecar.model.service import Backend
from tests.injector.compile.edge_secrets import tls_secret

from .edge_objects import Asked, Item, asked, backend, ingress, joined, path, rule, service

OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


def problems(*objects: Item) -> dict[str, tuple[str, ...]]:
    return {f"{namespace}/{name}": told for (_, namespace, name), told in joined(*objects).problems.items()}


def tls_hosts(*objects: Item, port: int = 443) -> dict[str, str]:
    """By host, the Secret that is shown; empty text: to those of no name."""
    (listener,) = (one for one in joined(*objects).edge.listeners if one.port == port)
    assert listener.tls is not None
    return {host: one.name for one in listener.tls for host in one.hosts or ("",)}


# -- rules of two objects


def test_of_two_namespaces_with_one_host_and_path_the_older_counts_and_the_other_is_told() -> None:
    older = ingress("a", [rule("x.test", path("P", "/app", "one"))], namespace="zebra", created=OLD)
    younger = ingress("b", [rule("x.test", path("P", "/app/", "two"), path("P", "/own", "own"))], namespace="ant", created=NEW)
    one = asked(younger, older)
    assert one.to("x.test", "/app/x") == "one"
    assert one.to("x.test", "/own") == "own"
    assert problems(younger, older) == {
        "ant/b": ("the path /app (PathPrefix) of x.test is Ingress zebra/a's, which is older; remove one of the two",),
    }


@pytest.mark.parametrize(("other", "counts"), [("/%61pp", "one"), ("/app%2d", None), ("/App", None)])
def test_one_path_in_two_spellings_is_one_path(other: str, counts: str | None) -> None:
    older = ingress("a", [rule("x.test", path("E", "/app", "one"))], created=OLD)
    found = joined(older, ingress("b", [rule("x.test", path("E", other, "two"))], namespace="other", created=NEW))
    assert (len(found.problems) == 1) == (counts == "one")


def test_without_an_age_the_name_decides() -> None:
    assert asked(*(ingress(name, [rule("x.test", path("P", "/", name))]) for name in "ba")).to("x.test") == "a"


@pytest.mark.parametrize(("service_of_b", "told"), [("one", set()), ("two", {"shop/b"})])
def test_within_a_namespace_what_comes_to_the_same_is_no_conflict(service_of_b: str, told: set[str]) -> None:
    first = ingress("a", [rule("x.test", path("P", "/", "one"))], created=OLD)
    again = ingress("b", [rule("x.test", path("P", "/", service_of_b))], created=NEW)
    assert set(problems(first, again)) == told


def test_a_canary_of_another_namespace_does_not_come_before_the_rule_of_the_older() -> None:
    older = ingress("a", [rule("x.test", path("P", "/", "one"))], created=OLD)
    edge = "canary: [{service: mine, port: 80, header: {name: x-any, value: 'yes'}}]"
    younger = ingress("b", [rule("x.test", path("P", "/", "two"))], namespace="other", created=NEW, edge=edge)
    assert asked(older, younger, service("mine", "other")).to("x.test", headers={"x-any": "yes"}) == "one"


def route(name: str, *matches: Match, hosts: tuple[str, ...] = ("x.test",), ports: tuple[int, ...] = (80,)) -> EdgeRoute:
    return EdgeRoute(name=name, allow=ANYBODY, hosts=hosts, matches=matches, ports=ports, backends=(Backend(f"{name[0]}.x", 80),))


def said(name: str, *routes: EdgeRoute, kind: str = "HTTPRoute", namespace: str = "shop", **more: Any) -> Said:
    return Said((kind, namespace, name), routes=routes, **more)


def test_an_alternative_that_is_taken_leaves_the_others() -> None:
    path_a, path_b, header = Match(PathMatch("/a")), Match(PathMatch("/b")), Match(PathMatch("/a"), headers=(HeaderMatch("x-y", "1"),))
    found = join([
        said("a", route("a", path_a, hosts=("x.test", "y.test"))),
        said("b", route("b", path_a, path_b, header, hosts=("y.test", "z.test")), namespace="other", created=NEW),
    ])
    one = Asked(found)
    assert [one.to(host, target, port=80) for host in ("x.test", "y.test", "z.test") for target in ("/a", "/b")] == [
        "a", None, "a", "b", "b", "b",
    ]
    # Other conditions are another rule, but another namespace's for the same path would be the way to take it.
    assert one.to("y.test", "/a", port=80, headers={"x-y": "1"}) == "a"
    assert one.to("z.test", "/a", port=80, headers={"x-y": "1"}) == "b"
    assert len(found.problems) == 1


def test_ports_are_claimed_one_by_one() -> None:
    found = join([said("a", route("a")), said("b", route("b", ports=(80, 8080)), namespace="other", created=NEW)])
    assert [Asked(found).to("x.test", port=port) for port in (80, 8080)] == ["a", "b"]


# -- hosts and their namespaces


def test_a_host_that_another_namespace_has_named_falls_through_to_nobodys_wider_rule() -> None:
    shop = ingress("a", [rule("x.shop.test", path("P", "/app", "app"))], created=NEW)
    others = [
        ingress("b", [rule(None, path("P", "/", "all"))], namespace="other", created=OLD),
        ingress("c", [rule("*.shop.test", path("P", "/", "wild"))], namespace="third", created=OLD),
        ingress("d", namespace="fourth", created=OLD, defaultBackend=backend("rest")),
    ]
    one = asked(shop, *others)
    assert one.to("x.shop.test", "/app") == "app"
    assert one.to("x.shop.test", "/secret") is None
    assert one.to("y.shop.test", "/secret") == "wild"
    assert one.to("z.test", "/secret") == "all"


def test_it_does_to_wider_rules_of_its_own_namespace() -> None:
    of_all = rule(None, path("P", "/status", "status"), path("P", "/app/x", "never"))
    shop = ingress("a", [rule("x.test", path("P", "/app", "app")), of_all])
    other = ingress("b", [rule(None, path("P", "/", "all"))], namespace="other")
    one = asked(shop, other)
    assert one.to("x.test", "/status") == "status"
    assert one.to("x.test", "/app/x") == "app"        # the host's own rule comes first, as everywhere
    assert one.to("x.test", "/more") is None
    assert one.to("y.test", "/app/x") == "never"


def test_a_host_belongs_to_whom_named_it_first_and_so_does_what_no_rule_is_about() -> None:
    older = ingress("a", [rule("x.test", path("P", "/a", "a"))], created=OLD, defaultBackend=backend("rest"))
    younger = ingress("b", [rule("x.test", path("P", "/b", "b"))], namespace="other", created=NEW, defaultBackend=backend("theirs"))
    one = asked(younger, older)
    assert [one.to("x.test", target) for target in ("/a", "/b", "/c")] == ["a", "b", "rest"]
    assert one.to("y.test") == "rest"
    told = problems(younger, older)["other/b"]
    assert any("every path of x.test is Ingress shop/a's" in text for text in told)
    assert any("its defaultBackend answers for its own hosts only" in text for text in told)


def test_the_default_backend_of_one_namespace_does_not_answer_for_anothers_host() -> None:
    default = ingress("a", namespace="other", created=OLD, defaultBackend=backend("rest"))
    one = asked(default, ingress("b", [rule("x.test", path("E", "/x", "x"))], created=NEW))
    assert one.to("x.test", "/x") == "x"
    assert one.to("x.test", "/y") is None
    assert one.to("y.test", "/y") == "rest"


# -- TLS


def with_tls(name: str, *hosts: str, secret: str = "cert", listed: bool = True, **more: Any) -> Item:
    entry = {"secretName": secret, **({"hosts": list(hosts)} if listed else {})}
    return ingress(name, [rule(host, path("P", "/", "web")) for host in hosts], tls=[entry], **more)


def test_one_certificate_for_several_hosts() -> None:
    found = joined(with_tls("a", "x.test", "y.test"), tls_secret("cert", "x.test"))
    (_, listener) = found.edge.listeners
    assert listener.tls is not None
    (one,) = listener.tls
    assert (one.name, one.hosts, one.min_version) == ("shop/cert", ("x.test", "y.test"), "1.2")
    assert one.chain is not None
    assert one.key is not None
    assert found.problems == {}


def test_two_objects_with_one_secret_are_one_entry() -> None:
    objects = with_tls("a", "x.test"), with_tls("b", "y.test"), tls_secret("cert", "x.test")
    (_, listener) = joined(*objects).edge.listeners
    assert listener.tls is not None
    assert [one.hosts for one in listener.tls] == [("x.test", "y.test")]


def test_an_entry_without_hosts_is_for_those_of_the_rules() -> None:
    assert tls_hosts(with_tls("a", "x.test", "y.test", listed=False)) == {"x.test": "shop/cert", "y.test": "shop/cert"}
    assert tls_hosts(ingress("a", tls=[{"secretName": "cert"}], defaultBackend=backend("web"))) == {"": "shop/cert"}


@pytest.mark.parametrize(("secret", "problem"), [
    (None, "there is no Secret shop/cert, or the injector may not read it"),
    ({"data": {}}, "does not hold tls.crt and tls.key"),
    ({"stringData": {"tls.crt": "x", "tls.key": "y"}}, "is unusable"),
])
def test_a_secret_that_is_missing_or_broken_shows_no_other(secret: Any, problem: str) -> None:
    given = [] if secret is None else [{"kind": "Secret", "metadata": {"name": "cert", "namespace": "shop"}, **secret}]
    found = joined(with_tls("a", "x.test"), *given)
    (_, listener) = found.edge.listeners
    assert listener.tls == (TlsHost("shop/cert", ("x.test",)),)
    assert problem in found.problems["Ingress", "shop", "a"][0]
    assert "TLS is refused for its hosts" in found.problems["Ingress", "shop", "a"][0]


def test_a_secret_is_one_of_the_objects_own_namespace() -> None:
    found = joined(with_tls("a", "x.test"), tls_secret("cert", "x.test", namespace="other"))
    assert "there is no Secret shop/cert" in found.problems["Ingress", "shop", "a"][0]


def test_tls_without_a_secret_is_refused() -> None:
    found = joined(ingress("a", [rule("x.test", path("P", "/", "web"))], tls=[{"hosts": ["x.test"]}]))
    assert "it names no Secret" in found.problems["Ingress", "shop", "a"][0]


def test_a_host_that_an_older_namespace_has_named_gets_no_certificate_of_another() -> None:
    older = ingress("a", [rule("x.test", path("P", "/", "web"))], created=OLD)
    younger = with_tls("b", "x.test", "own.test", namespace="other", created=NEW)
    assert tls_hosts(older, younger) == {"own.test": "other/cert"}
    told = problems(older, younger)["other/b"]
    assert any("TLS for x.test is not this namespace's to speak: an object of namespace shop has named it before" in text for text in told)
    assert asked(older, younger).to("x.test", port=80) == "web"       # no redirect to where nobody answers
    assert asked(older, younger).to("own.test", port=80) == 308


def test_of_two_certificates_of_a_namespace_the_older_objects_counts() -> None:
    objects = with_tls("a", "x.test", secret="one", created=OLD), with_tls("b", "x.test", secret="two", created=NEW)
    assert tls_hosts(*objects) == {"x.test": "shop/one"}
    assert any("x.test shows the certificate shop/one" in text for text in problems(*objects)["shop/b"])


def test_a_gateway_speaks_tls_for_hosts_that_routes_of_other_namespaces_name() -> None:
    certificate = TlsHost("infra/wild", ("x.test",), clients=ClientCertificates("PEM"))
    found = join([
        said("r", route("r", ports=(8443,)), created=OLD),
        said("g", kind="Gateway", namespace="infra", created=NEW, tls=((8443, certificate),), listeners=((8443, True), (8080, False))),
    ])
    assert [(one.port, one.tls) for one in found.edge.listeners] == [(80, None), (443, ()), (8080, None), (8443, (certificate,))]


def test_a_port_speaks_one_thing() -> None:
    found = join([said("g", kind="Gateway", listeners=((443, False),))])
    assert [(one.port, one.tls is None) for one in found.edge.listeners] == [(80, True), (443, False)]
    assert found.problems["Gateway", "shop", "g"] == ("port 443 speaks TLS here, and cannot speak both",)


def test_both_ports_are_there_whatever_is_said() -> None:
    assert [(one.port, one.tls) for one in joined().edge.listeners] == [(80, None), (443, ())]


# -- the redirect


def test_a_host_with_tls_is_redirected() -> None:
    one = asked(with_tls("a", "x.test"), ingress("b", [rule("y.test", path("P", "/", "web"))]))
    assert one.to("x.test", "/any?q=1", port=80) == 308
    assert one.to("x.test", "/any", port=443) == "web"
    assert one.to("y.test", "/any", port=80) == "web"
    found = one.route("x.test", port=80)
    assert found is not None
    assert found.redirect is not None
    assert (found.redirect.scheme, found.redirect.path, found.redirect.hostname) == ("https", None, None)


def test_it_is_for_all_rules_of_the_host_but_those_that_want_none() -> None:
    rules = [rule("x.test", path("P", "/open", "open"))]
    assert asked(with_tls("a", "x.test"), ingress("b", rules)).to("x.test", "/open", port=80) == 308
    assert asked(with_tls("a", "x.test"), ingress("b", rules, edge="httpsRedirect: false")).to("x.test", "/open", port=80) == "open"


def test_it_comes_before_wider_rules_that_stay_on_port_80() -> None:
    one = asked(with_tls("a", "x.test"), ingress("b", [rule(None, path("P", "/status", "status"))]))
    assert one.to("x.test", "/status", port=80) == 308
    assert one.to("y.test", "/status", port=80) == "status"


def test_it_may_be_turned_off() -> None:
    assert asked(with_tls("a", "x.test", edge="httpsRedirect: false")).to("x.test", port=80) == "web"


def test_a_wildcard_certificate_redirects_the_hosts_of_its_namespace() -> None:
    wild = ingress("a", [rule("x.shop.test", path("P", "/", "web"))], tls=[{"hosts": ["*.shop.test"], "secretName": "cert"}])
    same = ingress("b", [rule("y.shop.test", path("P", "/", "web"))])
    other = ingress("c", [rule("z.shop.test", path("P", "/", "web"))], namespace="other")
    one = asked(wild, same, other)
    assert [one.to(f"{host}.shop.test", port=80) for host in "xyz"] == [308, 308, "web"]


def test_the_default_backend_of_an_object_with_tls_for_everybody_is_redirected() -> None:
    one = asked(ingress("a", tls=[{"secretName": "cert"}], defaultBackend=backend("web")))
    assert [one.to("any.test", port=port) for port in (80, 443)] == [308, "web"]
