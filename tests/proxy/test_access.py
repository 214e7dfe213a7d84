"""The door of the edge: who is let in, what the application is told of it, and what those who are not let in learn."""

import base64
import hashlib
from functools import partial

import bcrypt
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from trio.testing import MockClock

from sidecar.model.client import Client, ClientCertificate
from sidecar.model.decision import Denied
from sidecar.model.edge import Access, ApiKey, ApiKeys, Basic, BasicUser, ClaimHeader, External
from sidecar.model.reason import Reason
from sidecar.model.route import Caller, Jwt, TokenIssuer
from sidecar.proxy.access import MOST_WRONG, Admitted
from tests.certs.support import JWKS, token
from tests.helpers.clients import ANYBODY, SOURCE, Door, edge_rules, route

ISSUER = TokenIssuer("https://login.example", JWKS.decode())
LOGIN = Jwt(ISSUER.issuer, ("shop",))
KEY = ApiKey(hashlib.sha256(b"k1-secret").hexdigest(), "robot", ("reader",))
ANN = BasicUser("ann", bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode(), ("admin", "staff"))
CERTIFICATE = ClientCertificate("CN=till", "till", (), ("till@example.com",), (), "00" * 32, 4_000_000_000.0, "partners")
TOLD = (ClaimHeader("sub", "x-user"), ClaimHeader("roles", "x-roles"))
USERS = Access(tokens=(LOGIN,), api_keys=ApiKeys((KEY,)), basic=Basic((ANN,), realm="shop"), certificate="partners", claim_headers=TOLD)
OPTIONAL = replace(USERS, is_optional=True)


def login(user: str = "ann", password: str = "secret") -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def bearer(now: float, **changed: object) -> tuple[str, str]:
    claims = {"iss": ISSUER.issuer, "aud": "shop", "exp": now + 600, "sub": "user-1", "roles": ["buyer"]} | changed
    return "authorization", f"Bearer {token(claims)}"


def code(outcome: object) -> str:
    assert isinstance(outcome, Denied)
    return outcome.reason.code


# -- who is let in


async def test_each_way_in_and_what_the_application_is_told(nursery: trio.Nursery) -> None:
    door = Door(nursery, edge_rules(USERS, issuers=(ISSUER,)))
    now = door.gateway.bench.wall
    for field, certificate, told in [
        (bearer(now), None, [(b"x-user", b"user-1"), (b"x-roles", b"buyer")]),
        (("X-Api-Key", "k1-secret"), None, [(b"x-user", b"robot"), (b"x-roles", b"reader")]),
        (login(), None, [(b"x-user", b"ann"), (b"x-roles", b"admin,staff")]),
        (None, CERTIFICATE, [(b"x-user", b"till")]),
    ]:
        given_fields = [field] if field else []
        outcome = await door.ask(*given_fields, ("accept", "a/b"), ("X-User", "root"), ("x-ROLES", "admin"), certificate=certificate)
        assert isinstance(outcome, Admitted)
        assert outcome.permit.rule == "ingress/shop/web"
        assert door.seen == [(b"accept", b"a/b"), *told]
        assert door.record.user == told[0][1].decode()


async def test_only_who_must_wait_waits(nursery: trio.Nursery) -> None:
    """So most requests need no task: for a password once, and for the authorizer."""
    door = Door(nursery, edge_rules(USERS, issuers=(ISSUER,)))
    for field, is_at_once in [(bearer(door.gateway.bench.wall), True), (("x-api-key", "wrong"), True), (login(), False), (login(), True)]:
        await door.ask(field)
        assert door.is_at_once == is_at_once
    door.become(edge_rules(Access(external=External(host="auth.example"))))
    await door.ask()
    assert not door.is_at_once


async def test_credentials_stay_here_unless_the_rule_keeps_them(nursery: trio.Nursery) -> None:
    door = Door(nursery, edge_rules(replace(USERS, keeps_credentials=True)))
    assert isinstance(await door.ask(("x-api-key", "k1-secret")), Admitted)
    assert (b"x-api-key", b"k1-secret") in door.seen


