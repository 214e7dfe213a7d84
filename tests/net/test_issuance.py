"""Asking for a certificate: what is sent, and what of an answer is not taken."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from trio.testing import MockClock

from sidecar.model.address import Address
from sidecar.model.call import Answer, Call
from sidecar.model.errors import MeshError, NotVerified
from sidecar.model.trust import Trust
from sidecar.net.issuance import Issued, NotEntitled, ask_issuer
from tests.helpers import pki
from tests.helpers.endpoint import HOST, URL, endpoint
from tests.helpers.mesh import root
from tests.helpers.runtime import FakeDialer

TRUST = Trust(3, pki.pem([root().certificate]))


def answered(call: Call, key: ec.EllipticCurvePrivateKey | None = None, **changed: Any) -> Answer:
    """An issuer's, for the key that was asked for, or for another."""
    names = [pki.host("injector.svc")]
    holder = pki.issue(root(), *names, key=key or PublicOnly(request_of(call)))      # type: ignore[arg-type]
    trust = {"version": TRUST.version, "roots": TRUST.roots}
    body = {"chain": [pki.pem([holder.certificate])], "trust": trust, "notAfter": 2e9, "now": 1.8e9} | changed
    return Answer(200, json.dumps(body).encode())


def request_of(call: Call) -> x509.CertificateSigningRequest:
    request = x509.load_pem_x509_csr(json.loads(call.body)["csr"].encode())
    assert request.is_signature_valid
    return request


class PublicOnly:
    """What a request tells of a key."""

    def __init__(self, request: x509.CertificateSigningRequest) -> None:
        self._key = request.public_key()

    def public_key(self) -> object:
        return self._key


async def ask(
    nursery: trio.Nursery, handle: Callable[[Call], Answer], authority: str = "root", asked: dict[str, str] | None = None
) -> Issued:
    dialer = FakeDialer(nursery)
    dialer.servers[Address(HOST, 8443)] = endpoint(handle, authority=authority)
    return await ask_issuer(dialer, URL + "/v1/https", b"the-token\n", [root().certificate], asked or {})


async def test_what_is_asked_and_what_is_got(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    calls: list[Call] = []

    def handle(call: Call) -> Answer:
        calls.append(call)
        return answered(call)

    one, two = [await ask(nursery, handle, asked={"holder": "application"}) for _ in range(2)]
    assert one.chain[0].public_key() == one.key.public_key() != two.key.public_key()
    assert isinstance(one.key.curve, ec.SECP256R1)
    assert (one.trust, one.not_after, one.now) == (TRUST, 2e9, 1.8e9)
    call = calls[0]
    assert (call.method, call.path, call.headers["authorization"]) == ("POST", "/v1/https", "Bearer the-token")
    assert json.loads(call.body).keys() == {"csr", "holder"}
    assert b"PRIVATE" not in call.body


@pytest.mark.parametrize("answer", [
    lambda call: Answer(401, b"no"),
    lambda call: Answer(200, b""), lambda call: Answer(200, b"[]"), lambda call: Answer(200, b'{"more": ' + b"[" * 100_000),
    lambda call: answered(call, chain=[]), lambda call: answered(call, chain=["x"]), lambda call: answered(call, trust={}),
    lambda call: answered(call, notAfter="soon"), lambda call: answered(call, ec.generate_private_key(ec.SECP256R1())),
])
async def test_what_is_no_answer(
    answer: Callable[[Call], Answer], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    with pytest.raises(MeshError):
        await ask(nursery, answer)


async def test_what_the_issuer_said_instead_is_told(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    with pytest.raises(NotEntitled, match="answered 401: why"):
        await ask(nursery, lambda call: Answer(401, b"why"))


async def test_who_is_not_the_issuer_does_not_hear_the_token(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    calls: list[Call] = []

    def handle(call: Call) -> Answer:
        calls.append(call)
        return answered(call)

    with pytest.raises(NotVerified):
        await ask(nursery, handle, "another root")
    assert calls == []
