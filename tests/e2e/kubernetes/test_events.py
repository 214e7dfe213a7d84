"""Anomalies of egress as a real API server keeps them, told by the injector's own account."""

from pathlib import Path

import pytest
import trio

from certs.kubernetes import Api
from injector.egress.alerts import METRIC, PROFILE, Alerts
from injector.egress.events import Events
from injector.egress.profile import DAY_S, HOUR_S, learn
from injector.manifests.plan import Plan
from injector.manifests.rbac import injector_roles
from sidecar.telemetry.metrics import Metrics
from tests.injector.egress.test_profile import NOW, entry, refusal

from .cluster import ISSUER, SYSTEM, Cluster

ACCOUNT = "bartizan-injector"
WITHIN_S = 30


@pytest.fixture(scope="session")
def granted(cluster: Cluster) -> Cluster:
    async def grant() -> None:
        await cluster.apply(*injector_roles(Plan()))

    trio.run(grant)
    return cluster


async def send(events: Events) -> None:
    """All that wait."""
    events._into.close()
    with trio.fail_after(WITHIN_S):
        await events.run()


async def test_each_anomaly_is_an_event_about_the_pod(granted: Cluster, tmp_path: Path) -> None:
    uid = await granted.pod("shop", "unusual", "web")
    events = Events(Api(granted.server_for(await granted.token(SYSTEM, ACCOUNT, audience=ISSUER))))
    metrics = Metrics()
    usual = [entry(at=NOW - day * DAY_S, rules={"(observed)": 1}) for day in range(8)]
    alerts = Alerts(tmp_path / PROFILE, learn(usual, NOW, 7), lambda: NOW + HOUR_S, metrics.count, lambda uid: False, events.tell)
    alerts.take(uid, "shop/unusual", [entry(at=NOW + HOUR_S, sent=1 << 24), refusal("new.example", NOW + HOUR_S)] * 3)
    await send(events)
    listed = await granted.admin.get(f"/api/v1/namespaces/shop/events?fieldSelector=involvedObject.uid={uid}", dict)
    found = sorted(listed["items"], key=lambda one: one["reason"])
    assert [one["reason"] for one in found] == ["EgressNewHost", "EgressPeriod", "EgressVolume"]
    assert all(one["involvedObject"]["name"] == "unusual" and one["type"] == "Warning" for one in found)
    assert found[0]["message"].startswith("new.example: was refused a host")
    assert found[2]["message"].startswith("a.example: 16,777,216 bytes sent within an hour")
    for kind in ("new-host", "period", "volume"):
        assert metrics.get(METRIC, (("kind", kind), ("workload", "shop/web"))) == 1


async def test_without_the_right_it_is_said(granted: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    uid = await granted.pod("shop", "mute", "web")
    events = Events(Api(granted.server_for(await granted.token("shop", "web", audience=ISSUER))))
    alerts = Alerts(
        tmp_path / PROFILE, learn([entry(rules={"(observed)": 1})], NOW, 7), lambda: NOW, Metrics().count, lambda uid: False, events.tell)
    alerts.take(uid, "shop/mute", [entry("new.example")])
    await send(events)
    assert "no Kubernetes Event: the API server refuses POST /api/v1/namespaces/shop/events: 403" in capfd.readouterr().err
