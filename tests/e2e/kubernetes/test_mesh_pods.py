"""The life of a pod in the mesh: jobs end, probes mean what they meant."""

import pytest

from tests.helpers.pods import wait_until

from .kubectl import Object
from .space import Space
from .workloads import GRPC, HTTP, TCP, account, container, cron_job, job, template

pytestmark = pytest.mark.timeout(600)
ENDED_S = 60.0
EACH = {"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 2}
PROBES: dict[str, Object] = {
    "http": {"httpGet": {"path": "/healthz", "port": HTTP}},
    "tcp": {"tcpSocket": {"port": TCP}},
    "grpc": {"grpc": {"port": GRPC}},
    "exec": {"exec": {"command": ["sh", "-c", "! test -e /tmp/dead"]}},
}


def test_jobs_and_cron_jobs_complete(space: Space) -> None:
    space.app("orders")
    once = container(space.images.app, "curl", "-sS", "--fail", "--retry", "5", space.url("orders"))
    space.apply(account("batch"), job("once", template(once, "batch")), cron_job("nightly", template(once, "batch")))
    space.run("create", "job", "--from=cronjob/nightly", "tonight")
    for name in ("once", "tonight"):
        space.run("wait", f"job/{name}", "--for=condition=complete", "--timeout=60s")
    for pod in space.kubectl.items(space.name, "pods", "-l", "app=batch"):
        assert pod["status"]["phase"] == "Succeeded"


def is_ready(space: Space, app: str) -> bool:
    found, = space.pods(app)
    return {one["type"]: one["status"] for one in found["status"]["conditions"]}["Ready"] == "True"


def test_probes_of_each_kind_see_the_application(space: Space) -> None:
    """Well, then ill by its own word, or dead on all its ports, then well again."""
    for kind, probe in PROBES.items():
        space.apply_app(kind, container={"readinessProbe": {**probe, **EACH}})
    space.ready(*PROBES)
    for kind in PROBES:
        how = "/tmp/deaf" if kind == "tcp" else "/tmp/dead"
        for command, wanted in (("touch", False), ("rm", True)):
            assert space.exec_in(kind, command, how).returncode == 0
            becomes_ready(space, kind, wanted)


def becomes_ready(space: Space, app: str, wanted: bool) -> None:
    wait_until(lambda: is_ready(space, app) is wanted, lambda: space.kubectl.trouble(space.name), ENDED_S)



def test_a_liveness_probe_restarts_a_dead_application(space: Space) -> None:
    space.app("orders", container={"livenessProbe": {"tcpSocket": {"port": TCP}, **EACH}, "readinessProbe": None})
    assert space.exec_in("orders", "touch", "/tmp/deaf").returncode == 0

    def restarts() -> int:
        found, = space.pods("orders")
        return int(found["status"]["containerStatuses"][0]["restartCount"])

    wait_until(restarts, lambda: "it was never restarted", ENDED_S)
