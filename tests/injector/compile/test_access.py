"""From `authentication` to what the gateway verifies: what cannot be read lets nobody in, is told, and is never told in full."""

import hashlib
from typing import Any

import bcrypt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.cluster import Cluster
from injector.compile.access import CompiledAccess, compile_access, restrictions
from injector.compile.looked import Looked
from injector.documents.access import Authentication, Authorization
from sidecar.model.edge import Access, ApiKey, ApiKeys, BasicUser, ClaimHeader, ClientCertificates, Edge, External, Restriction
from sidecar.model.route import Caller, Jwt
from sidecar.model.service import Backend
from sidecar.model.value import from_json
from tests.certs.support import JWKS
from tests.helpers import pki
from tests.injector.pods import mesh_policy, namespace

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
SHA = hashlib.sha256(b"k1-secret").hexdigest()
SHA_2 = hashlib.sha256(b"k2-secret").hexdigest()
ROOTS = pki.pem([pki.authority("clients").certificate])
ISSUER = "https://login.example"
TRUSTS = mesh_policy(tokenIssuers=[{"issuer": ISSUER, "jwks": JWKS.decode()}])


def secret(name: str = "it", space: str = "shop", **texts: str) -> dict[str, Any]:
    return {"kind": "Secret", "metadata": {"name": name, "namespace": space}, "stringData": texts}


def compiled(said: dict[str, Any], *objects: dict[str, Any]) -> CompiledAccess:
    cluster = Cluster.of([namespace(), *objects])
    assert not cluster.problems
    found = compile_access(Looked(cluster), "shop", msgspec.convert(said, Authentication), {})
    edge = Edge(access={"it": found.access}, issuers=found.issuers)
    assert from_json(msgspec.json.encode(edge), Edge) == edge        # as the gateway takes it
    return found


def told(said: dict[str, Any], *objects: dict[str, Any]) -> tuple[Access, str]:
    """What it comes to, and all that is said of it."""
    found = compiled(said, *objects)
    return found.access, "\n".join(found.problems)


# -- API keys

KEYS = {"apiKeys": {"secret": "it"}}


def test_api_keys() -> None:
    access, problems = told(KEYS, secret(robot=SHA, till=f"{SHA_2}  roles=reader,writer\n"))
    assert access == Access(api_keys=ApiKeys((ApiKey(SHA, "robot"), ApiKey(SHA_2, "till", ("reader", "writer")))))
    assert problems == ""


@pytest.mark.parametrize("value", ["k1-secret", "", SHA.upper(), SHA[:-1], f"{SHA} admin", f"{SHA} roles=", f"{SHA}\n{SHA_2}", f"x {SHA}"])
def test_a_key_that_is_no_hash_is_refused_and_not_repeated(value: str) -> None:
    access, problems = told(KEYS, secret(robot=value, till=SHA_2))
    assert access.api_keys == ApiKeys((ApiKey(SHA_2, "till"),))
    assert "'robot' counts for nothing" in problems
    assert "sha256sum" in problems
    assert not value or value not in problems
    assert not access.unusable


def test_two_names_of_one_key() -> None:
    access, problems = told(KEYS, secret(a=SHA, b=SHA))
    assert access.unusable == "the Secret shop/it: a and b are the same key; whose it is cannot be told"
    assert "nobody is let in" in problems


# -- user and password

BASIC = {"basic": {"secret": "it"}}


def test_users() -> None:
    lines = f"# staff\nann:{HASH}\n\nbob:$2y${HASH[4:]}\n"
    access, problems = told(BASIC, secret(auth=lines, roles="ann: admin, staff\nnobody: x\n"))
    assert access.basic is not None
    assert access.basic.users == (BasicUser("ann", HASH, ("admin", "staff")), BasicUser("bob", f"$2y${HASH[4:]}"))
    assert problems == ""


@pytest.mark.parametrize("stored", [
    "$apr1$abc$def", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "secret", "$6$abc$def", "abJnggxhB/yWI", "", "$2y$04$short", f"$2y$31${HASH[7:]}",
])
def test_a_password_that_is_guessed_fast_lets_nobody_in(stored: str) -> None:
    access, problems = told(BASIC, secret(auth=f"ann:{stored}\nbob:{HASH}"))
    assert access.basic is not None
    assert [user.name for user in access.basic.users] == ["bob"]
    assert "'ann' does not get in" in problems
    assert not stored or stored not in problems


