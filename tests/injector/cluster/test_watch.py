"""A collection followed against a real HTTPS server, on the real clock: what it does when the API server does what API servers do."""

import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from certs.kubernetes import Api, ApiServer
from injector.cluster import Ref, watch
from injector.cluster.kinds import KINDS, SECRETS, Collection
from injector.cluster.objects import Json
from injector.cluster.reflector import Changes
from injector.cluster.watch import Watch
from tests.helpers import pki
from tests.helpers.api_double import CA, TOKEN, ApiDouble, Asked, api_double

SERVICES = Collection(next(kind for kind in KINDS if kind.name == "Service"))
PATH = "/api/v1/services"


def service(name: str, address: str = "10.96.0.1", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name, **metadata}, "spec": {"clusterIP": address, "selector": {"app": name}}}


def ref(name: str) -> Ref:
    return "Service", "shop", name


class Seen:
    """What a watch has told."""

    def __init__(self) -> None:
        self.changes: list[Changes] = []
        self.reports: list[str] = []
        self.state: dict[Ref, Json] = {}
        self._moved = trio.Event()

    def take(self, changes: Changes) -> None:
        self.changes.append(changes)
        self.state = {ref: item for ref, item in (self.state | changes).items() if item is not None}
        self._wake()

    def report(self, text: str) -> None:
        self.reports.append(text)
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self._moved.wait()

    async def has(self, *names: str) -> None:
        await self.until(lambda: set(self.state) == {ref(name) for name in names})


