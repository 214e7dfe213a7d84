import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding

from injector.cluster import Cluster
from injector.documents import TokenIssuer
from injector.jwks import REFRESH_S, RETRY_S, JwksWatch, fetch_keys, fetched_issuers, permitted
from sidecar.model.call import Answer, Call
from sidecar.model.errors import BadResponse, ConfigError, ConnectFailed, MeshError, NotVerified
from sidecar.net.service import serve_https
from sidecar.net.watched import Watched
from tests.helpers import pki
from tests.injector.pods import mesh_policy

ROOT, OTHER_ROOT = pki.authority("root"), pki.authority("other root")
HOST = pki.issue(ROOT, pki.host("127.0.0.1"))
OKP = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
KEYS = json.dumps({"keys": [OKP]}, separators=(",", ":"))
ISSUER = TokenIssuer("https://a", jwks_uri="https://a.example/keys")


def _cluster(*names: str) -> Cluster:
    return Cluster.of([mesh_policy(name, tokenIssuers=[
        {"issuer": f"https://{name}", "jwksUri": f"https://{name}.example/keys"}, {"issuer": "https://here", "jwks": KEYS},
    ]) for name in names])


# -- when


class Host:
    """Notes when it was asked, and answers in turn; what is no text fails."""

    def __init__(self, *answers: str | None) -> None:
        self.asked: list[tuple[str, float]] = []
        self._answers = list(answers)

    async def fetch(self, issuer: TokenIssuer) -> str:
        self.asked.append((issuer.issuer, trio.current_time()))
        answer = self._answers.pop(0) if self._answers else "keys"
        if answer is None:
            raise ConnectFailed("nobody there")
        if answer == "never":
            await trio.sleep_forever()
        return answer


async def test_keys_are_fetched_again_and_the_last_good_kept(autojump_clock: trio.testing.MockClock) -> None:
    host = Host("one", None, "two")
    watch = JwksWatch(Watched(_cluster("a")), host.fetch)
    seen: list[tuple[float, str]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        keys = watch.keys.current
        while trio.current_time() < REFRESH_S + RETRY_S:
            keys = await watch.keys.wait_change(keys)
            seen.append((trio.current_time(), keys[ISSUER]))
        nursery.cancel_scope.cancel()
    assert seen == [(0, "one"), (REFRESH_S + RETRY_S, "two")]
    assert host.asked == [("https://a", 0), ("https://a", REFRESH_S), ("https://a", REFRESH_S + RETRY_S)]


async def test_a_host_that_never_answers_is_given_up(autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    host = Host("never", "one")
    watch = JwksWatch(Watched(_cluster("a")), host.fetch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await watch.keys.wait_change({})
        assert trio.current_time() == 10 + RETRY_S
        nursery.cancel_scope.cancel()
    assert "https://a from https://a.example/keys: no answer in time; there are none yet" in capsys.readouterr().err


async def test_issuers_come_and_go_with_their_policies(autojump_clock: trio.testing.MockClock) -> None:
    host, cluster = Host(), Watched(_cluster("a"))
    watch = JwksWatch(cluster, host.fetch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.testing.wait_all_tasks_blocked()
        assert [issuer.issuer for issuer in watch.keys.current] == ["https://a"]
        cluster.set(_cluster("a", "b"))
        await trio.testing.wait_all_tasks_blocked()
        assert [issuer.issuer for issuer in watch.keys.current] == ["https://a", "https://b"]
        cluster.set(_cluster("b"))
        await trio.testing.wait_all_tasks_blocked()
        assert [issuer.issuer for issuer in watch.keys.current] == ["https://b"]
        nursery.cancel_scope.cancel()
    assert host.asked == [("https://a", 0), ("https://b", 0)]


def test_only_keys_that_are_elsewhere_are_fetched() -> None:
    assert [issuer.issuer for issuer in fetched_issuers(_cluster("a", "b"))] == ["https://a", "https://b"]


# -- whom


@pytest.mark.parametrize(("addresses", "ranges", "kept"), [
    (["203.0.113.5"], (), ["203.0.113.5"]), (["203.0.113.5", "10.0.0.1"], (), ["203.0.113.5"]),
    (["10.0.0.1"], ("10.0.0.0/8",), ["10.0.0.1"]), (["::ffff:203.0.113.5"], (), ["203.0.113.5"]),
])
def test_addresses_that_a_name_may_lead_to(addresses: list[str], ranges: tuple[str, ...], kept: list[str]) -> None:
    assert permitted(addresses, TokenIssuer("https://a", special_addresses=ranges)) == kept


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"])
def test_special_addresses_must_be_named(address: str) -> None:
    with pytest.raises(ConnectFailed, match="special addresses must stand in the policy's specialAddresses"):
        permitted([address], TokenIssuer("https://a", special_addresses=("10.9.0.0/16",)))


# -- how: over real TLS


@asynccontextmanager
async def _serving(answer: Answer) -> AsyncIterator[tuple[int, list[Call]]]:
    calls: list[Call] = []

    async def handle(call: Call) -> Answer:
        calls.append(call)
        return answer

    credentials = pki.server_credentials(HOST)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(partial(serve_https, "127.0.0.1", 0, lambda: credentials, handle))
            yield port, calls
            nursery.cancel_scope.cancel()


def _issuer(port: int, root: pki.Holder = ROOT, ranges: tuple[str, ...] = ("127.0.0.0/8",)) -> TokenIssuer:
    pem = root.certificate.public_bytes(Encoding.PEM).decode()
    return TokenIssuer("https://a", jwks_uri=f"https://127.0.0.1:{port}/keys", ca_bundle=pem, special_addresses=ranges)


async def test_a_fetch() -> None:
    async with _serving(Answer(200, json.dumps({"keys": [{**OKP, "x5c": ["MII"]}]}).encode())) as (port, calls):
        assert await fetch_keys(_issuer(port)) == KEYS
        assert [(call.method, call.path) for call in calls] == [("GET", "/keys")]


@pytest.mark.parametrize(("answer", "error"), [
    (Answer(302, b"", headers=(("location", "https://127.0.0.1/other"),)), BadResponse), (Answer(404, b"{}"), BadResponse),
    (Answer(200, b"<html>"), ConfigError), (Answer(200, b'{"keys": [{"kty": "oct", "k": "AA"}]}'), ConfigError),
])
async def test_what_is_no_answer(answer: Answer, error: type[MeshError]) -> None:
    async with _serving(answer) as (port, calls):
        with pytest.raises(error):
            await fetch_keys(_issuer(port))
        assert len(calls) == 1


async def test_a_host_that_cannot_prove_itself_is_not_believed() -> None:
    async with _serving(Answer(200, KEYS.encode())) as (port, calls):
        with pytest.raises(NotVerified):
            await fetch_keys(_issuer(port, OTHER_ROOT))
        with pytest.raises(ConnectFailed, match="special"):
            await fetch_keys(_issuer(port, ranges=()))
        assert calls == []
