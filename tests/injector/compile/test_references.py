"""Who may name what of another namespace."""

from typing import Any

import pytest

from injector.cluster import Cluster
from injector.compile.references import Grants
from tests.injector.compile.gateway_objects import grant

SERVICE = {"group": "", "kind": "Service"}
GRANTS: tuple[tuple[str, dict[str, Any] | None, bool], ...] = (
    ("nobody grants anything", None, False),
    ("all Services to the namespace's routes", grant("HTTPRoute", "shop", SERVICE), True),
    ("this Service", grant("HTTPRoute", "shop", {**SERVICE, "name": "db"}), True),
    ("another Service", grant("HTTPRoute", "shop", {**SERVICE, "name": "cache"}), False),
    ("one of several", grant("HTTPRoute", "shop", {**SERVICE, "name": "cache"}, {**SERVICE, "name": "db"}), True),
    ("routes of another namespace", grant("HTTPRoute", "evil", SERVICE), False),
    ("Gateways", grant("Gateway", "shop", SERVICE), False),
    ("another group of routes", grant("HTTPRoute", "shop", SERVICE, group="example.com"), False),
    ("Secrets", grant("HTTPRoute", "shop", {"group": "", "kind": "Secret"}), False),
    ("another group of Services", grant("HTTPRoute", "shop", {"group": "example.com", "kind": "Service"}), False),
    ("a grant in a third namespace", grant("HTTPRoute", "shop", SERVICE, into="other"), False),
    ("a grant in the route's own namespace", grant("HTTPRoute", "shop", SERVICE, into="shop"), False),
)


@pytest.mark.parametrize(("granted", "allows"), [row[1:] for row in GRANTS], ids=[row[0] for row in GRANTS])
def test_grants(granted: dict[str, Any] | None, allows: bool) -> None:
    grants = Grants(Cluster.of([granted] if granted else []))
    assert grants.allow("HTTPRoute", "shop", ("", "Service", "data", "db")) is allows


def test_ones_own_namespace_needs_no_grant() -> None:
    assert Grants(Cluster.of([])).allow("HTTPRoute", "shop", ("", "Service", "shop", "db"))


def test_a_grant_that_cannot_be_read_grants_nothing_and_is_told() -> None:
    broken = grant("HTTPRoute", "shop", SERVICE)
    broken["spec"]["to"] = [{"kind": "Service"}]
    grants = Grants(Cluster.of([broken]))
    assert not grants.allow("HTTPRoute", "shop", ("", "Service", "data", "db"))
    assert grants.problems == {
        ("ReferenceGrant", "data", "grant"): 'it grants nothing: the field "group" is missing in spec.to[0]',
    }
