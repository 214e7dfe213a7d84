"""Credentials of clients: no bytes but those that the operator gave make claims, and what an application is told only we say."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sidecar.model.client import ClientCertificate
from sidecar.model.edge import Access, ApiKey, ApiKeys, Basic, BasicUser, ClaimHeader, External
from sidecar.model.message import Headers
from sidecar.model.route import Jwt
from sidecar.policy.credentials import (
    Brought,
    Verified,
    brought,
    challenges,
    claim_headers,
    credential_fields,
    has_ways,
    holds,
    of_certificate,
    of_token,
    of_user,
    read_basic,
    stand_in,
    tokens_in,
    user_named,
    verify_key,
)

KEY = ApiKey(hashlib.sha256(b"k1-secret").hexdigest(), "robot", ("reader",))
ANN = BasicUser("ann", "$2b$04$" + "." * 53, ("admin", "staff"))
BOB = BasicUser("bob", "$2b$04$" + "/" * 53)
LOGIN, OTHER = Jwt("https://login.example", ("shop",)), Jwt("https://other.example", ("shop",), header="x-token")
CERTIFICATE = ClientCertificate("CN=till", "till", ("till.example",), (), ("urn:till",), "00" * 32, 2_000.0, "partners")
ALL = Access(tokens=(LOGIN, OTHER), api_keys=ApiKeys((KEY,)), basic=Basic((ANN, BOB)), certificate="partners")


def basic(whole: bytes) -> bytes:
    return b"Basic " + base64.b64encode(whole)


# -- which way


@pytest.mark.parametrize(("headers", "certificate", "expected"), [
    ([(b"Authorization", b"Bearer a.b.c")], None, Brought("token", b"authorization", b"Bearer a.b.c")),
    ([(b"authorization", b"bearer a.b.c")], None, Brought("token", b"authorization", b"bearer a.b.c")),
    ([(b"X-Token", b"a.b.c")], None, Brought("token", b"x-token", b"a.b.c")),
    ([(b"X-API-Key", b"k")], None, Brought("apiKey", b"x-api-key", b"k")),
    ([(b"authorization", b"BASIC eA==")], None, Brought("basic", b"authorization", b"BASIC eA==")),
    ([], CERTIFICATE, Brought("certificate")),
    ([(b"cookie", b"x-api-key=k")], None, None),
])
def test_the_one_way_that_a_request_brings(headers: Headers, certificate: ClientCertificate | None, expected: Brought | None) -> None:
    assert brought(ALL, headers, certificate) == expected


@pytest.mark.parametrize(("headers", "certificate", "why"), [
    ([(b"authorization", b"Bearer a"), (b"x-api-key", b"k")], None, "a bearer token and an API key"),
    ([(b"authorization", b"Bearer a"), (b"x-token", b"k")], None, "in one way"),
    ([(b"x-api-key", b"k")], CERTIFICATE, "an API key and a client certificate"),
    ([(b"x-api-key", b"k"), (b"X-Api-Key", b"k")], None, "x-api-key repeats"),
    ([(b"authorization", b"Basic eA=="), (b"Authorization", b"Bearer a")], None, "authorization repeats"),
    ([(b"authorization", b"Digest x")], None, "scheme"),
    ([(b"authorization", b"k1-secret")], None, "scheme"),
])
def test_what_cannot_be_one_way_is_refused(headers: Headers, certificate: ClientCertificate | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        brought(ALL, headers, certificate)


def test_ways_that_are_not_asked_for_are_none() -> None:
    keys = Access(api_keys=ApiKeys((KEY,)))
    assert brought(keys, [(b"authorization", b"Basic eA==")], CERTIFICATE) is None
    assert credential_fields(keys) == {b"x-api-key"}
    assert credential_fields(ALL) == {b"x-api-key", b"authorization", b"x-token"}
    assert tokens_in(ALL, b"x-token") == (OTHER,)
    assert has_ways(keys)
    assert not has_ways(Access(external=External(host="auth.example")))


def test_a_certificate_of_another_authority_is_none() -> None:
    """Of one host several objects speak; what one's authority signs claims nothing of another's."""
    for authority in ("", "others"):
        assert brought(ALL, [], replace(CERTIFICATE, authority=authority)) is None
        assert not holds(of_certificate(replace(CERTIFICATE, authority=authority)), ALL, 0.0)
    assert brought(Access(basic=ALL.basic), [], replace(CERTIFICATE, authority="")) is None


# -- claims


def test_an_api_key_is_known_by_its_hash() -> None:
    assert verify_key(ApiKeys((KEY,)), b"k1-secret") == Verified({"sub": "robot", "roles": ["reader"]}, KEY)
    assert verify_key(ApiKeys((KEY,)), b"k1-secreT") is None
    assert verify_key(ApiKeys((KEY,)), KEY.sha256.encode()) is None
    assert verify_key(ApiKeys(()), b"") is None


@given(st.binary(max_size=64))
def test_no_other_bytes_are_a_key(value: bytes) -> None:
    """No credentials that were not verified ever give a claim."""
    assert verify_key(ApiKeys((KEY,)), value) is None or value == b"k1-secret"


@pytest.mark.parametrize(("value", "expected"), [
    (basic(b"ann:secret"), ("ann", b"secret")),
    (basic(b"ann:a:b"), ("ann", b"a:b")),
    (basic("jörg:ü".encode()), ("jörg", "ü".encode())),
    (basic(b":"), ("", b"")),
])
def test_user_and_password(value: bytes, expected: tuple[str, bytes]) -> None:
    assert read_basic(value) == expected


@pytest.mark.parametrize("value", [
    b"Basic", b"Basic ", b"Basic !!!!", b"Basic YQ", basic(b"ann"), basic(b"ann:a\0b"), basic(b"an\nn:x"), basic(b"\xff:x"),
    basic(b"ann:" + b"x" * 2000), b"Basic YW5u\tOng=",
])
def test_what_is_no_user_and_password(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"Authorization|longer"):
        read_basic(value)


def test_an_unknown_user_stands_behind_the_same_known_one_each_time() -> None:
    users = Basic((ANN, BOB))
    assert user_named(users, "ann") is ANN
    assert user_named(users, "Ann") is None
    assert {stand_in(users, f"nobody-{i}") for i in range(64)} == {ANN, BOB}
    assert stand_in(users, "nobody") is stand_in(users, "nobody")


def test_the_claims_of_users_tokens_and_certificates() -> None:
    assert of_user(ANN).claims == {"sub": "ann", "roles": ["admin", "staff"]}
    assert of_token({"sub": "x", "exp": 99}, LOGIN) == Verified({"sub": "x", "exp": 99}, LOGIN, 99.0)
    assert of_token({"exp": 10**400}, LOGIN).ends > 10**300     # more than a float holds, and a time all the same
    assert of_certificate(CERTIFICATE).claims == {"sub": "till", "dns": ["till.example"], "uri": ["urn:till"]}


def test_what_was_verified_holds_as_long_as_it_is_asked_for() -> None:
    for one in (verify_key(ApiKeys((KEY,)), b"k1-secret"), of_user(BOB), of_token({"exp": 2_000}, LOGIN), of_certificate(CERTIFICATE)):
        assert one is not None
        assert holds(one, ALL, 1_999.0)
        assert not holds(one, Access(), 1_999.0)
        assert not holds(one, Access(tokens=(OTHER,), api_keys=ApiKeys(()), basic=Basic((ANN,))), 1_999.0)
    assert not holds(of_token({"exp": 2_000}, LOGIN), ALL, 2_000.0)
    assert not holds(of_certificate(CERTIFICATE), ALL, 2_000.0)
    assert not holds(of_user(BOB), Access(basic=Basic((BOB,)), unusable="gone"), 0.0)


# -- what is told


WANTED = (ClaimHeader("sub", "X-User"), ClaimHeader("roles", "x-roles"))


@pytest.mark.parametrize(("claims", "expected"), [
    ({"sub": "ann", "roles": ["a", "b"]}, [(b"x-user", b"ann"), (b"x-roles", b"a,b")]),
    ({"sub": 7, "roles": True}, [(b"x-user", b"7"), (b"x-roles", b"true")]),
    ({"sub": "a\r\nx-roles: admin"}, []),
    ({"sub": "jörg"}, []),
    ({"sub": " ann"}, []),
    ({"sub": ""}, []),
    ({"sub": {"a": 1}, "roles": [["a"]]}, []),
    ({"roles": ["reader", "x,admin"]}, []),
    ({"roles": ["a" * 5000]}, []),
    ({"roles": []}, []),
    (None, []),
])
def test_claims_are_told_exactly_or_not_at_all(claims: dict[str, object] | None, expected: Headers) -> None:
    assert claim_headers(WANTED, claims) == expected


def test_the_challenges() -> None:
    assert challenges(ALL, 'the token: it "expired"\n') == (
        'Bearer realm="bartizan", error="invalid_token", error_description="the token: it \'expired\'\'"',
        'Basic realm="bartizan", charset="UTF-8"', 'ApiKey header="x-api-key"', "ClientCertificate",
    )
    assert challenges(Access(tokens=(LOGIN,))) == ('Bearer realm="bartizan"',)