def test_lines_that_are_none_and_users_that_are_there_twice() -> None:
    access, problems = told(BASIC, secret(auth=f"ann:{HASH}\nwhat is this\nann:{HASH}\n:{HASH}"))
    assert access.basic is not None
    assert [user.name for user in access.basic.users] == ["ann"]
    for part in ("line 2 of `auth`", "line 4 of `auth`", "'ann' is there twice; the first counts"):
        assert part in problems


@given(st.text(st.characters(codec="ascii"), max_size=80))
def test_any_text_is_a_value_that_the_gateway_takes(text: str) -> None:
    compiled(BASIC, secret(auth=text, roles=text))
    compiled(KEYS, secret(robot=text))


# -- client certificates


def test_client_certificates() -> None:
    found = compiled({"clientCertificate": {"secret": "it"}}, secret(**{"ca.crt": ROOTS}))
    assert found.access == Access(certificate="shop/it")
    assert found.clients == ClientCertificates(ROOTS, True, "shop/it")
    found = compiled({"clientCertificate": {"secret": "it", "mode": "optional"}, "optional": True}, secret(**{"ca.crt": ROOTS}))
    assert found.clients == ClientCertificates(ROOTS, False, "shop/it")


# -- tokens


def test_tokens_of_issuers_that_the_mesh_names() -> None:
    found = compiled({"jwt": {"issuer": ISSUER, "audiences": ["shop"]}, "claimHeaders": {"x-user": "sub"}, "keepCredentials": True}, TRUSTS)
    assert found.access == Access(tokens=(Jwt(ISSUER, ("shop",)),), claim_headers=(ClaimHeader("sub", "x-user"),), keeps_credentials=True)
    assert [issuer.issuer for issuer in found.issuers] == [ISSUER]
    assert found.problems == ()


def test_tokens_of_nobody_that_the_mesh_knows() -> None:
    access, problems = told({"jwt": [{"issuer": "https://other.example", "audiences": ["shop"]}]}, TRUSTS)
    assert "no MeshPolicy" in access.unusable
    assert "nobody is let in" in problems
    fetched = mesh_policy(tokenIssuers=[{"issuer": ISSUER, "jwksUri": "https://login.example/keys"}])
    access, _ = told({"jwt": {"issuer": ISSUER, "audiences": ["shop"]}}, fetched)
    assert access.unusable == f"the keys of the token issuer {ISSUER} are not here yet"


# -- what is not there


@pytest.mark.parametrize("said", [KEYS, BASIC, {"clientCertificate": {"secret": "it"}}])
@pytest.mark.parametrize("there", [None, {}, {"other": "x"}, {"auth": "", "ca.crt": "no PEM"}])
def test_what_is_missing_lets_nobody_in(said: dict[str, Any], there: dict[str, str] | None) -> None:
    found = compiled({**said, "optional": True}, *([secret(**there)] if there is not None else []))
    assert found.access.unusable.startswith("the Secret shop/it")
    assert any("nobody is let in" in problem for problem in found.problems)
    assert found.clients is None


def test_a_secret_of_another_namespace_is_nobodys() -> None:
    assert "is missing" in told(KEYS, secret(space="bank", robot=SHA))[0].unusable


# -- the rest


def test_the_authorizer() -> None:
    access, _ = told({"external": {"service": "auth", "port": 8080, "prefix": "/check", "takes": ["x-user"], "within": "500ms"}})
    assert access.external == External(Backend("auth.shop", 8080), None, 8080, "/check", takes=("x-user",), within_s=0.5)
    access, _ = told({"external": {"host": "auth.example"}})
    assert access.external == External(host="auth.example")


def test_who_may_make_which_requests() -> None:
    entries = [
        {"paths": ["/admin"], "methods": ["GET"], "allow": [{"roles": ["admin"], "claims": {"tenant": ["a"]}, "source": "10.0.0.0/8"}]},
        {"deny": [{"claims": {"sub": ["mallory"]}}]}, {"paths": ["/closed"], "allow": []}, {"allow": [{}]},
    ]
    assert restrictions(msgspec.convert(entries, tuple[Authorization, ...])) == (
        Restriction(("/admin",), ("GET",), (Caller(source="10.0.0.0/8", claims={"tenant": ("a",), "roles": ("admin",)}),)),
        Restriction(deny=(Caller(claims={"sub": ("mallory",)}),)), Restriction(("/closed",), allow=()), Restriction(allow=(Caller(),)),
    )
