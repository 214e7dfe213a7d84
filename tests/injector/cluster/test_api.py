"""The whole source against a real HTTPS server: the first state, what is one change, and Secrets by name."""

import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from certs.kubernetes import Api, ApiServer
from injector.cluster import Cluster, api
from injector.cluster.api import ApiSource
from injector.cluster.kinds import KINDS, Collection
from sidecar.model.errors import ConfigError
from tests.helpers.api_double import ApiDouble, Asked, api_double
from tests.injector.pods import egress_policy, mesh_policy, namespace

from .test_secret_names import egress

PATHS = {kind.name: Collection(kind).path for kind in KINDS}
SECRETS = "/api/v1/namespaces/shop/secrets"


def put(double: ApiDouble, item: dict[str, Any]) -> None:
    double.put(PATHS[item["kind"]], item)


def pod(name: str, address: str = "10.1.0.1", *secrets: str) -> dict[str, Any]:
    annotations = {"bartizan.dev/egress": egress(*secrets)}
    return {
        "kind": "Pod", "metadata": {"namespace": "shop", "name": name, "uid": f"u-{name}", "annotations": annotations},
        "spec": {"initContainers": [{"name": "bartizan-sidecar"}], "containers": []},
        "status": {"phase": "Running", "podIPs": [{"ip": address}]},
    }


def secret(name: str, value: str = "eA==") -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name}, "data": {"tls.crt": value, "tls.key": value}}


class Followed:
    """A source that runs, and the reports of it."""

    def __init__(self, source: ApiSource, changes: AsyncIterator[Cluster], reports: list[str]) -> None:
        self.source = source
        self.reports = reports
        self._changes = changes

    async def next(self) -> Cluster:
        return await anext(self._changes)


@asynccontextmanager
async def followed(config: ApiServer) -> AsyncIterator[Followed]:
    reports: list[str] = []
    source = ApiSource(Api(config), random.Random(1), reports.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.run)
        async with aclosing(source.changes()) as changes:
            yield Followed(source, changes, reports)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[tuple[ApiDouble, ApiServer]]:
    async with api_double(tmp_path) as made:
        for path in PATHS.values():
            made[0].objects[path] = {}
        made[0].objects[SECRETS] = {}
        put(made[0], namespace())
        yield made


World = tuple[ApiDouble, ApiServer]


async def test_the_first_state_is_whole(world: World) -> None:
    double, config = world
    put(double, pod("web"))
    put(double, egress_policy())
    put(double, {"kind": "NetworkPolicy", "metadata": {"namespace": "shop", "name": "n"}, "spec": {"podSelector": {}}})
    late = trio.Event()

    async def hold(asked: Asked) -> bool:
        if asked.path == PATHS["MeshPolicy"]:
            await late.wait()
        return False

    double.before = hold
    async with followed(config) as one:
        async with trio.open_nursery() as nursery:
            begun: list[Cluster] = []

            async def begin() -> None:
                begun.append(await one.source.begin())

            nursery.start_soon(begin)
            while sum(not asked.is_watch for asked in double.asked) < len(KINDS):
                await trio.lowlevel.checkpoint()
            assert begun == []      # one kind is missing
            late.set()
        (first,) = begun
        assert set(first.pods_by_uid) == {"u-web"}
        assert set(first.egress_policies) == {"partners"}
        assert first.namespace_labels("shop")["bartizan.dev/injection"] == "enabled"
        assert set(first.of_kind("NetworkPolicy")) == {("shop", "n")}
    assert one.reports == []


async def test_what_comes_within_a_moment_is_one_change(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "COALESCE_S", 1.0)
    double, config = world
    async with followed(config) as one:
        first = await one.source.begin()
        for number in range(20):
            put(double, pod(f"p{number}", f"10.1.0.{number}"))
        put(double, mesh_policy())
        then = await one.next()
        assert (len(first.pods), len(then.pods), len(then.mesh_policies)) == (0, 20, 1)
        double.drop(PATHS["Pod"], "shop", "p7")
        assert len((await one.next()).pods) == 19


async def test_a_policy_that_cannot_be_read_is_nothing_to_begin_with(world: World) -> None:
    double, config = world
    put(double, mesh_policy("lax", hardening="lax"))
    async with followed(config) as one:
        with pytest.raises(ConfigError, match="meshpolicies that cannot be read: lax; correct or delete them"):
            await one.source.begin()
        assert "hardening" in one.reports[0]


async def test_a_policy_that_is_broken_later_keeps_its_former_version(world: World) -> None:
    double, config = world
    put(double, mesh_policy("strict", hardening="strict"))
    async with followed(config) as one:
        await one.source.begin()
        put(double, mesh_policy("strict", hardening="lax"))
        put(double, namespace("bank"))
        then = await one.next()
        assert then.mesh_policies["strict"].hardening == "strict"
        assert "what was read before counts" in one.reports[0]


class TestSecrets:
    async def test_nobody_hears_of_a_host_before_its_certificate(self, world: World) -> None:
        double, config = world
        double.put(SECRETS, secret("stripe"))
        put(double, pod("web", "10.1.0.1", "stripe"))
        async with followed(config) as one:
            first = await one.source.begin()
            assert set(first.secrets) == {("shop", "stripe")}

            async def slowly(asked: Asked) -> bool:
                if asked.path == SECRETS:
                    await trio.sleep(4 * api.COALESCE_S)
                return False

            double.before = slowly
            double.put(SECRETS, secret("partner"))
            put(double, pod("web", "10.1.0.1", "stripe", "partner"))
            then = await one.next()
            assert set(then.secrets) == {("shop", "stripe"), ("shop", "partner")}
        assert all("fieldSelector" in asked.query for asked in double.asked if asked.path.endswith("/secrets"))

    async def test_one_that_changes_and_one_that_nobody_names_any_more(self, world: World) -> None:
        double, config = world
        double.put(SECRETS, secret("stripe"))
        put(double, pod("web", "10.1.0.1", "stripe"))
        async with followed(config) as one:
            await one.source.begin()
            double.put(SECRETS, secret("stripe", "eQ=="))
            then = await one.next()
            assert then.secrets["shop", "stripe"].data["data"]["tls.key"] == "eQ=="
            put(double, pod("web"))
            then = await one.next()
            assert then.secrets == {}
            put(double, pod("web", "10.1.0.1", "stripe"))
            assert set((await one.next()).secrets) == {("shop", "stripe")}

    async def test_without_the_right_it_is_as_if_it_were_not_there(self, world: World) -> None:
        double, config = world
        double.put(SECRETS, secret("stripe"))
        put(double, pod("web", "10.1.0.1", "stripe"))

        async def refuse(asked: Asked) -> bool:
            if asked.path == SECRETS:
                await asked.refuse(403, 'secrets "stripe" is forbidden')
            return asked.path == SECRETS

        double.before = refuse
        async with followed(config) as one:
            first = await one.source.begin()
            assert (len(first.pods), first.secrets) == (1, {})
            assert one.reports[0].startswith("Secret shop/stripe cannot be followed, it counts as if there were none")
            double.before = None        # the right is given
            assert set((await one.next()).secrets) == {("shop", "stripe")}

    async def test_a_state_waits_for_them_for_a_while_only(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(api, "SETTLE_S", 0.2)
        double, config = world
        put(double, pod("web", "10.1.0.1", "stripe"))

        async def silent(asked: Asked) -> bool:
            if asked.path == SECRETS:
                await trio.sleep_forever()
            return False

        double.before = silent
        async with followed(config) as one:
            assert len((await one.source.begin()).pods) == 1
