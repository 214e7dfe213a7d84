"""Events as a real API server keeps them, told by an account with the injector's rights and no more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from certs.kubernetes import Api
from injector.cluster import EMPTY
from injector.egress.alerts import METRIC, PROFILE, Alerts
from injector.egress.profile import DAY_S, HOUR_S, learn
from injector.events import About, Events
from injector.pod_events import PodEvents
from injector.settings import Settings
from sidecar.net.clock import wall_clock
from sidecar.net.watched import Watched
from sidecar.telemetry.metrics import Metrics
from tests.injector.egress.test_profile import NOW, entry, refusal

from .cluster import ISSUER, Cluster

WITHIN_S = 30


async def about(cluster: Cluster, uid: str, holds: Callable[[list[Any]], bool], namespace: str = "shop") -> list[Any]:
    """The Events about that object, by their reasons, as soon as it holds."""
    while True:
        listed = await cluster.admin.get(f"/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.uid={uid}", dict)
        found = sorted(listed["items"], key=lambda one: one["reason"])
        if holds(found):
            return found
        await trio.sleep(0.05)


async def test_each_anomaly_is_an_event_about_the_pod(granted: Cluster, injector_api: Api, tmp_path: Path) -> None:
    uid = await granted.pod("shop", "unusual", "web")
    events = Events(injector_api, wall_clock)
    told = PodEvents(events, Watched(EMPTY), Settings(), "")
    metrics = Metrics()
    usual = [entry(at=NOW - day * DAY_S, rules={"(observed)": 1}) for day in range(8)]
    alerts = Alerts(tmp_path / PROFILE, learn(usual, NOW, 7), lambda: NOW + HOUR_S, metrics.count, lambda uid: False, told.anomaly)
    alerts.take(uid, "shop/unusual", [entry(at=NOW + HOUR_S, sent=1 << 24), refusal("new.example", NOW + HOUR_S)] * 3)
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(events.run)
            found = await about(granted, uid, lambda found: len(found) == 3)
            nursery.cancel_scope.cancel()
    assert [one["reason"] for one in found] == ["EgressNewHost", "EgressPeriod", "EgressVolume"]
    assert all(one["involvedObject"]["name"] == "unusual" and one["type"] == "Warning" for one in found)
    assert found[0]["message"].startswith("new.example: was refused a host")
    assert found[2]["message"].startswith("a.example: 16,777,216 bytes sent within an hour")
    for kind in ("new-host", "period", "volume"):
        assert metrics.get(METRIC, (("kind", kind), ("workload", "shop/web"))) == 1


async def test_the_same_again_is_counted_and_another_process_does_not_repeat_it(
    granted: Cluster, injector_api: Api, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("injector.events.AGAIN_S", 0.0)
    uid = await granted.pod("shop", "counted", "web")
    pod = About("v1", "Pod", "shop", "counted", uid)
    with trio.fail_after(WITHIN_S):
        for count in (3, 3):    # the second process knows less than the first
            events = Events(injector_api, wall_clock)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(events.run)
                for _ in range(3):
                    events.tell(pod, "RuleNotInForce", "x")
                    await trio.testing.wait_all_tasks_blocked()
                await about(granted, uid, lambda found, count=count: len(found) == 1 and found[0]["count"] == count)    # type: ignore[misc]
                nursery.cancel_scope.cancel()


async def test_without_the_right_it_is_said(granted: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    uid = await granted.pod("shop", "mute", "web")
    events = Events(granted.api(await granted.token("shop", "web", audience=ISSUER)), wall_clock)
    events.tell(About("v1", "Pod", "shop", "mute", uid), "RuleNotInForce", "x")
    said = ""
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(events.run)
            while not said:
                await trio.sleep(0.05)
                said = capfd.readouterr().err
            nursery.cancel_scope.cancel()
    assert "no Kubernetes Event: the API server refuses POST /api/v1/namespaces/shop/events: 403" in said
