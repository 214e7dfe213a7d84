"""The control plane is away: what is there goes on, nobody gets in beside it, and it comes back by itself."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from injector.cluster.objects import SIDECAR
from injector.settings import INJECTOR, ISSUER, SYSTEM
from tests.helpers.pods import wait_until

from .kubectl import Failed, Object
from .mesh import Mesh
from .space import Space
from .workloads import container, pod, template

pytestmark = pytest.mark.timeout(1800)
# How long it is away: ten minutes, if somebody wants to see it. Certificates live for five here, so then it is to be less than that.
AWAY_S = float(os.environ.get("BARTIZAN_E2E_AWAY_S", "5"))
WITHIN_S = 60.0


@contextmanager
def away(mesh: Mesh) -> Iterator[None]:
    replicas = {name: mesh.kubectl.get(SYSTEM, f"statefulset/{name}")["spec"]["replicas"] for name in (INJECTOR, ISSUER)}
    try:
        for name in replicas:
            mesh.kubectl("-n", SYSTEM, "scale", f"statefulset/{name}", "--replicas=0")
        wait_until(lambda: not mesh.kubectl.items(SYSTEM, "pods"), lambda: mesh.kubectl.trouble(SYSTEM), WITHIN_S)
        yield
    finally:
        for name, count in replicas.items():
            mesh.kubectl("-n", SYSTEM, "scale", f"statefulset/{name}", f"--replicas={count}")
        mesh.ready()


def sidecar_of(space: Space, app: str) -> Object:
    found, = space.pods(app)
    return next(one for one in found["status"]["initContainerStatuses"] if one["name"] == SIDECAR)


def restart_sidecar(mesh: Mesh, space: Space, app: str) -> None:
    """As if it had crashed. Returns when it serves again."""
    before = sidecar_of(space, app)
    mesh.node.kill(before["containerID"].removeprefix("containerd://"))
    wait_until(lambda: sidecar_of(space, app)["restartCount"] > before["restartCount"] and sidecar_of(space, app)["ready"],
               lambda: mesh.kubectl.trouble(space.name), WITHIN_S)


def test_without_a_control_plane(space: Space, mesh: Mesh) -> None:
    space.apply_app("orders")
    space.apply_app("web")
    space.ready("orders", "web")
    with away(mesh):
        with space.load("web", space.url("orders")) as seen:
            space.run("exec", "deployment/web", "-c", "app", "--", "sleep", f"{AWAY_S:g}")
        assert list(seen) == ["200"], seen
        with pytest.raises(Failed, match="failed calling webhook"):
            space.apply(pod("new", template(container(space.images.app), "default")))
        if mesh.node.inside is not None:        # in another cluster nobody can have a sidecar crash
            for app in ("orders", "web"):
                restart_sidecar(mesh, space, app)
            assert space.curl("web", space.url("orders")).status == 200
    only = {"path": {"type": "Exact", "value": "/only"}}
    routes = [{"name": "only", "port": 8080, "matches": [only], "allow": [{"serviceAccount": "web"}]}]
    mesh.wait_until_it_admits(space)
    space.run("annotate", "deployment/orders", f"bartizan.dev/routes={json.dumps(routes)}")
    wait_until(lambda: space.curl("web", space.url("orders")).status == 403, lambda: "the change did not arrive", WITHIN_S)
