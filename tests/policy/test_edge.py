"""Rules at the edge, looked up: by request, by name, and for what clients may not say."""

from sidecar.model.edge import Access, ClaimHeader, Edge, EdgeListener, EdgeRoute, External
from sidecar.model.message import NO_BODY, RequestHead
from sidecar.model.route import Caller, TokenIssuer
from sidecar.model.service import Backend, Mirror
from sidecar.policy.edge import NO_ACCESS, EdgeTable

USERS = Access(
    claim_headers=(ClaimHeader("sub", "X-User"), ClaimHeader("roles", "x-roles")),
    external=External(host="auth.example", takes=("X-Team",)),
)
REQUEST = RequestHead(b"GET", b"/", b"www.example.com", None, [], NO_BODY, is_last=False)


def rule(name: str, *services: str, access: str = "", mirror: str = "") -> EdgeRoute:
    return EdgeRoute(
        name, (Caller(),), ports=(443,), access=access, backends=tuple(Backend(service, 80) for service in services),
        mirror=Mirror(mirror, 80) if mirror else None,
    )


def test_rules_are_found_by_request_and_by_name() -> None:
    private, issuers = rule("private", "web.shop", access="users"), (TokenIssuer("https://login.example", "{}"),)
    table = EdgeTable(Edge((EdgeListener(443),), (private,), {"users": USERS}, issuers))
    found = table.find(443, REQUEST)
    assert found is not None
    assert found.rule is private
    assert table.find(80, REQUEST) is None
    assert (table.named("private"), table.named("other")) == (private, None)
    assert (table.serves(443), table.serves(80)) == (True, False)
    assert table.issuers == issuers


def test_who_asks_nothing_of_clients_has_an_access_that_lets_all_in() -> None:
    private, public = rule("private", "web.shop", access="users"), rule("public", "web.shop")
    table = EdgeTable(Edge(routes=(private, public), access={"users": USERS}))
    assert (table.access(private), table.access(public)) == (USERS, NO_ACCESS)


def test_no_rule_lets_a_client_say_what_another_rule_tells_the_same_application() -> None:
    routes = (
        rule("private", "web.shop", access="users"), rule("public", "web.shop"), rule("canary", "web.shop", "new.shop"),
        rule("new", "new.shop"), rule("copied", "other.shop", mirror="web.shop"), rule("alone", "third.shop"),
    )
    table = EdgeTable(Edge(routes=routes, access={"users": USERS}))
    owned = {b"x-user", b"x-roles", b"x-team"}
    assert {route.name: table.owned_fields(route) for route in routes} == {
        "private": owned, "public": owned, "canary": owned, "new": frozenset(), "copied": owned, "alone": frozenset(),
    }
