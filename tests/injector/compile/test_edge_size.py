"""Whoever says more than a gateway holds closes their own hosts, and nobody else's."""

import msgspec
import pytest

from injector.compile import edge_size
from injector.compile.edge_size import MOST_EDGE_BYTES
from sidecar.model.edge import Edge
from tests.injector.compile.edge_objects import Asked, Item, ingress, joined, path, rule

OURS = (
    ingress("open", [rule("www.shop.test", path("P", "/", "web"))], created="2026-01-03T00:00:00Z"),
    ingress("wide", [rule("*.loud.test", path("P", "/", "web"))], created="2026-01-03T00:00:00Z"),
)


def loud(namespace: str = "loud", letters: int = 4000, rules: int = 800) -> Item:
    """Older than all others."""
    rules_ = [rule("www.loud.test", *(path("P", f"/{number}", "loud") for number in range(rules)))]
    edge = f"requestHeaders: {{set: {{x-a: {'b' * letters}}}}}"
    return ingress("admin", rules_, namespace=namespace, created="2026-01-01T00:00:00Z", edge=edge)


def size(edge: Edge) -> int:
    return len(msgspec.json.encode(edge))


def test_as_much_as_fits_is_in_force() -> None:
    found = joined(*OURS, loud(rules=400), loud("quiet", rules=400))
    assert size(found.edge) < MOST_EDGE_BYTES
    assert Asked(found).to("www.loud.test", "/1") == "loud"
    assert all("bytes" not in problem for problems in found.problems.values() for problem in problems)


def test_who_says_the_most_closes_their_own_hosts() -> None:
    wall = ingress("all", [rule("www.loud.test", path("P", "/", "loud"))], namespace="loud")
    found = joined(*OURS, loud(), wall, loud("quiet", rules=600))
    asked = Asked(found)
    assert size(found.edge) < MOST_EDGE_BYTES
    # Not even the wider rule of the same namespace: what was left out could have asked who a client is.
    assert [asked.to("www.loud.test", target) for target in ("/", "/1", "/x")] == [503, 503, 503]
    assert asked.to("www.loud.test", "/", port=80) == 503
    assert [asked.to(host) for host in ("www.shop.test", "x.loud.test")] == ["web", "web"]
    for name in ("admin", "all"):
        assert found.problems["Ingress", "loud", name][-1].startswith(
            "all that gateways serve has more than 5,242,880 bytes, and namespace loud says the most: nothing of it is in force")
    # Nor a path that another namespace was refused so far, since it was theirs.
    assert found.problems["Ingress", "quiet", "admin"] == ("www.loud.test is closed: its namespace loud says more than gateways can hold",)


def test_rules_for_every_host_are_closed_too() -> None:
    everywhere = ingress("every", [rule(None, path("P", "/a", "loud"))], namespace="loud", defaultBackend={
        "service": {"name": "loud", "port": {"number": 80}}})
    asked = Asked(joined(*OURS, loud(rules=2000), everywhere))
    assert (asked.to("www.shop.test"), asked.to("elsewhere.test", "/a")) == ("web", 503)


def test_names_alone_that_are_too_much_are_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_size.fitting, "__defaults__", (5000,))     # of `most`
    many = ingress("many", [rule(f"h{number}.{'a' * 50}.test", path("P", "/", "loud")) for number in range(100)], namespace="loud")
    found = joined(*OURS, many)
    assert {host for route in found.edge.routes for host in route.hosts} == {"www.shop.test", "*.loud.test"}
    assert Asked(found).to("www.shop.test") == "web"
    assert [problem.count("has more than 5,000 bytes") for problem in found.problems["Ingress", "loud", "many"]] == [1]


def test_one_long_annotation_counts_for_each_of_its_rules() -> None:
    """It is the snapshot that is counted, not what the cluster stores; and what is too much is not even written out."""
    one = loud(letters=4096, rules=5000)
    found = joined(*OURS, one)
    assert Asked(found).to("www.loud.test", "/4999") == 503
    assert size(found.edge) < 10_000