@pytest.mark.parametrize(("headers", "detail", "challenge"), [
    ([], "", 'Bearer realm="bartizan"'),
    ([("x-api-key", "wrong")], "an API key was brought that nobody was given", 'Bearer realm="bartizan"'),
    ([("x-api-key", "")], "an API key", 'Bearer realm="bartizan"'),
    ([login(password="wrong")], "user or password is wrong", 'Basic realm="shop", charset="UTF-8"'),
    ([login("nobody")], "user or password is wrong", 'Basic realm="shop", charset="UTF-8"'),
    ([login("nobody", "secret")], "user or password is wrong", 'Basic realm="shop", charset="UTF-8"'),
    ([("authorization", "Bearer a.b")], "the token: it is no compact JWS", 'error="invalid_token"'),
    ([("authorization", "Negotiate x")], "scheme", 'Basic realm="shop"'),
    ([("x-api-key", "k1-secret"), login()], "in one way", 'ApiKey header="x-api-key"'),
    ([("x-api-key", "k1-secret"), ("X-API-Key", "k1-secret")], "repeats", 'ApiKey header="x-api-key"'),
])
@pytest.mark.parametrize("access", [USERS, OPTIONAL])
async def test_what_is_not_right_lets_nobody_in(
    nursery: trio.Nursery, access: Access, headers: list[tuple[str, str]], detail: str, challenge: str
) -> None:
    """Whoever brings nothing passes where that is optional; whoever brings something wrong never does."""
    door = Door(nursery, edge_rules(access, issuers=(ISSUER,)))
    outcome = await door.ask(*headers)
    if access is OPTIONAL and not headers:
        assert isinstance(outcome, Admitted)
        return
    assert isinstance(outcome, Denied)
    assert (outcome.reason, outcome.rule) == (Reason.NOT_AUTHENTICATED, "ingress/shop/web")
    assert detail in outcome.detail
    assert challenge in "; ".join(outcome.challenges)
    assert door.record.user == ""


async def test_tokens_of_the_wrong_audience_time_or_key(nursery: trio.Nursery) -> None:
    door = Door(nursery, edge_rules(USERS, issuers=(ISSUER,)))
    now = door.gateway.bench.wall
    for changed in ({"aud": "bank"}, {"exp": now - 600}, {"iss": "https://evil.example"}):
        assert code(await door.ask(bearer(now, **changed))) == "BZ0115"
    door.become(edge_rules(USERS))
    assert "no usable keys" in (await door.ask(bearer(now))).detail     # type: ignore[union-attr]


async def test_a_certificate_that_has_ended_says_nothing_any_more(nursery: trio.Nursery) -> None:
    door = Door(nursery, edge_rules(USERS))
    assert code(await door.ask(certificate=replace_end(CERTIFICATE, door.gateway.bench.wall))) == "BZ0115"


def replace_end(certificate: ClientCertificate, at: float) -> ClientCertificate:
    return ClientCertificate(certificate.subject, "till", (), (), (), certificate.fingerprint, at, "partners")


# -- claims and addresses


async def test_claims_decide_and_403_is_said_to_whom_they_do_not_suffice(nursery: trio.Nursery) -> None:
    admins = route(allow=[Caller(claims={"roles": ("admin",)})], deny=(Caller(claims={"sub": ("mallory",)}),))
    door = Door(nursery, edge_rules(USERS, admins, issuers=(ISSUER,)))
    now = door.gateway.bench.wall
    assert isinstance(await door.ask(login()), Admitted)
    assert code(await door.ask(("x-api-key", "k1-secret"))) == "BZ0102"
    assert code(await door.ask(bearer(now, sub="mallory", roles=["admin"]))) == "BZ0110"


async def test_who_said_nothing_is_asked_where_claims_would_help(nursery: trio.Nursery) -> None:
    door = Door(nursery, edge_rules(OPTIONAL, route(allow=[Caller(claims={"roles": ("admin",)})])))
    assert code(await door.ask()) == "BZ0115"


async def test_credentials_are_not_looked_at_from_where_nobody_may_come(nursery: trio.Nursery) -> None:
    inside = Caller(source="10.0.0.0/8", claims={"roles": ("admin",)})
    door = Door(nursery, edge_rules(USERS, route(allow=[inside], deny=(Caller(source="10.6.0.0/16"),))))
    assert code(await door.ask(login(), source="192.0.2.7")) == "BZ0102"
    assert code(await door.ask(login(), source="10.6.0.1")) == "BZ0110"
    assert isinstance(await door.ask(login(), source="10.0.0.1"), Admitted)
    for _ in range(MOST_WRONG + 1):
        assert code(await door.ask(login(password="wrong"), source="192.0.2.7")) == "BZ0102"     # and no guess was made


async def test_what_the_operator_has_not_given_lets_nobody_in(nursery: trio.Nursery) -> None:
    door = Door(nursery, edge_rules(replace(OPTIONAL, unusable="the Secret shop/users is missing")))
    outcome = await door.ask(("x-api-key", "k1-secret"))
    assert isinstance(outcome, Denied)
    assert (outcome.reason.code, outcome.detail) == ("BZ0118", "the Secret shop/users is missing")


# -- what no client may say


