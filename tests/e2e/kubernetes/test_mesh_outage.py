"""The control plane is away: what is there goes on, and comes back by itself."""

import json
import os

import pytest

from injector.cluster.objects import SIDECAR
from injector.settings import INJECTOR, ISSUER, SYSTEM
from tests.helpers.pods import wait_until

from .mesh import Mesh
from .space import Space

pytestmark = pytest.mark.timeout(1800)
# How long it is away. Certificates live for five minutes here, and the shortest pause shows the same but for those.
AWAY_S = float(os.environ.get("BARTIZAN_E2E_AWAY_S", "5"))
BACK_S = 30.0


def sidecar_of(space: Space, app: str) -> dict[str, object]:
    found, = space.pods(app)
    return next(one for one in found["status"]["initContainerStatuses"] if one["name"] == SIDECAR)


def test_traffic_goes_on_and_a_restarted_sidecar_serves(space: Space, mesh: Mesh) -> None:
    space.apply_app("orders")
    space.apply_app("web")
    space.ready("orders", "web")
    replicas = {name: mesh.kubectl.get(SYSTEM, f"statefulset/{name}")["spec"]["replicas"] for name in (INJECTOR, ISSUER)}
    try:
        for name in replicas:
            mesh.kubectl("-n", SYSTEM, "scale", f"statefulset/{name}", "--replicas=0")
        wait_until(lambda: not mesh.kubectl.items(SYSTEM, "pods"), lambda: mesh.kubectl.trouble(SYSTEM), 60)
        with space.load("web", space.url("orders")) as seen:
            space.run("exec", "deployment/web", "-c", "app", "--", "sleep", f"{AWAY_S:g}")
        assert list(seen) == ["200"], seen
        kill = ["python3", "-c", "import os, signal; os.kill(1, signal.SIGKILL)"]
        for app in ("orders", "web"):
            # Its first process takes no SIGKILL from inside: it ends as it does when a pod ends, and is started again.
            assert space.exec_in(app, *kill[:2], kill[2].replace("KILL", "TERM"), container=SIDECAR).returncode == 0
            wait_until(lambda app=app: sidecar_of(space, app)["restartCount"] == 1 and sidecar_of(space, app)["ready"],
                       lambda: mesh.kubectl.trouble(space.name), BACK_S)
        assert space.curl("web", space.url("orders")).status == 200
    finally:
        for name, count in replicas.items():
            mesh.kubectl("-n", SYSTEM, "scale", f"statefulset/{name}", f"--replicas={count}")
        mesh.ready()
        mesh.wait_until_it_admits(space)
    routes = [{"name": "none", "port": 8080, "matches": [{"path": {"type": "PathPrefix", "value": "/only"}}]}]
    space.run("annotate", "deployment/orders", f"bartizan.dev/routes={json.dumps(routes)}")
    wait_until(lambda: space.curl("web", space.url("orders")).status == 403, lambda: "the change did not arrive", BACK_S)
