"""Egress anomalies as Kubernetes Events about the pod, for who watches the cluster rather than our log.

They are a convenience: the log line and the metric are there already, so an Event that the API server does not take is told and
dropped, and nobody waits.

Spec: Kubernetes API, Event v1 core.
"""

import sys
from datetime import UTC, datetime
from typing import Any

import trio

from certs.kubernetes import Api, ApiError

from .alerts import PodName
from .anomalies import Anomaly

WAITING = 256           # more are dropped
MOST_TEXT = 1024        # what the API server takes of a message
REASONS = {"new-host": "EgressNewHost", "volume": "EgressVolume", "period": "EgressPeriod"}
COMPONENT = "bartizan-injector"


class Events:
    def __init__(self, api: Api) -> None:
        self._api = api
        self._into, self._out = trio.open_memory_channel[dict[str, Any]](WAITING)

    def tell(self, anomaly: Anomaly, pod: PodName) -> None:
        try:
            self._into.send_nowait(event(anomaly, pod))
        except trio.WouldBlock:
            _lost(f"{WAITING} wait already")

    async def run(self) -> None:
        async for made in self._out:
            try:
                await self._api.create(f"/api/v1/namespaces/{made['metadata']['namespace']}/events", made, dict)
            except ApiError as exc:
                _lost(str(exc))


def event(anomaly: Anomaly, pod: PodName) -> dict[str, Any]:
    when = datetime.fromtimestamp(int(anomaly.time), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"generateName": f"{pod.name}.", "namespace": pod.namespace},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
        "type": "Warning", "reason": REASONS[anomaly.kind], "message": f"{anomaly.host[:300]}: {anomaly.detail}"[:MOST_TEXT],
        "firstTimestamp": when, "lastTimestamp": when, "count": 1,
        "source": {"component": COMPONENT}, "reportingComponent": COMPONENT,
    }


def _lost(why: str) -> None:
    print(f"bartizan: no Kubernetes Event: {why}", file=sys.stderr, flush=True)