@given(st.lists(st.tuples(st.sampled_from(["x-user", "X-User", "X-ROLES", "x-roles", "x-team", "accept"]), st.text("ab,", min_size=1))))
def test_a_clients_field_never_reaches_the_application_under_the_name_of_a_claim(headers: list[tuple[str, str]]) -> None:
    """Neither by a rule that asks for nothing, nor without claims, nor with some."""
    access = replace(OPTIONAL, claim_headers=TOLD)
    other = Access(claim_headers=(ClaimHeader("team", "x-team"),))
    public, private, team = route("public", access=""), route("private"), route("team", access="teams")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for first in (public, private):
                rules = edge_rules(access, first, *(one for one in (public, private, team) if one is not first), teams=other)
                door = Door(nursery, rules)
                for own in ([], [("x-api-key", "k1-secret")]):
                    outcome = await door.ask(*headers, *own)
                    assert isinstance(outcome, Admitted)
                    told = outcome.verified is not None and first is private
                    ours = [(b"x-user", b"robot"), (b"x-roles", b"reader")] if told else []
                    assert [field for field in door.seen if field[0].lower() in (b"x-user", b"x-roles", b"x-team")] == ours
            nursery.cancel_scope.cancel()

    trio.run(main)


# -- guessing


async def test_wrong_passwords_make_their_sender_wait_and_nobody_else(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    door = Door(nursery, edge_rules(USERS))
    assert isinstance(await door.ask(login(), source="2001:db8::7"), Admitted)
    for i in range(MOST_WRONG):
        assert code(await door.ask(login(password=f"guess {i}"), source=f"2001:db8::{i:x}")) == "BZ0115"
    outcome = await door.ask(login("bob"), source="2001:db8::ffff")     # his network is what counts
    assert isinstance(outcome, Denied)
    assert (outcome.reason.code, outcome.detail) == ("BZ0106", "too many wrong passwords came from here; try again in 6 s")
    assert isinstance(await door.ask(login(), source="2001:db8::9"), Admitted)      # who was right a minute ago
    assert isinstance(await door.ask(login(), source="2001:db8:0:1::9"), Admitted)
    assert isinstance(await door.ask(("x-api-key", "k1-secret"), source="2001:db8::9"), Admitted)
    await trio.sleep(6.1)
    assert code(await door.ask(login("bob"), source="2001:db8::9")) == "BZ0115"


async def test_a_flood_of_passwords_is_bounded(nursery: trio.Nursery) -> None:
    slow = replace(ANN, name="slow", hash=bcrypt.hashpw(b"x", bcrypt.gensalt(12)).decode())
    door = Door(nursery, edge_rules(replace(USERS, basic=Basic((slow,)))))
    found: list[str] = []

    async def guess(i: int, source: str) -> None:
        found.append(code(await door.ask(login("slow", f"guess {i}"), source=source)))

    with trio.fail_after(60):
        async with trio.open_nursery() as flood:
            for i in range(10):
                flood.start_soon(guess, i, SOURCE)
            await trio.testing.wait_all_tasks_blocked()
            assert found == ["BZ0106", "BZ0106"]
            for i in range(60):
                flood.start_soon(guess, i, f"198.51.100.{i}")
            await trio.testing.wait_all_tasks_blocked()
            assert found[2:] == ["BZ0107"] * 4
            assert isinstance(await door.ask(("x-api-key", "k1-secret")), Admitted)
            flood.cancel_scope.cancel()


# -- what goes on


async def test_what_was_let_in_goes_on_as_long_as_it_would_be_let_in(nursery: trio.Nursery) -> None:
    door = Door(nursery, edge_rules(USERS, issuers=(ISSUER,)))
    bench, client = door.gateway.bench, Client(SOURCE, "https", 443)
    by_token, by_key = await door.ask(bearer(bench.wall)), await door.ask(("x-api-key", "k1-secret"))
    assert isinstance(by_token, Admitted)
    assert isinstance(by_key, Admitted)
    still = partial(door.clients.still, client=client)
    assert still(by_token)
    assert still(by_key)
    bench.wall += 600
    assert not still(by_token)      # it ends with its token
    assert still(by_key)
    for rules in (
        edge_rules(replace(USERS, api_keys=ApiKeys(()))), edge_rules(replace(USERS, unusable="gone")), edge_rules(USERS, route("other")),
        edge_rules(USERS, route(allow=[Caller(claims={"roles": ("admin",)})])), edge_rules(USERS, route(deny=(ANYBODY,))),
    ):
        door.become(rules)
        assert not still(by_key)


async def test_what_was_let_in_without_a_name_goes_on_while_none_is_needed(nursery: trio.Nursery) -> None:
    door = Door(nursery, edge_rules(OPTIONAL))
    outcome = await door.ask()
    assert isinstance(outcome, Admitted)
    client = Client(SOURCE, "https", 443)
    assert door.clients.still(outcome, client)
    door.become(edge_rules(USERS))
    assert not door.clients.still(outcome, client)
    door.become(edge_rules(Access(external=External(host="auth.example"))))
    assert door.clients.still(outcome, client)
