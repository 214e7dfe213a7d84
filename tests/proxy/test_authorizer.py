"""The authorizer: what it is shown, what becomes of its answer, and that nobody is let in without one."""

import hashlib
import re
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from sidecar.model.address import Address
from sidecar.model.decision import Denied
from sidecar.model.edge import Access, ApiKey, ApiKeys, ClaimHeader, External
from sidecar.model.egress import EgressHost, Origination, Outbound
from sidecar.model.route import Route
from sidecar.model.service import Backend
from sidecar.model.snapshot import Inbound
from sidecar.proxy.access import Admitted
from sidecar.proxy.authorizer import MOST_BODY_BYTES
from sidecar.proxy.plan import Reply
from tests.helpers import pki
from tests.helpers.clients import Door, edge_rules
from tests.helpers.leave import https, partner
from tests.helpers.mesh import http_app, root, sidecar
from tests.helpers.runtime import Serve
from tests.helpers.services import A, address, hang, orders

HOST = "auth.example"
SERVER = Address("203.0.113.80", 443)
ROOTS = pki.pem([root("public").certificate])
KEY = ApiKey("0" * 64, "robot")
OUTSIDE = External(host=HOST, sends=("cookie", "Authorization"), takes=("X-User", "x-team"), prefix="/check")
MESH = External(service=Backend("orders.shop", 80), takes=("X-User",))


def says(status: str, *fields: str, body: str = "") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *fields, f"content-length: {len(body)}", "", body)).encode()


LET_IN = says("200 OK", "x-user: ann", "X-Team: red", "x-other: no")


def approved(*, tls: bool = True) -> Outbound:
    settings = Origination(roots=ROOTS) if tls else None
    return Outbound(hosts=(EgressHost(HOST, "partners/auth", tls=settings),), resolvers=("10.96.0.10",))


def outside(
    nursery: trio.Nursery, answer: bytes = LET_IN, external: External = OUTSIDE, outbound: Outbound | None = None, **access: Any
) -> tuple[Door, list[bytes]]:
    """The door, with an authorizer outside of the mesh; what that is asked."""
    door = Door(nursery, edge_rules(Access(external=external, **access), outbound=outbound or approved()))
    seen: list[bytes] = []
    plays(door, https(partner(HOST), http_app(seen, answer)))
    return door, seen


def plays(door: Door, server: Serve) -> None:
    door.gateway.resolver.names[HOST] = (SERVER.host,)
    door.gateway.bench.dialer.servers[SERVER] = server


def in_mesh(nursery: trio.Nursery, answer: bytes = LET_IN) -> tuple[Door, list[bytes]]:
    door, seen = Door(nursery, edge_rules(Access(external=MESH), outbound=Outbound((orders(A),)))), list[bytes]()
    door.gateway.bench.dialer.servers[address(A)] = sidecar(nursery, http_app(seen, answer), at=address(A))[1]
    return door, seen


def denied(outcome: object) -> str:
    assert isinstance(outcome, Denied), outcome
    return f"{outcome.reason.code} {outcome.detail}"


# -- what it is asked


