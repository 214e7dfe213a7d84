"""What the cluster's name server could know."""

import pytest

from sidecar.policy.cluster_names import searched, why_no_cluster_name

SERVICES = frozenset({"orders.shop", "db.shop"})


@pytest.mark.parametrize(("below", "may_be"), [
    ("", True), ("orders.shop.svc", True), ("other.elsewhere.svc", True), ("_http._tcp.orders.shop.svc", True), ("shop.svc", True),
    ("db-0.db.shop.svc", True), ("10-244-0-7.db.shop.svc", True), ("10-244-0-7.shop.pod", True), ("_http._tcp.db-0.db.shop.svc", True),
    ("secret.orders.elsewhere.svc", False), ("secret.attacker.example.svc", False), ("a.b.orders.shop.svc", False),
    ("secret.example", False), ("orders", False), ("secret.orders.shop.pod", False),
    ("api.partner.example.shop.svc", False), ("svc.cluster", False),
])
def test_forms(below: str, may_be: bool) -> None:
    assert (why_no_cluster_name(below, SERVICES) == "") is may_be


@pytest.mark.parametrize(("below", "asked"), [
    ("orders.shop.svc", {"orders.shop.svc", "orders.shop", "orders"}), ("api.partner.example", {"api.partner.example"}),
    ("orders.shop.shop.svc", {"orders.shop.shop.svc", "orders.shop.shop", "orders.shop"}), ("x.other.svc", {"x.other.svc", "x.other"}),
])
def test_what_a_search_list_may_have_made_of_it(below: str, asked: set[str]) -> None:
    assert set(searched(below, "shop")) == asked
