"""The API server trusts in the webhook exactly whom the mesh trusts, and a trust counts as held only once it does."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from certs.kubernetes import Api, ApiError
from injector.ca_bundle import GROUP, KINDS, CaBundle
from injector.trust import TrustWatch
from sidecar.model.trust import Trust
from tests.certs.api_server import ApiServerDouble, api_server, failure
from tests.helpers import pki
from tests.helpers.mesh import root
from tests.helpers.runtime import FakeDialer

PATHS = [f"{GROUP}/{kind}/bartizan-injector" for kind in KINDS]
OLD, NEW = pki.pem([root().certificate]), pki.authority("another").chain_pem


@dataclass
class World:
    double: ApiServerDouble
    api: Api
    trust: TrustWatch

    def bundle(self, *, may_write: bool = True) -> CaBundle:
        return CaBundle(self.api, "bartizan-injector", self.trust, lambda: may_write)

    def written(self, path: str) -> list[str]:
        """What is there, webhook by webhook."""
        found = [webhook["clientConfig"].get("caBundle", "") for webhook in self.double.objects[path]["webhooks"]]
        return [base64.b64decode(text).decode() for text in found]

    def put(self, path: str, *bundles: str) -> None:
        webhooks: list[dict[str, Any]] = [
            {"name": f"{i}.bartizan.dev", "failurePolicy": "Fail",
             "clientConfig": {"service": {"name": "x"}, **({"caBundle": text} if text else {})}}
            for i, text in enumerate(bundles)
        ]
        self.double.put(path, {"webhooks": webhooks})


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    (folder / "roots.pem").write_text(OLD)
    async with api_server(folder) as (double, place), trio.open_nursery() as nursery:
        made = World(double, Api(place), TrustWatch("https://issuer.test", folder, str(folder / "roots.pem"), FakeDialer(nursery)))
        for path in PATHS:
            made.put(path, "", "")
        yield made


async def test_the_roots_are_written_and_nothing_else(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        before = json.loads(json.dumps(made.double.objects))
        ca = made.bundle()
        assert not await ca.look()
        assert await ca.look()
        for path in PATHS:
            assert made.written(path) == [OLD, OLD]
            for webhook in made.double.objects[path]["webhooks"]:
                del webhook["clientConfig"]["caBundle"]
            assert made.double.objects[path]["webhooks"] == before[path]["webhooks"]


async def test_a_trust_is_held_only_once_the_api_server_has_its_roots(tmp_path: Path) -> None:
    """What a rotation waits for: with both roots there, and not before, the new one may sign."""
    async with world(tmp_path) as made:
        ca = made.bundle()
        made.trust.take(Trust(7, OLD + NEW))
        assert ca.holds == 0
        await ca.look()
        assert ca.holds == 0     # it was written; whether it is there the next look says
        await ca.look()
        assert (ca.holds, made.written(PATHS[0])) == (7, [OLD + NEW] * 2)
        made.trust.take(Trust(8, NEW))
        made.double.before = lambda call: failure(409, call.path) if call.method == "PATCH" else None
        with pytest.raises(ApiError):
            await ca.look()
        assert ca.holds != 8


async def test_a_replica_that_may_not_write_looks(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.trust.take(Trust(7, OLD + NEW))
        follower = made.bundle(may_write=False)
        assert not await follower.look()
        assert follower.holds == 0
        assert {call.method for call in made.double.calls} == {"GET"}
        leader = made.bundle()
        await leader.look()
        await follower.look()
        assert follower.holds == 7


async def test_one_of_the_two_configurations_is_not_enough(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.trust.take(Trust(7, OLD + NEW))
        made.put(PATHS[0], base64.b64encode((OLD + NEW).encode()).decode())
        follower = made.bundle(may_write=False)
        await follower.look()
        assert follower.holds == 0


async def test_what_somebody_else_wrote_is_mended_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with world(tmp_path) as made:
        ca = made.bundle()
        await ca.look()
        await ca.look()
        assert capsys.readouterr().err == ""
        made.put(PATHS[1], base64.b64encode(b"theirs").decode(), "")
        await ca.look()
        assert made.written(PATHS[1]) == [OLD, OLD]
        assert "somebody else had written to caBundle of validatingwebhookconfigurations/bartizan-injector" in capsys.readouterr().err


async def test_a_write_behind_a_change_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.bundle().look()
        [patch, _] = [json.loads(call.body) for call in made.double.calls if call.method == "PATCH"]
        assert patch.keys() == {"metadata", "webhooks"}
        assert patch["metadata"] == {"resourceVersion": "1"}


async def test_where_there_is_no_configuration_nobody_is_awaited(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.double.objects.clear()
        made.trust.take(Trust(7, OLD))
        ca = made.bundle()
        assert await ca.look()
        assert ca.holds == 7


async def test_it_goes_on_after_what_fails_and_says_it_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with world(tmp_path) as made, trio.open_nursery() as nursery:
        written = trio.Event()

        def before(call: Any) -> Any:
            if len(made.double.calls) < 3:
                return failure(401, call.path)
            if all(made.written(path) == [OLD, OLD] for path in PATHS):
                written.set()
            return None

        made.double.before = before
        nursery.start_soon(made.bundle().run)
        await written.wait()
        nursery.cancel_scope.cancel()
    assert capsys.readouterr().err.count("the API server's trust in the webhook") == 1
