from typing import Any

import msgspec
import pytest

from injector.documents import RouteRule
from injector.enforced import route
from sidecar.model.route import Caller, DirectResponse, Fault, HeaderEdit, Jwt, Match, PathMatch, RateLimit, Redirect, Rewrite, Route


def _rule(**fields: Any) -> RouteRule:
    return msgspec.convert({"name": "r", "allow": [], **fields}, RouteRule)


def test_every_field_that_the_pods_own_sidecar_enforces() -> None:
    rule = _rule(
        port=8080, hosts=["orders.shop"], matches=[{"path": {"value": "/a"}, "method": "GET"}], allow=[{"serviceAccount": "web"}],
        deny=[{"namespace": "bad"}], jwt={"issuer": "https://a", "audiences": ["shop"]},
        rateLimit={"requests": 5, "per": "1m", "by": "header", "header": "x-user", "burst": 9}, concurrency=7, maxBody="1MiB",
        fault={"delay": {"for": "500ms", "percent": 5}, "abort": {"status": 503, "percent": 1}},
        requestHeaders={"set": {"x-a": "1"}}, responseHeaders={"remove": ["server"]}, rewrite={"prefix": "/b"}, upgrades=["websocket"],
    )
    assert route(rule, "shop") == Route(
        "r", (Caller("web", "shop"),), 8080, (Match(PathMatch("/a"), "GET"),), ("orders.shop",), (Caller("*", "bad"),),
        Jwt("https://a", ("shop",)), RateLimit(5, 60.0, "header", "x-user", 9), 7, 1 << 20, Fault(0.5, 5.0, 503, 1.0),
        HeaderEdit({"x-a": "1"}), HeaderEdit(remove=("server",)), Rewrite(prefix="/b"), upgrades=("websocket",),
    )
    answers = route(_rule(redirect={"path": "/b"}, directResponse={"status": 200}), "shop")
    assert (answers.redirect, answers.direct_response) == (Redirect(path="/b"), DirectResponse(200))


def test_half_a_fault() -> None:
    fault = route(_rule(fault={"abort": {"status": 503}}), "shop").fault
    assert fault is not None
    assert (fault.delay_s, fault.abort_status, fault.abort_percent) == (0.0, 503, 100.0)
    fault = route(_rule(fault={"delay": {"for": "1s"}}), "shop").fault
    assert fault is not None
    assert (fault.delay_s, fault.delay_percent, fault.abort_status) == (1.0, 100.0, None)


@pytest.mark.parametrize(("caller", "expected"), [
    ({"serviceAccount": "web"}, Caller("web", "shop")), ({"serviceAccount": "*"}, Caller("*", "shop")),
    ({"serviceAccount": "web", "namespace": "*"}, Caller("web", "*")), ({"namespace": "other"}, Caller("*", "other")),
    ({"identity": "spiffe://a/ns/b/*"}, Caller("*", "*", "spiffe://a/ns/b/*")), ({"source": "10.0.0.0/8"}, Caller(source="10.0.0.0/8")),
    ({"claims": {"role": ["admin"]}}, Caller(claims={"role": ("admin",)})),
    ({"serviceAccount": "web", "claims": {"role": ["admin"]}}, Caller("web", "shop", claims={"role": ("admin",)})),
])
def test_a_caller_whose_namespace_is_left_out(caller: dict[str, Any], expected: Caller) -> None:
    assert route(_rule(allow=[caller]), "shop").allow == (expected,)
