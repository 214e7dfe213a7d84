"""Events: what they say, the same one counted, many of one object bounded, and nobody who waits. A real API server takes them in
tests/e2e/kubernetes/test_events.py.
"""

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from certs.kubernetes import Api
from injector import events
from injector.cluster.objects import Object
from injector.events import AGAIN_S, AT_ONCE, EACH_S, MOST_TEXT, WAITING, About, Events, Said, event
from tests.helpers.api_double import ApiDouble, Asked, api_double

POD = About("v1", "Pod", "shop", "web-1", "uid-web-1")
PATH = "/api/v1/namespaces/shop/events"
NOW = 1780000000.5


class Calls:
    """In place of an API server, for what only time tells."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str, Any]] = []

    async def create(self, path: str, body: Any, kind: Any) -> Any:
        self.made.append(("create", body["message"], body["count"]))

    async def patch(self, path: str, body: Any, kind: Any) -> Any:
        self.made.append(("patch", path.rpartition("/")[2], body["count"]))


@pytest.fixture
async def told(nursery: trio.Nursery, autojump_clock: MockClock) -> tuple[Events, Calls]:
    calls = Calls()
    made = Events(calls, lambda: NOW)       # type: ignore[arg-type]
    nursery.start_soon(made.run)
    return made, calls


def test_what_an_event_says() -> None:
    said = Said(POD, True, "EgressNewHost", "new.example: reached a host that is new to it")
    made = event(said, NOW, 3)
    assert made == {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": said.name, "namespace": "shop"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "uid-web-1"},
        "type": "Warning", "reason": "EgressNewHost", "message": "new.example: reached a host that is new to it",
        "firstTimestamp": "2026-05-28T20:26:40Z", "lastTimestamp": "2026-05-28T20:26:40Z", "count": 3,
        "source": {"component": "bartizan-injector"}, "reportingComponent": "bartizan-injector",
    }
    names = {Said(about, True, reason, message).name for about in (POD, About("v1", "Pod", "shop", "web-1", "another"))
             for reason in ("A", "B") for message in ("x", "y")}
    assert len(names) == 8
    assert all(name.startswith("web-1.") and len(name) < 253 for name in names)


def test_about_any_object() -> None:
    item = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": "web", "uid": "u"}}
    assert About.of(Object(item)) == About("apps/v1", "Deployment", "shop", "web", "u")
    node = About("v1", "Node", "", "one", "u")
    assert event(Said(node, False, "R", "m"), NOW, 1)["metadata"]["namespace"] == "default"
    assert event(Said(node, False, "R", "m"), NOW, 1)["type"] == "Normal"


async def test_the_same_again_is_one_event_that_is_counted(autojump_clock: MockClock, told: tuple[Events, Calls]) -> None:
    made, calls = told
    for _ in range(3):
        made.tell(POD, "RuleNotInForce", "x")
    await trio.sleep(1)
    made.tell(POD, "RuleNotInForce", "x")       # soon after: it goes with the next
    await trio.sleep(AGAIN_S)
    made.tell(POD, "RuleNotInForce", "x")
    await trio.sleep(1)
    assert calls.made == [("create", "x", 3), ("patch", Said(POD, True, "RuleNotInForce", "x").name, 5)]


async def test_of_one_object_the_first_few_then_some(autojump_clock: MockClock, told: tuple[Events, Calls]) -> None:
    made, calls = told
    other = About("v1", "Pod", "shop", "web-2", "uid-web-2")
    for number in range(AT_ONCE + 10):
        made.tell(POD, "EgressNewHost", f"{number}.example")
    made.tell(other, "EgressNewHost", "a.example")
    await trio.sleep(1)
    assert len(calls.made) == AT_ONCE + 1
    await trio.sleep(2 * EACH_S)
    for number in range(100, 110):
        made.tell(POD, "EgressNewHost", f"{number}.example")
    await trio.sleep(1)
    assert [message for _, message, _ in calls.made[AT_ONCE + 1:]] == ["100.example", "101.example"]


async def test_what_is_remembered_is_bounded(
    autojump_clock: MockClock, told: tuple[Events, Calls], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "MOST_TOLD", 10)
    made, calls = told
    for number in range(50):
        made.tell(About("v1", "Pod", "shop", f"web-{number}", f"u{number}"), "R", "x" * 5000)
        await trio.sleep(0.1)
    assert (len(made._told), len(made._room), len(calls.made)) == (10, 10, 50)
    assert {len(message) for _, message, _ in calls.made} == {MOST_TEXT}


async def test_nobody_waits_for_an_api_server(autojump_clock: MockClock, capfd: pytest.CaptureFixture[str]) -> None:
    made = Events(Calls(), lambda: NOW)     # type: ignore[arg-type]
    for number in range(WAITING + 5):
        made.tell(About("v1", "Pod", "shop", f"web-{number}", f"u{number}"), "R", "x")
    assert capfd.readouterr().err == f"bartizan: no Kubernetes Event: {WAITING} wait already\n"


async def test_another_replica_has_told_it_already(tmp_path: Path) -> None:
    async with api_double(tmp_path) as (double, config):
        double.objects[PATH] = {}
        for wall in (NOW, NOW + 100):
            made = Events(Api(config), lambda wall=wall: wall)      # type: ignore[misc]
            made.tell(POD, "RuleNotInForce", "x")
            await until_put(double, made)
        (kept,) = double.objects[PATH].values()
        assert (kept["firstTimestamp"], kept["lastTimestamp"], kept["count"]) == ("2026-05-28T20:26:40Z", "2026-05-28T20:28:20Z", 1)


async def until_put(double: ApiDouble, made: Events) -> None:
    version = double.version
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        while double.version == version:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


async def test_one_that_has_expired_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "AGAIN_S", 0.0)
    async with api_double(tmp_path) as (double, config):
        double.objects[PATH] = {}
        made = Events(Api(config), lambda: NOW)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.run)
            for count in (1, 2):
                version = double.version
                made.tell(POD, "R", "x")
                while double.version == version:
                    await trio.lowlevel.checkpoint()
                ((key, kept),) = double.objects[PATH].items()
                assert kept["count"] == count
                double.drop(PATH, *key)
                while next(iter(made._told.values())).is_made is False:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


async def test_a_refusal_is_told_once_and_stops_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with api_double(tmp_path) as (double, config):
        double.objects[PATH] = {}
        bodies: list[Any] = []

        async def refuse(asked: Asked) -> bool:
            bodies.append(asked.body)
            if len(bodies) < 3:
                await asked.refuse(403, "events is forbidden")
            return len(bodies) < 3

        double.before = refuse
        made = Events(Api(config), lambda: NOW)
        for number in range(3):
            made.tell(POD, "R", str(number))
        await until_put(double, made)
        assert [body["message"] for body in bodies] == ["0", "1", "2"]
    assert capfd.readouterr().err.count("no Kubernetes Event: the API server refuses POST") == 1