@asynccontextmanager
async def following(
    config: ApiServer, collection: Collection = SERVICES, patience_s: float = 5.0,
) -> AsyncIterator[tuple[Seen, Watch]]:
    seen = Seen()
    made = Watch(Api(config, patience_s=patience_s), collection, seen.take, seen.report, random.Random(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        yield seen, made
        nursery.cancel_scope.cancel()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[tuple[ApiDouble, ApiServer]]:
    async with api_double(tmp_path) as made:
        made[0].objects[PATH] = {}
        yield made


World = tuple[ApiDouble, ApiServer]


async def test_what_there_is_then_what_happens(world: World) -> None:
    double, config = world
    double.put(PATH, service("a"))
    async with following(config) as (seen, made):
        await seen.has("a")
        assert made.is_listed.is_set()
        double.put(PATH, service("b"))
        await seen.has("a", "b")
        double.put(PATH, service("a", "10.96.0.9"))
        await seen.until(lambda: seen.state[ref("a")]["spec"]["clusterIP"] == "10.96.0.9")
        double.drop(PATH, "shop", "b")
        await seen.has("a")
        assert seen.changes[-1] == {ref("b"): None}
    assert seen.reports == []


async def test_a_collection_of_several_pages_is_told_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    double, config = world
    for number in range(250):
        double.put(PATH, service(f"s{number:03}"))
    async with following(config) as (seen, _):
        await seen.until(lambda: len(seen.state) == 250)
    assert [len(changes) for changes in seen.changes] == [250]
    assert [one.query["limit"] for one in double.asked if not one.is_watch] == ["100"] * 3


class OnePage:
    """In place of an API server: all of it is there at once, and nothing waits."""

    async def pages(self, path: str, query: str, *, accept: bytes) -> AsyncIterator[tuple[list[msgspec.Raw], str]]:
        items = [service(f"s{number}", resourceVersion="1") for number in range(100)]
        yield [msgspec.Raw(json.dumps(item).encode()) for item in items], "9"

    @asynccontextmanager
    async def watch(self, path: str, *, silence_s: float, accept: bytes) -> AsyncIterator[None]:
        await trio.sleep_forever()
        yield


async def test_others_have_their_turn_while_a_page_is_read(nursery: trio.Nursery) -> None:
    seen, turns = Seen(), 0
    made = Watch(OnePage(), SERVICES, seen.take, seen.report, random.Random(1))     # type: ignore[arg-type]
    nursery.start_soon(made.run)
    while not made.is_listed.is_set():
        await trio.lowlevel.checkpoint()
        turns += 1
    assert turns >= 100 / watch.AT_ONCE


async def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones(world: World) -> None:
    double, config = world
    for number in range(30):
        double.put(PATH, service(f"s{number:03}", annotations={"x": "x" * 600_000}))
    async with following(config) as (seen, _):
        await seen.until(lambda: len(seen.state) == 30)
    assert [one.query["limit"] for one in double.asked if not one.is_watch] == ["100", "12", "12", "12"]


async def test_an_ended_watch_goes_on_where_it_was(world: World) -> None:
    double, config = world
    double.put(PATH, service("a"))
    async with following(config) as (seen, _):
        await seen.has("a")
        for name in ("b", "c", "d"):
            begun = double.watches(PATH)
            double.end_watches()
            double.put(PATH, service(name))
            await seen.until(lambda name=name: ref(name) in seen.state)     # type: ignore[misc]
            assert double.watches(PATH) > begun
    assert len([one for one in double.asked if not one.is_watch]) == 1
    assert all(len(changes) == 1 for changes in seen.changes)
    watches = [one.query for one in double.asked if one.is_watch]
    assert all(query["allowWatchBookmarks"] == "true" and 300 <= int(query["timeoutSeconds"]) <= 600 for query in watches)


async def test_a_version_that_is_too_old_is_listed_again_and_only_the_difference_told(world: World) -> None:
    double, config = world
    for name in ("a", "b", "c"):
        double.put(PATH, service(name))
    async with following(config) as (seen, _):
        await seen.has("a", "b", "c")
        cut = once(double, lambda asked: asked.is_watch)       # nobody watches while this happens
        double.end_watches()
        await cut.wait()
        double.drop(PATH, "shop", "b")
        double.put(PATH, service("a", "10.96.0.9"))
        double.put(PATH, service("d"))
        double.forget()
        await seen.has("a", "c", "d")
    assert seen.changes[1] == {ref("b"): None, ref("a"): seen.state[ref("a")], ref("d"): seen.state[ref("d")]}
    assert seen.reports == []


async def test_gone_may_be_a_status_too(world: World) -> None:
    double, config = world
    double.put(PATH, service("a"))
    async with following(config) as (seen, _):
        await seen.has("a")
        cut = once(double, lambda asked: asked.is_watch, lambda asked: asked.refuse(410))
        double.end_watches()
        await cut.wait()
        double.put(PATH, service("b"))
        await seen.has("a", "b")
    assert len([one for one in double.asked if not one.is_watch]) == 2


def once(double: ApiDouble, meant: Callable[[Asked], bool], answer: Any = None) -> trio.Event:
    """The next one that is meant is answered so, or cut without a word; set when that was done."""
    done = trio.Event()

    async def hook(asked: Asked) -> bool:
        if done.is_set() or not meant(asked):
            return False
        if answer is not None:
            await answer(asked)
        done.set()
        return True

    double.before = hook
    return done


def watched(asked: Asked) -> bool:
    return asked.is_watch


async def half_a_line(asked: Asked) -> None:
    await asked.begin_stream()
    await asked.say(b'{"type": "ADDED", "object": {"metadata": {"name": "half"')


async def half_a_line_ended(asked: Asked) -> None:
    await half_a_line(asked)
    await asked.end_stream()


async def half_a_chunk(asked: Asked) -> None:
    await asked.begin_stream()
    await asked.connection.send(b"1000\r\n{")


async def nonsense(asked: Asked) -> None:
    await asked.begin_stream()
    await asked.say(b"<html>\n")


async def an_error(asked: Asked) -> None:
    await asked.begin_stream()
    await asked.say({"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd is away"}})


async def an_unknown_event(asked: Asked) -> None:
    await asked.begin_stream()
    await asked.say({"type": "RENAMED", "object": {"metadata": {"name": "x", "namespace": "shop", "resourceVersion": "9999"}}})


async def no_stream(asked: Asked) -> None:
    await asked.refuse(500, "etcd is away")


@pytest.mark.parametrize("accident", [half_a_line, half_a_line_ended, half_a_chunk, nonsense, an_error, an_unknown_event, no_stream])
async def test_an_accident_loses_nothing_and_lists_nothing_again(world: World, accident: Any) -> None:
    double, config = world
    double.put(PATH, service("a"))
    async with following(config) as (seen, _):
        await seen.has("a")
        cut = once(double, watched, accident)
        double.end_watches()
        await cut.wait()
        double.put(PATH, service("b"))
        await seen.has("a", "b")
    assert len([one for one in double.asked if not one.is_watch]) == 1
    assert [len(changes) for changes in seen.changes] == [1, 1]


async def test_what_came_before_the_cut_counts(world: World) -> None:
    double, config = world
    double.put(PATH, service("a"))

    async def two_and_a_half(asked: Asked) -> None:
        await asked.begin_stream()
        event = {"type": "ADDED", "object": service("b") | {"metadata": {"namespace": "shop", "name": "b", "resourceVersion": "5000"}}}
        bookmark = {"type": "BOOKMARK", "object": {"kind": "Service", "metadata": {"resourceVersion": "6000"}}}
        text = json.dumps(event).encode() + b"\n" + json.dumps(bookmark).encode() + b"\n"
        for at in range(len(text)):
            await asked.say(text[at:at + 1])
        await asked.say(b'{"type": "DELETED", "object": {"metadata": {"name": "b"')

    async with following(config) as (seen, _):
        await seen.has("a")
        cut = once(double, watched, two_and_a_half)
        double.end_watches()
        await cut.wait()
        await seen.has("a", "b")
        begun = double.watches(PATH)
        await until(lambda: double.watches(PATH) > begun)
    assert double.asked[-1].query["resourceVersion"] == "6000"


async def until(holds: Callable[[], bool]) -> None:
    """Of what the server sees, which tells nobody."""
    while not holds():
        await trio.lowlevel.checkpoint()


async def test_silence_counts_as_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SILENCE_S", 0.3)
    double, config = world
    double.put(PATH, service("a"))
    async with following(config) as (seen, _):
        await seen.has("a")
        await until(lambda: double.watches(PATH) >= 3)
        double.put(PATH, service("b"))
        await seen.has("a", "b")
    assert len([one for one in double.asked if not one.is_watch]) == 1


async def test_what_is_refused_is_told_once_and_tried_again(world: World) -> None:
    double, config = world
    double.put(PATH, service("a"))
    refused = 0

    async def refuse(asked: Asked) -> bool:
        nonlocal refused
        refused += 1
        await asked.refuse(403, 'services is forbidden: User "x" cannot list resource "services"')
        return True

    double.before = refuse
    async with following(config) as (seen, made):
        await made.is_settled.wait()
        await until(lambda: refused >= 3)
        assert not made.is_listed.is_set()
        double.before = None
        await seen.has("a")
        await made.is_listed.wait()
    told, again = seen.reports
    assert told.startswith("services cannot be followed, it counts as if there were none, and it is tried again")
    assert "cannot list resource" in told
    assert told.endswith("grant the injector's service account get, list and watch of them")
    assert again == "services can be followed again"


async def test_what_is_not_there_yet(tmp_path: Path) -> None:
    async with api_double(tmp_path) as (double, config), following(config) as (seen, _):
        await seen.until(lambda: bool(seen.reports))
        assert seen.reports[0].endswith("apply their definitions: `bartizan schema crd | kubectl apply -f -`")
        double.put(PATH, service("a"))
        await seen.has("a")


async def test_the_server_is_left_alone_for_as_long_as_it_asks(world: World) -> None:
    double, config = world
    double.put(PATH, service("a"))
    times: list[float] = []

    async def busy(asked: Asked) -> bool:
        times.append(trio.current_time())
        if len(times) > 1:
            return False
        await asked.refuse(429, "slow down", "retry-after: 1")
        return True

    double.before = busy
    async with following(config) as (seen, _):
        await seen.has("a")
    assert times[1] - times[0] >= 1


async def test_pauses_grow_while_nothing_is_heard(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "RETRY_FIRST_S", 0.01)
    double, config = world
    times: list[float] = []

    async def refuse(asked: Asked) -> bool:
        times.append(trio.current_time())
        await asked.refuse(500)
        return True

    double.before = refuse
    async with following(config):
        await until(lambda: len(times) >= 8)
    assert times[7] - times[6] >= 0.01 * 2**6 / 2


async def test_a_token_and_a_ca_that_are_replaced(world: World, tmp_path: Path) -> None:
    double, config = world
    double.put(PATH, service("a"))
    async with following(config) as (seen, _):
        await seen.has("a")
        double.token = "another"
        double.end_watches()
        await seen.until(lambda: bool(seen.reports))
        assert "401" in seen.reports[0]
        assert "what was read before counts" in seen.reports[0]
        (tmp_path / "kube-token").write_text("another\n")
        double.put(PATH, service("b"))
        await seen.has("a", "b")
        (tmp_path / "kube-ca.pem").write_text(pki.authority("kubernetes").chain_pem)
        double.end_watches()
        double.put(PATH, service("c"))
        await seen.until(lambda: len(seen.reports) == 3)
        assert "cannot be asked" in seen.reports[2]
        (tmp_path / "kube-ca.pem").write_text(CA.chain_pem)
        await seen.has("a", "b", "c")
    assert double.token != TOKEN


async def test_one_object_by_its_name(world: World) -> None:
    double, config = world
    path = "/api/v1/namespaces/shop/secrets"
    for name in ("other", "stripe"):
        double.put(path, {"metadata": {"namespace": "shop", "name": name}, "data": {"tls.crt": "eA=="}, "more": "eg=="})
    async with following(config, Collection(SECRETS, ("shop", "stripe"))) as (seen, _):
        await seen.until(lambda: bool(seen.state))
        double.put(path, {"metadata": {"namespace": "shop", "name": "other"}, "data": {"tls.crt": "eQ=="}})
        double.drop(path, "shop", "stripe")
        await seen.until(lambda: not seen.state)
    assert [sorted(name for _, _, name in changes) for changes in seen.changes] == [["stripe"], ["stripe"]]
    assert seen.changes[0]["Secret", "shop", "stripe"]["data"] == {"tls.crt": "eA=="}     # type: ignore[index]
    assert "more" not in seen.changes[0]["Secret", "shop", "stripe"]        # type: ignore[operator]
    assert all(one.query["fieldSelector"] == "metadata.name=stripe" for one in double.asked)


async def test_of_some_kinds_only_metadata_are_asked_for(world: World) -> None:
    double, config = world
    deployments = Collection(next(kind for kind in KINDS if kind.name == "Deployment"))
    double.put(deployments.path, {"metadata": {"namespace": "shop", "name": "web"}})
    async with following(config, deployments) as (seen, _):
        await seen.until(lambda: bool(seen.state))
        await until(lambda: len(double.asked) == 2)
    whole, one = (f"application/json;as=PartialObjectMetadata{suffix};g=meta.k8s.io;v=v1" for suffix in ("List", ""))
    assert [asked.headers["accept"] for asked in double.asked] == [whole, one]
    assert seen.state["Deployment", "shop", "web"]["kind"] == "Deployment"


async def test_what_an_api_server_need_not_have_is_none_and_looked_for_again(world: World) -> None:
    """The Gateway API is installed later, taken away, and comes back."""
    double, config = world
    gateways = Collection(next(kind for kind in KINDS if kind.name == "Gateway"))
    async with following(config, gateways) as (seen, made):
        await made.is_listed.wait()
        assert seen.state == {}
        double.objects[gateways.path] = {}
        double.put(gateways.path, {"metadata": {"namespace": "infra", "name": "edge", "generation": 2, "creationTimestamp": "x"}})
        await seen.until(lambda: bool(seen.state))
        assert seen.state["Gateway", "infra", "edge"]["metadata"] == {
            "namespace": "infra", "name": "edge", "generation": 2, "creationTimestamp": "x", "resourceVersion": str(double.version),
        }
    assert seen.reports == []
