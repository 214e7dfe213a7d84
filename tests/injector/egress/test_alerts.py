"""Anomalies told: once a day, in log and metric; and profiles that outlive the process, or are learned anew."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import trio
from trio.testing import MockClock

from injector.cluster import Cluster
from injector.documents import Egress
from injector.egress.alerts import METRIC, MOST_TOLD, PROFILE, SAVE_EVERY_S, Alerts, PodName
from injector.egress.anomalies import Anomaly, Kind
from injector.egress.profile import DAY_S, Profile, learn
from injector.pod_events import ANOMALIES
from injector.server import Webhook
from injector.settings import Settings
from injector.validate import read_mesh_policy
from injector.yaml_text import read_all
from sidecar.model.call import Call
from sidecar.model.ledger import Entry
from sidecar.net.watched import Watched
from sidecar.telemetry.metrics import Metrics
from tests.injector.audit.support import NOW as STORED
from tests.injector.audit.support import ORDERS, PAYMENTS, PODS, WEB, World

from .support import tell
from .test_anomalies import OBSERVED
from .test_profile import NOW, entry, refusal

WEB_1 = ("uid-web-1", "shop/web-1")
GATEWAY = "uid-gateway-1"


class Told:
    """Alerts of a workload that was observed to reach a.example, and what they told."""

    def __init__(self, folder: Path, profile: Profile | None = None) -> None:
        self.now = NOW
        self.metrics = Metrics()
        self.events: list[tuple[Anomaly, PodName]] = []
        self.alerts = Alerts(
            folder / PROFILE, profile or learn([entry(at=NOW - 60, rules=OBSERVED)], NOW, 7), lambda: self.now, self.metrics.count,
            lambda uid: uid == GATEWAY, lambda anomaly, pod: self.events.append((anomaly, pod)))

    def take(self, *entries: Entry) -> None:
        self.alerts.take(*WEB_1, entries)

    def counted(self, kind: str, workload: str = "shop/web") -> float:
        return self.metrics.get(METRIC, (("kind", kind), ("workload", workload)))


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_new_host_is_one_line_one_count_and_one_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = Told(tmp_path)
    told.take(entry(), entry("new.example"), entry("new.example", at=NOW + 1), refusal("new.example"))
    (line,) = lines(capsys)
    assert line == {
        "event": "egress-anomaly", "kind": "new-host", "workload": WEB, "host": "new.example", "time": NOW, "pod": "shop/web-1",
        "detail": "reached a host that is new to it, or tried to",
    }
    assert told.counted("new-host") == 1
    ((anomaly, pod),) = told.events
    assert (anomaly.host, pod) == ("new.example", PodName("shop", "web-1", "uid-web-1"))


def test_once_a_day_for_each_host_and_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = Told(tmp_path)
    for day in range(2):
        told.now = NOW + day * DAY_S
        for second in range(5):
            for host in ("a.example", "b.example"):
                told.take(entry(host, at=told.now + second, sent=(1 << 22) * 8 ** day))
    found = [(line["kind"], line["host"]) for line in lines(capsys)]
    both = [("volume", "a.example"), ("volume", "b.example")]
    assert sorted(found) == sorted([*both, ("new-host", "b.example"), *both])
    assert (told.counted("volume"), told.counted("new-host")) == (4, 1)


def test_one_workload_drowns_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = Told(tmp_path, learn([entry(at=NOW - 60, rules=OBSERVED, local=who) for who in (WEB, ORDERS)], NOW, 7))
    told.take(*(refusal(f"{number}.example") for number in range(3 * MOST_TOLD)))
    told.alerts.take("uid-orders-1", "shop/orders-1", [entry("new.example", local=ORDERS)])
    err = capsys.readouterr().err.splitlines()
    assert len(err) == MOST_TOLD + 2
    assert err[MOST_TOLD] == "bartizan: more egress anomalies of shop/web today are counted, and not told"
    assert json.loads(err[-1])["workload"] == ORDERS
    assert told.counted("new-host") == 3 * MOST_TOLD
    assert told.counted("new-host", "shop/orders") == 1
    told.now += DAY_S
    told.take(entry("next-day.example", at=told.now))
    assert [line["host"] for line in lines(capsys)] == ["next-day.example"]


def test_a_gateway_speaks_for_whom_it_leads_out_and_nobody_else_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = Told(tmp_path)
    led = entry("new.example", local=PAYMENTS, caller=WEB)
    told.alerts.take("uid-payments-1", "pay/payments-1", [led])
    assert "new.example" not in told.alerts.profile.workloads[WEB].hosts
    assert told.events == []
    told.alerts.take(GATEWAY, "edge/gateway-1", [led])
    assert [(line["workload"], line["pod"]) for line in lines(capsys)] == [(WEB, "edge/gateway-1")]
    assert PAYMENTS not in told.alerts.profile.workloads


def test_a_name_is_one_line_whatever_it_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Told(tmp_path).take(entry('x\n{"event":"none"}'))
    assert len(lines(capsys)) == 1


@pytest.mark.parametrize("at", [-1e308, -1e18, -1.0, 0.0, NOW - 8 * DAY_S])
def test_what_is_older_than_a_profile_looks_back_is_passed_over(at: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No date can be made of some of it, and its days would be remembered one by one."""
    told = Told(tmp_path)
    before = msgspec.json.encode(told.alerts.profile)
    told.take(entry("old.example", at, local=ORDERS), entry("old.example", at))
    assert msgspec.json.encode(told.alerts.profile) == before
    assert lines(capsys) == []


