"""Events that reach the API server, and what becomes of those that do not. A real one: tests/e2e/kubernetes/test_events.py."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from certs.kubernetes import Api
from injector.egress.alerts import PodName
from injector.egress.anomalies import Anomaly
from injector.egress.events import MOST_TEXT, WAITING, Events, event
from sidecar.model.call import Answer, Call
from tests.certs.api_server import api_server, failure
from tests.injector.audit.support import NOW, WEB

ANOMALY = Anomaly("new-host", WEB, "new.example", NOW + 0.5, "reached a host that is new to it, or tried to")
POD = PodName("shop", "web-1", "uid-web-1")


def test_what_an_event_says() -> None:
    assert event(ANOMALY, POD) == {
        "apiVersion": "v1", "kind": "Event", "metadata": {"generateName": "web-1.", "namespace": "shop"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "uid-web-1"},
        "type": "Warning", "reason": "EgressNewHost", "message": "new.example: reached a host that is new to it, or tried to",
        "firstTimestamp": "2026-05-28T20:26:40Z", "lastTimestamp": "2026-05-28T20:26:40Z", "count": 1,
        "source": {"component": "bartizan-injector"}, "reportingComponent": "bartizan-injector",
    }
    assert len(event(Anomaly("volume", WEB, "x" * 5000, NOW, "y" * 5000), POD)["message"]) == MOST_TEXT


async def test_one_after_the_other_and_a_refusal_stops_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made: list[Any] = []
    with trio.fail_after(20):
        async with api_server(tmp_path) as (double, config), trio.open_nursery() as nursery:
            done = trio.Event()

            def take(call: Call) -> Answer:
                made.append((call.method, call.path, json.loads(call.body)["reason"]))
                if len(made) == 3:
                    done.set()
                return failure(409, call.path) if len(made) == 1 else Answer(201, call.body)

            double.before = take
            events = Events(Api(config))
            for kind in ("new-host", "volume", "period"):
                events.tell(Anomaly(kind, WEB, "a.example", NOW, "x"), POD)     # type: ignore[arg-type]
            nursery.start_soon(events.run)
            await done.wait()
            nursery.cancel_scope.cancel()
    path = "/api/v1/namespaces/shop/events"
    assert made == [("POST", path, reason) for reason in ("EgressNewHost", "EgressVolume", "EgressPeriod")]
    assert "bartizan: no Kubernetes Event: the API server refuses POST" in capfd.readouterr().err


async def test_nobody_waits_for_an_api_server(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with api_server(tmp_path) as (_, config):
        events = Events(Api(config))
        for _ in range(WAITING + 1):
            events.tell(ANOMALY, POD)
    assert capfd.readouterr().err == f"bartizan: no Kubernetes Event: {WAITING} wait already\n"
