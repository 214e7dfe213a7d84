"""What a rule says beyond leave, one permitted request at a time; how it looks to the caller: test_inbound.py."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.decision import Denied, Permit
from sidecar.model.message import NO_BODY, Body, BodyKind, Headers, RequestHead, ResponseHead
from sidecar.model.reason import Reason
from sidecar.model.route import (
    Caller,
    DirectResponse,
    Fault,
    HeaderEdit,
    Match,
    PathMatch,
    RateLimit,
    Redirect,
    Rewrite,
    Route,
)
from sidecar.model.snapshot import Inbound
from sidecar.policy.authorize import Asker, authorize, find_route
from sidecar.policy.route_table import Found, RouteTable
from sidecar.protocol.target import judge_target
from sidecar.proxy.admit import Admission
from sidecar.proxy.plan import Decision, Plan, Reply, Upstream
from tests.helpers.pki import WEB

NOW = 1_000.0
ANYBODY = (Caller(),)
RESPONSE = ResponseHead(200, b"OK", [(b"Server", b"x"), (b"a", b"1")], NO_BODY, 0, False)


def get(target: str = "/", headers: Headers | None = None, body: Body = NO_BODY) -> RequestHead:
    return RequestHead(b"GET", judge_target(target.encode()), b"orders", 8080, headers or [], body, False)


class Gate:
    """The judge and the admission behind it."""

    def __init__(self, *routes: Route, share: int = 1) -> None:
        self.admission = Admission(share)
        self.sent: list[RequestHead] = []
        self.change(*routes)

    def change(self, *routes: Route) -> None:
        self.table = RouteTable(routes)
        self.inbound = Inbound(routes=routes)

    def __call__(self, request: RequestHead | None = None, caller: str = WEB, now: float = NOW) -> Decision:
        request = request or get()
        found = find_route(8080, request, is_plaintext=False, inbound=self.inbound, table=self.table, now=now)
        assert isinstance(found, Found)
        permit = authorize(found, Asker(WEB, ""), "example.org")    # type: ignore[arg-type]
        assert isinstance(permit, Permit)
        return self.admission.admit(permit, request, caller, self.upstream, lambda: True, clock=lambda: now, rng=random.Random(1))

    def upstream(self, request: RequestHead) -> Callable[[], Upstream]:
        self.sent.append(request)
        chosen = Upstream("app", self.connect, request.host, [], "app")
        return lambda: chosen

    async def connect(self) -> object:      # type: ignore[override]
        raise AssertionError

    def plan(self, request: RequestHead | None = None, caller: str = WEB, now: float = NOW) -> Plan:
        decision = self(request, caller, now)
        assert isinstance(decision, Plan)
        return decision

    def reply(self, request: RequestHead | None = None) -> Reply:
        decision = self(request)
        assert isinstance(decision, Reply)
        return decision

    def reason(self, request: RequestHead | None = None, caller: str = WEB, now: float = NOW) -> Reason | None:
        decision = self(request, caller, now)
        return decision.reason if isinstance(decision, Denied) else None


def test_a_rule_that_says_nothing_more() -> None:
    gate = Gate(Route("r", ANYBODY))
    request = get()
    plan = gate.plan(request)
    assert (plan.request, plan.adapt, plan.delay_s, plan.max_body_bytes, plan.upgrades, plan.done) == (None, None, 0.0, None, (), None)
    assert gate.sent == [request]
    assert plan.choose() is plan.choose()


def test_no_rule_at_all() -> None:
    gate = Gate()
    decision = gate.admission.admit(Permit("without-routes"), get(), WEB, gate.upstream, lambda: True, rng=random.Random(1))
    assert isinstance(decision, Plan)
    assert decision.permit == Permit("without-routes")


# -- what counts


LIMITED = Route("r", ANYBODY, rate_limit=RateLimit(2))


def test_rate_by_identity() -> None:
    gate = Gate(LIMITED)
    assert [gate.reason(caller=caller) for caller in "aabab"] == [None, None, None, Reason.RATE_LIMITED, None]
    assert gate.reason(caller="a", now=NOW + 0.5) is None
    refused = gate(caller="a", now=NOW + 0.5)
    assert refused == Denied(Reason.RATE_LIMITED, "r", "there is room again in 0.500 s")


def test_rate_of_the_whole_rule() -> None:
    gate = Gate(Route("r", ANYBODY, rate_limit=RateLimit(2, by="route")))
    assert [gate.reason(caller=caller) for caller in "abc"] == [None, None, Reason.RATE_LIMITED]


def test_rate_by_header() -> None:
    gate = Gate(Route("r", ANYBODY, rate_limit=RateLimit(1, by="header", header="X-Tenant")))

    def of(*tenants: bytes) -> Reason | None:
        return gate.reason(get(headers=[(b"x-TENANT", tenant) for tenant in tenants]))

    assert [of(b"a"), of(b"b"), of(b"a"), of(b"A"), of(b"\xff" * 9000)] == [None, None, Reason.RATE_LIMITED, None, None]
    assert [of(), of()] == [None, Reason.RATE_LIMITED]
    assert of(b"c", b"d") is Reason.RATE_LIMITED        # several are like none


def test_buckets_outlive_the_change_of_other_rules() -> None:
    gate = Gate(LIMITED)
    assert [gate.reason() for _ in range(3)] == [None, None, Reason.RATE_LIMITED]
    gate.change(Route("r", ANYBODY, rate_limit=RateLimit(2), max_body_bytes=7), Route("new", ANYBODY, 81, rate_limit=RateLimit(1)))
    assert gate.reason() is Reason.RATE_LIMITED
    gate.change(Route("r", ANYBODY, rate_limit=RateLimit(3)))
    assert gate.reason() is None


def test_buckets_of_rules_that_are_gone_are_forgotten() -> None:
    gate = Gate(*(Route(f"r{i}", ANYBODY, matches=(Match(PathMatch(f"/{i}")),), rate_limit=RateLimit(2)) for i in range(50)))
    for i in range(50):
        gate.plan(get(f"/{i}"), now=NOW + 2 * i)
    assert len(gate.admission._buckets) == 1


def test_concurrency() -> None:
    gate = Gate(Route("r", ANYBODY, concurrency=2))
    one, _ = gate.plan(), gate.plan()
    assert gate() == Denied(Reason.TOO_MANY_REQUESTS, "r", "2 are allowed at a time")
    assert one.done is not None
    one.done()
    assert gate.reason() is None
    assert gate.reason() is Reason.TOO_MANY_REQUESTS


@pytest.mark.parametrize(("limit", "share", "let"), [(4, 2, 2), (5, 2, 2), (1, 2, 1)])
def test_a_share_of_concurrency_is_one_at_least(limit: int, share: int, let: int) -> None:
    gate = Gate(Route("r", ANYBODY, concurrency=limit), share=share)
    for _ in range(let):
        gate.plan()
    assert gate.reason() is Reason.TOO_MANY_REQUESTS


def test_a_share_of_a_rate() -> None:
    gate = Gate(Route("r", ANYBODY, rate_limit=RateLimit(4)), share=2)
    assert [gate.reason() for _ in range(3)] == [None, None, Reason.RATE_LIMITED]


def test_what_is_under_way_counts_whatever_changes() -> None:
    gate = Gate(Route("r", ANYBODY, concurrency=2))
    plans = [gate.plan(), gate.plan()]
    gate.change(Route("r", ANYBODY, concurrency=1, max_body_bytes=7))
    assert gate.reason() is Reason.TOO_MANY_REQUESTS
    gate.change(Route("r", ANYBODY))        # and nobody counts meanwhile
    for plan in plans:
        gate.plan()
        assert plan.done is not None
        plan.done()
    assert not gate.admission.under_way
    gate.change(Route("r", ANYBODY, concurrency=1))
    assert [gate.reason(), gate.reason()] == [None, Reason.TOO_MANY_REQUESTS]


@pytest.mark.parametrize("route", [
    Route("r", ANYBODY, concurrency=1, max_body_bytes=0), Route("r", ANYBODY, concurrency=1, direct_response=DirectResponse(200)),
    Route("r", ANYBODY, concurrency=1, fault=Fault(abort_status=500)), Route("r", ANYBODY, concurrency=1, redirect=Redirect("https")),
])
def test_what_goes_no_further_holds_no_place(route: Route) -> None:
    gate = Gate(route)
    for _ in range(3):
        assert not isinstance(gate(get(body=Body(BodyKind.LENGTH, 1))), Plan)
    assert not gate.admission.under_way


# -- bodies, faults


@pytest.mark.parametrize(("body", "refused"), [
    (NO_BODY, False), (Body(BodyKind.LENGTH, 10), False), (Body(BodyKind.LENGTH, 11), True), (Body(BodyKind.CHUNKED), False),
])
def test_body(body: Body, refused: bool) -> None:
    decision = Gate(Route("r", ANYBODY, max_body_bytes=10))(get(body=body))
    if refused:
        assert decision == Denied(Reason.BODY_TOO_LARGE, "r", "it has 11 bytes; 10 are allowed")
    else:
        assert isinstance(decision, Plan)
        assert decision.max_body_bytes == 10


def test_an_injected_delay() -> None:
    assert Gate(Route("r", ANYBODY, fault=Fault(2.5))).plan().delay_s == 2.5


def test_an_injected_error() -> None:
    reply = Gate(Route("r", ANYBODY, fault=Fault(2.5, abort_status=418))).reply()
    assert (reply.response.status, reply.delay_s) == (418, 2.5)
    assert reply.denied == Denied(Reason.FAULT_INJECTED, "r")
    fields = dict(reply.response.headers)
    assert (fields[b"x-bartizan-reason"], fields[b"x-bartizan-rule"]) == (b"BZ0111 fault-injected", b"r")
    assert reply.response.body == Body(BodyKind.LENGTH, len(reply.body))


# -- answers


def test_a_direct_response() -> None:
    route = Route("r", ANYBODY, direct_response=DirectResponse(200, "caf\u00e9"), response_headers=HeaderEdit({"a": "b"}))
    reply = Gate(route).reply()
    assert reply.response == ResponseHead(
        200, b"OK", [(b"content-type", b"text/plain; charset=utf-8"), (b"a", b"b")], Body(BodyKind.LENGTH, 5), 5, False,
    )
    assert (reply.body, reply.denied, reply.permit) == ("caf\u00e9".encode(), None, Permit("r"))


@pytest.mark.parametrize(("status", "phrase", "length"), [
    (204, b"No Content", None), (304, b"Not Modified", None), (404, b"Not Found", 0), (299, b"", 0),
])
def test_a_direct_response_without_words(status: int, phrase: bytes, length: int | None) -> None:
    reply = Gate(Route("r", ANYBODY, direct_response=DirectResponse(status))).reply()
    assert reply.response == ResponseHead(status, phrase, [], NO_BODY, length, False)


def test_a_redirection() -> None:
    route = Route("r", ANYBODY, matches=(Match(PathMatch("/b")), Match(PathMatch("/a"))),
                  redirect=Redirect("https", "b.example", prefix="/x", status=308))
    reply = Gate(route).reply(get("/a/c?d"))
    assert reply.response == ResponseHead(308, b"Permanent Redirect", [(b"location", b"https://b.example/x/c?d")], NO_BODY, 0, False)


# -- edits


def test_a_rewrite() -> None:
    gate = Gate(Route("r", ANYBODY, matches=(Match(PathMatch("/b")), Match(PathMatch("/a"))), rewrite=Rewrite(prefix="/", hostname="in")))
    plan = gate.plan(get("/a/c?d"))
    assert plan.request is not None
    assert (plan.request.target, plan.request.host, plan.request.port) == (b"/c?d", b"in", None)
    assert gate.sent == [plan.request]
    assert plan.choose().host == b"in"


def test_a_rewrite_that_would_open_another_way() -> None:
    route = Route("r", ANYBODY, matches=(Match(PathMatch("/a")),), rewrite=Rewrite(prefix="/"))
    assert Gate(route).plan(get("/a/b")).request is not None
    unchecked = Route("r", ANYBODY, rewrite=Rewrite(path="/../x"))      # no snapshot holds it
    assert Gate(unchecked).reason() is Reason.BAD_TARGET


def test_edited_heads() -> None:
    gate = Gate(Route("r", ANYBODY, request_headers=HeaderEdit({"a": "2"}, {"b": "3"}, ("C",)),
                      response_headers=HeaderEdit(remove=("server",))))
    request = get(headers=[(b"A", b"1"), (b"c", b"1"), (b"d", b"1")])
    plan = gate.plan(request)
    assert plan.request is not None
    assert plan.request.headers == [(b"d", b"1"), (b"a", b"2"), (b"b", b"3")]
    assert request.headers == [(b"A", b"1"), (b"c", b"1"), (b"d", b"1")]
    assert plan.adapt is not None
    assert plan.adapt(RESPONSE).headers == [(b"a", b"1")]


def test_upgrades_are_the_rules() -> None:
    plan = Gate(Route("r", ANYBODY, upgrades=("websocket",))).plan()
    assert plan.is_permitted is not None    # asked again while the connection lasts
    assert Gate(Route("r", ANYBODY, upgrades=("websocket",))).plan().upgrades == (b"websocket",)


PIECES = st.sampled_from(["/", "a", "b", "%40", "%61", "@", "%2f", "..", "%25", "?x=/a"])
TARGETS = st.lists(PIECES, max_size=6).map(lambda parts: "/" + "".join(parts))
ROUTES = (
    Route("exact", ANYBODY, matches=(Match(PathMatch("/a@b", "Exact")),), request_headers=HeaderEdit({"rule": "exact"})),
    Route("prefix", ANYBODY, matches=(Match(PathMatch("/a")),), request_headers=HeaderEdit({"rule": "prefix"})),
    Route("rest", ANYBODY),
)


@given(TARGETS)
def test_what_was_judged_is_what_is_sent(target: str) -> None:
    """Unless a rewrite says otherwise, the target that the rules saw goes on byte by byte."""
    try:
        request = get(target)
    except ValueError:
        return
    gate = Gate(*ROUTES)
    plan = gate.plan(request)
    assert gate.sent[0].target == request.target == (plan.request or request).target




def test_times_hold_for_who_has_no_sidecar_too() -> None:
    plan = Gate(Route("r", ANYBODY, request_s=300.0, idle_s=900.0))()
    assert isinstance(plan, Plan)
    assert (plan.request_s, plan.idle_s) == (300.0, 900.0)