async def test_what_it_is_shown_and_what_the_application_gets(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    door, seen = outside(nursery)
    outcome = await door.ask(
        ("Cookie", "s=1"), ("X-User", "root"), ("x-secret", "no"), ("content-type", "a/b"), method="POST", target="/a?b=1", port=8443,
    )
    assert isinstance(outcome, Admitted)
    assert seen == [
        b"POST /check/a?b=1 HTTP/1.1\r\nhost: auth.example\r\nCookie: s=1\r\nx-forwarded-method: POST\r\nx-forwarded-uri: /a?b=1\r\n"
        b"x-forwarded-host: www.example.com:8443\r\nx-forwarded-proto: https\r\nx-forwarded-for: 192.0.2.7\r\ncontent-length: 0",
    ]
    assert door.seen == [
        (b"Cookie", b"s=1"), (b"x-secret", b"no"), (b"content-type", b"a/b"), (b"x-user", b"ann"), (b"x-team", b"red"),
    ]


async def test_each_question_is_an_exchange_in_log_and_ledger(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    door, _ = outside(nursery)
    for _ in range(2):
        assert isinstance(await door.ask(), Admitted)
    bench = door.gateway.bench
    assert [(line["direction"], line["host"], line["rule"], line["security"], line["status"], line["request_id"]) for line in bench.lines] \
        == [("outbound", HOST, "partners/auth", "tls", 200, "an-id")] * 2
    assert len(bench.dialer.dialled) == 1       # the connection lasts


async def test_it_is_told_of_claims_and_not_of_what_the_client_says_in_their_place(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    key = ApiKey(hashlib.sha256(b"k").hexdigest(), "robot")
    shows = External(host=HOST, sends=("x-who", "x-api-key"))
    door, seen = outside(nursery, external=shows, api_keys=ApiKeys((key,)), claim_headers=(ClaimHeader("sub", "x-who"),))
    assert isinstance(await door.ask(("x-who", "root"), ("x-api-key", "k")), Admitted)
    assert b"\r\nx-api-key: k\r\nx-who: robot\r\nx-forwarded-method" in seen[0]
    assert b"root" not in seen[0]


async def test_it_is_not_asked_about_whom_the_rule_refuses(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    door, seen = outside(nursery, api_keys=ApiKeys((KEY,)))
    assert denied(await door.ask(("x-api-key", "wrong"))).startswith("BZ0115")
    assert seen == []


async def test_an_authorizer_in_the_mesh(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    door, seen = in_mesh(nursery)
    assert isinstance(await door.ask(("cookie", "s=1")), Admitted)
    assert door.seen == [(b"cookie", b"s=1"), (b"x-user", b"ann")]
    assert seen[0].startswith(b"GET /a?b=1 HTTP/1.1\r\nhost: orders.shop\r\n")
    assert b"\r\ncookie: s=1\r\n" in seen[0]
    assert door.gateway.bench.lines[0]["security"] == "mtls"


async def test_what_the_sidecar_before_it_says_is_no_verdict(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    door, seen = in_mesh(nursery)
    nobody = Inbound(routes=(Route("nobody", ()),))
    door.gateway.bench.dialer.servers[address(A)] = sidecar(nursery, http_app(seen, LET_IN), nobody, at=address(A))[1]
    assert denied(await door.ask()) == "BZ0117 orders.shop:80: BZ0102 identity-not-allowed said by the upstream's sidecar"
    assert seen == []


# -- what it answers


@pytest.mark.parametrize(("status", "fields", "body"), [
    ("401 Unauthorized", ("www-authenticate: Basic realm=\"x\"",), "who are you?"),
    ("403 Forbidden", ("content-type: text/html",), "<p>no</p>"),
    ("302 Found", ("location: https://auth.example/login", "set-cookie: a=1; Secure", "set-cookie: b=2"), ""),
    ("429 Too Many Requests", ("retry-after: 7",), "slow down"),
])
async def test_what_it_refuses_with_the_client_is_told(
    nursery: trio.Nursery, autojump_clock: MockClock, status: str, fields: tuple[str, ...], body: str
) -> None:
    door, _ = outside(nursery, says(status, *fields, "x-user: ann", "server: x", "x-bartizan-reason: BZ0102 x", body=body))
    outcome = await door.ask()
    assert isinstance(outcome, Reply)
    assert outcome.denied is not None
    assert outcome.denied.reason.code == "BZ0116"
    assert (f"{outcome.response.status} {outcome.response.phrase.decode()}", outcome.body.decode()) == (status, body)
    expected = [tuple(part.encode() for part in field.split(": ", 1)) for field in fields]
    assert outcome.response.headers == [
        *expected, (b"x-bartizan-reason", b"BZ0116 refused-by-authorizer"), (b"x-bartizan-rule", b"ingress/shop/web"),
    ]


async def test_grpc_is_told_in_its_own_words(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    door, _ = outside(nursery, says("403 Forbidden"))
    assert denied(await door.ask(("content-type", "application/grpc"), method="POST")) == "BZ0116 it answered 403"


@pytest.mark.parametrize(("answer", "why"), [
    (says("500 Internal Server Error"), "answered 500"),
    (says("503 Service Unavailable"), "answered 503"),
    (says("304 Not Modified"), "answered 304"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", "no whole answer within 2 s"),
    (b"HTTP/1.1 200 OK\r\n", "no whole answer within 2 s"),
    (b"HTTP/9 200 OK\r\n\r\n", ""),
    (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", ""),
    (says("200 OK", body="x" * (MOST_BODY_BYTES + 1)), "longer than"),
    (says("403 Forbidden", body="x" * (MOST_BODY_BYTES + 1)), "longer than"),
])
async def test_nobody_is_let_in_by_what_is_no_verdict(nursery: trio.Nursery, autojump_clock: MockClock, answer: bytes, why: str) -> None:
    door, seen = outside(nursery, answer)
    told = denied(await door.ask())
    assert told.startswith("BZ0117 auth.example:80: ")
    assert why in told
    assert len(seen) == 1


@given(st.one_of(st.binary(max_size=200), st.integers(100, 599).map(lambda n: says(f"{n} X", body="b"))))
def test_what_it_does_not_answer_with_2xx_reaches_nobody(answer: bytes) -> None:
    """Any bytes: only a whole answer of 200 to 299 lets a request in."""
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            door, _ = outside(nursery, answer)
            outcome = await door.ask()
            is_said = re.match(rb"HTTP/1\.[01] 2[0-9][0-9]\b.*?\r\n\r\n", answer, re.DOTALL) is not None     # arbitrary bytes may, too
            is_ours = is_said and answer.endswith(b"\r\ncontent-length: 1\r\n\r\nb") and answer[9:12] not in (b"204", b"205")
            assert is_ours <= isinstance(outcome, Admitted) <= is_said
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


# -- whether it is reached


async def test_silence_takes_its_time_and_no_more(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    door, _ = outside(nursery)
    plays(door, hang)
    assert denied(await door.ask()) == "BZ0117 auth.example:80: no whole answer within 2 s"
    assert trio.current_time() == 2.0
    assert len(door.gateway.bench.lines) == 1


@pytest.mark.parametrize(("outbound", "why"), [
    (Outbound(), "auth.example is not approved for this workload"),
    (approved(tls=False), "approved without TLS"),
    (Outbound(mode="observe", observe_until=4e9), "approved without TLS"),
])
async def test_what_is_not_approved_with_tls_is_not_asked(
    nursery: trio.Nursery, autojump_clock: MockClock, outbound: Outbound, why: str
) -> None:
    door, seen = outside(nursery, outbound=outbound)
    told = denied(await door.ask(("cookie", "s=1")))
    assert told.startswith("BZ0117")
    assert why in told
    assert (seen, door.gateway.bench.dialer.dialled) == ([], [])


async def test_another_certificate_is_told_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    door, seen = outside(nursery)
    plays(door, https(partner("evil.example"), http_app(seen, LET_IN)))
    assert denied(await door.ask()).startswith("BZ0117")
    assert seen == []


async def test_a_service_that_is_none(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    door = Door(nursery, edge_rules(Access(external=MESH)))
    assert denied(await door.ask()) == "BZ0117 orders.shop:80: BZ0404 no-endpoint orders.shop:80 is no Service of the mesh"