# -- kept


async def test_profiles_are_kept_each_minute(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    told, path = Told(tmp_path), tmp_path / PROFILE
    nursery.start_soon(told.alerts.run)
    await trio.sleep(10 * SAVE_EVERY_S)
    assert not path.exists()        # there is no news
    told.take(entry("b.example"))
    await trio.sleep(SAVE_EVERY_S + 1)
    assert path.stat().st_mode & 0o777 == 0o600
    assert msgspec.json.decode(path.read_bytes(), type=Profile) == told.alerts.profile


async def test_a_restart_knows_what_was_known(tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    told = Told(tmp_path)
    told.take(entry("b.example"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await told.alerts.run()
    told.alerts = Alerts.open(tmp_path, 7, lambda: NOW, told.metrics.count, lambda uid: False)
    capsys.readouterr()
    told.take(entry("b.example"), entry("a.example"))
    assert lines(capsys) == []
    told.take(entry("c.example"))
    assert [line["host"] for line in lines(capsys)] == ["c.example"]


@pytest.mark.parametrize("kept", [None, b"", b"{", b'{"days": "x"}', b"\xff"])
def test_what_is_missing_is_learned_of_the_ledgers(kept: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(tmp_path / "ledger")
    tell(world, "a.example", "tls:443")
    tell(world, "pay.example", "tls:443", local=PAYMENTS)
    world.store()
    if kept is not None:
        (tmp_path / PROFILE).write_bytes(kept)
    profile = Alerts.open(tmp_path, 7, lambda: STORED, Metrics().count, lambda uid: False).profile
    assert {identity: set(workload.hosts) for identity, workload in profile.workloads.items()} == {
        WEB: {"a.example"}, PAYMENTS: {"pay.example"}}
    assert ("is learned anew" in capsys.readouterr().err) is (kept is not None)


def test_nothing_is_learned_of_what_cannot_be_believed(tmp_path: Path) -> None:
    world = World(tmp_path / "ledger")
    tell(world, "a.example", "tls:443")
    tell(world, "b.example", "tls:443")
    tell(world, "pay.example", "tls:443", local=PAYMENTS)
    world.ledgers[PODS[ORDERS]] = world.ledgers.pop(PODS[PAYMENTS])     # another namespace's ledger
    world.store()
    path = world.path(PODS[WEB])
    path.write_bytes(path.read_bytes().replace(b"a.example", b"evil.test"))
    assert Alerts.open(tmp_path, 7, lambda: STORED, Metrics().count, lambda uid: False).profile.workloads == {}


def test_without_any_ledger_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    assert Alerts.open(tmp_path, 3, lambda: NOW, Metrics().count, lambda uid: False).profile == Profile(3)


async def test_a_disk_that_does_not_take_it_is_told(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(tmp_path / "gone")
    told.take(entry())
    nursery.start_soon(told.alerts.run)
    await trio.sleep(SAVE_EVERY_S + 1)
    assert "egress profiles are not kept" in capsys.readouterr().err
    (tmp_path / "gone").mkdir()
    await trio.sleep(SAVE_EVERY_S)
    assert (tmp_path / "gone" / PROFILE).exists()


async def test_the_metric_is_there_to_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = Told(tmp_path)
    told.take(entry("new.example"))
    webhook = Webhook(Settings, Watched(Cluster.of([])), told.metrics)
    answer = await webhook.answer(Call("GET", "/metrics", "", {}, b""))
    assert answer.status == 200
    assert b'\nbartizan_egress_anomalies_total{kind="new-host",workload="shop/web"} 1\n' in answer.body


# -- examples/egress/learning.md

GUIDE = (Path(__file__).parents[3] / "examples" / "egress" / "learning.md").read_text()


def test_the_line_in_the_guide_is_the_line_that_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Told(tmp_path).take(entry("paste.example"))
    (line,) = lines(capsys)
    (shown,) = (json.loads(text) for text in GUIDE.splitlines() if text.startswith('{"event"'))
    assert shown == line | {"workload": "spiffe://example.org/ns/shop/sa/web", "time": shown["time"]}


def test_the_guide_explains_every_kind_and_how_it_is_told() -> None:
    for kind in get_args(Kind):
        assert f"| `{kind}` |" in GUIDE
        assert f'{METRIC}{{kind="{kind}"}}' in GUIDE
        assert ANOMALIES[kind] in GUIDE
    assert "BZ0209" in GUIDE
    assert "bartizan_egress_budget_exhausted_total" in GUIDE
    assert PROFILE in GUIDE


def test_the_policy_in_the_guide_observes() -> None:
    (policy, *_) = re.findall(r"```yaml\n(apiVersion.*?)```", GUIDE, re.DOTALL)
    (document,) = read_all(policy, 1 << 16)
    assert read_mesh_policy(document.data).egress == Egress("observe", datetime(2027, 1, 31, tzinfo=UTC))
