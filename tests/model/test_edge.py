"""What the types of the edge cannot say."""

import msgspec
import pytest

from sidecar.model.edge import Access, Edge, EdgeListener, EdgeRoute, External, Restriction, check_edge
from sidecar.model.errors import ConfigError
from sidecar.model.route import Caller, DirectResponse, Jwt
from sidecar.model.service import Backend
from sidecar.model.value import from_json

WEB = EdgeRoute("web", (Caller(),), hosts=("myapp.example.com",), ports=(80,), backends=(Backend("web.shop", 80),))


def changed(**fields: object) -> EdgeRoute:
    return msgspec.structs.replace(WEB, **fields)


@pytest.mark.parametrize(("edge", "where"), [
    (Edge((EdgeListener(80), EdgeListener(443, ())), (WEB,)), ""),
    (Edge((EdgeListener(80), EdgeListener(80))), "edge.listeners"),
    (Edge(routes=(WEB, WEB)), "edge.routes[1].name"),
    (Edge(routes=(changed(hosts=("**.example.com", "*.example.com")),)), ""),
    (Edge(routes=(changed(hosts=("***.example.com",)),)), "edge.routes[0].hosts[0]"),
    (Edge(routes=(changed(port=80),)), "edge.routes[0]"),
    (Edge(routes=(changed(jwt=Jwt("issuer", ("a",))),)), "edge.routes[0]"),
    (Edge(routes=(changed(access="staff"),)), "edge.routes[0].access"),
    (Edge(routes=(changed(access="staff"),), access={"staff": Access()}), ""),
    (Edge(routes=(changed(backends=()),)), "edge.routes[0]"),
    (Edge(routes=(changed(backends=(), direct_response=DirectResponse(404)),)), ""),
    (Edge(routes=(changed(allow=(Caller("web"),)),)), "edge.routes[0].allow[0]"),
    (Edge(routes=(changed(allow=(Caller(source="192.0.2.0/24", claims={"roles": ("staff",)}),)),)), ""),
    (Edge(routes=(changed(restrictions=(Restriction(("/a",), allow=(Caller(source="192.0.2.0/24"),)),)),)), ""),
    (Edge(routes=(changed(restrictions=(Restriction(("/a", "b")),)),)), "edge.routes[0].restrictions[0].paths[1]"),
    (Edge(routes=(changed(restrictions=(Restriction(("/a?b",)),)),)), "edge.routes[0].restrictions[0].paths[0]"),
    (Edge(routes=(changed(restrictions=(Restriction(deny=(Caller(source="x"),)),)),)), "edge.routes[0].restrictions[0].deny[0].source"),
    (Edge(routes=(changed(restrictions=(Restriction(allow=(Caller("web"),)),)),)), "edge.routes[0].restrictions[0].allow[0]"),
    (Edge(access={"staff": Access(external=External())}), "edge.access.staff.external"),
    (Edge(access={"staff": Access(external=External(host="authorizer.example"))}), ""),
])
def test_edge(edge: Edge, where: str) -> None:
    if not where:
        check_edge("edge", edge)
        return
    with pytest.raises(ConfigError) as refused:
        check_edge("edge", edge)
    assert refused.value.where == where


def test_a_rule_is_read_as_it_was_written() -> None:
    edge = Edge((EdgeListener(80),), (WEB,), {"staff": Access(certificate="partners")})
    assert from_json(msgspec.json.encode(edge), Edge) == edge
