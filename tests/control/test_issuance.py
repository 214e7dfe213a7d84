"""Asking once: what is sent, and what of the answers is taken."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from sidecar.control.issuance import Holder, NotEntitled, Obtained, obtain
from sidecar.model.address import Address
from sidecar.model.call import Answer, Call
from sidecar.model.config import IssuedIdentity
from sidecar.model.errors import ConfigError, ConnectFailed, MeshError
from tests.helpers.endpoint import HOST, URL, endpoint
from tests.helpers.mesh import root
from tests.helpers.pki import WEB
from tests.helpers.runtime import FakeDialer

from .agent.support import issued

Ask = Callable[..., Awaitable[Obtained]]


@pytest.fixture
def ask(nursery: trio.Nursery, tmp_path: Path) -> Ask:
    async def ask(answer: Callable[[Call], Answer], holder: Holder = "sidecar", authority: str = "root") -> Obtained:
        (tmp_path / "token").write_text("the-token\n")
        dialer = FakeDialer(nursery)
        dialer.servers[Address(HOST, 8443)] = endpoint(answer, authority=authority)
        return await obtain(IssuedIdentity(URL, str(tmp_path / "token"), "unused"), [root().certificate], dialer, holder)

    return ask


@pytest.mark.parametrize(("holder", "unit", "body"), [
    ("sidecar", "", {"csr"}), ("application", "application", {"csr", "holder"}),
])
async def test_a_certificate_for_a_fresh_key_and_its_holder(
    autojump_clock: MockClock, ask: Ask, holder: Holder, unit: str, body: set[str]
) -> None:
    asked: list[Call] = []

    def answer(call: Call) -> Answer:
        asked.append(call)
        return issued(call, holder=unit)

    one, other = await ask(answer, holder), await ask(answer, holder)
    assert one.credentials.identity == WEB
    assert one.credentials.key.public_key() != other.credentials.key.public_key()
    assert [set(json.loads(call.body)) for call in asked] == [body, body]
    assert asked[0].headers["authorization"] == "Bearer the-token"


@pytest.mark.parametrize(("holder", "unit"), [("sidecar", "application"), ("application", ""), ("application", "somebody")])
async def test_a_certificate_that_names_another_holder_is_refused(autojump_clock: MockClock, ask: Ask, holder: Holder, unit: str) -> None:
    with pytest.raises(ConfigError, match="asked for was one held by"):
        await ask(lambda call: issued(call, holder=unit), holder)


@pytest.mark.parametrize(("status", "is_no"), [(401, True), (403, True), (400, False), (429, False), (503, False)])
async def test_a_no_is_told_from_a_failure(autojump_clock: MockClock, ask: Ask, status: int, is_no: bool) -> None:
    with pytest.raises(ConnectFailed, match=f"answered {status}: why") as caught:
        await ask(lambda _: Answer(status, b"why"))
    assert isinstance(caught.value, NotEntitled) == is_no


async def test_the_token_goes_to_a_verified_issuer_only(autojump_clock: MockClock, ask: Ask) -> None:
    asked: list[Call] = []
    with pytest.raises(MeshError):
        await ask(lambda call: asked.append(call) or issued(call), authority="stranger")
    assert asked == []
