import pytest

from injector.audit.names import common_domain, short, workload_of

from .support import ORDERS, WEB


def test_the_parts_of_an_identity() -> None:
    assert workload_of(WEB) == ("shop", "web")
    assert workload_of("spiffe://mesh/ns/shop/sa/web/x") == workload_of("") == ("", "")


def test_the_domain_is_that_of_most() -> None:
    assert common_domain([WEB, ORDERS, "spiffe://other/ns/shop/sa/web", "10.0.0.1"]) == "spiffe://mesh/ns/"
    assert common_domain(["", "10.0.0.1"]) == ""


@pytest.mark.parametrize("text", ["spiffe://other/ns/shop/sa/web", "shop/web", "10.0.0.1", "spiffe://mesh/ns/shop/sa/web?", "spiffe://mesh/ns/"])
def test_nothing_else_is_shortened_to_look_like_one(text: str) -> None:
    assert short(WEB, "spiffe://mesh/ns/") == "shop/web"
    assert short(text, "spiffe://mesh/ns/") == text
