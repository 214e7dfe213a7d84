"""Another revision beside the first, and the end of all of it. These tests are the last: the mesh does not survive them."""

import pytest

from injector.documents import REVISION
from injector.settings import SYSTEM
from tests.helpers.pods import wait_until

from .mesh import Mesh
from .space import Space
from .workloads import LEAVES_IN_ORDER

pytestmark = pytest.mark.timeout(900)
NEXT = "next"
WITHIN_S = 60.0


def injector_of(space: Space, app: str) -> str:
    """The Service by which the pod's sidecar is told its rules."""
    found, = space.pods(app)
    return str(found["spec"]["initContainers"])


def test_upgrade_by_revision(space: Space, mesh: Mesh) -> None:
    space.apply_app("orders", container=LEAVES_IN_ORDER)
    space.apply_app("web")
    space.ready("orders", "web")
    mesh.apply(mesh.bartizan("upgrade", *mesh.values(), "--revision", NEXT))
    mesh.ready()
    space.kubectl("label", "namespace", space.name, f"{REVISION}={NEXT}")
    mesh.wait_until_it_admits(space)
    with space.load("web", space.url("orders")) as seen:
        space.run("rollout", "restart", "deployment/orders")
        space.ready("orders")
    assert list(seen) == ["200"], seen
    assert f"bartizan-injector-{NEXT}." in injector_of(space, "orders")
    assert f"bartizan-injector-{NEXT}." not in injector_of(space, "web")
    assert space.curl("web", space.url("orders")).status == 200


def test_uninstall_refuses_while_there_are_meshed_pods_and_then_works(mesh: Mesh, space: Space) -> None:
    space.app("orders")
    done = mesh.try_bartizan("uninstall")
    assert done.returncode != 0
    assert f"{space.name}" in done.stderr
    for name in meshed(mesh):
        mesh.kubectl("delete", "namespace", name, "--ignore-not-found")
    mesh.bartizan("uninstall")
    assert {one.partition("/")[0].partition(".")[0] for one in left(mesh)} == {"namespace", "customresourcedefinition"}
    assert mesh.kubectl("-n", SYSTEM, "get", "secrets", "-o", "name")      # the authority, with which it could go on
    mesh.bartizan("uninstall", "--purge")
    wait_until(lambda: not left(mesh), lambda: str(left(mesh)), WITHIN_S)


def meshed(mesh: Mesh) -> list[str]:
    return [one["metadata"]["name"] for one in mesh.kubectl.items("default", "namespaces", "-l", "bartizan.dev/injection=enabled")]


def left(mesh: Mesh) -> list[str]:
    kinds = "namespaces,clusterroles,clusterrolebindings,customresourcedefinitions,mutatingwebhookconfigurations," \
            "validatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings"
    found = mesh.kubectl("get", kinds, "-l", "app.kubernetes.io/part-of=bartizan", "-o", "name")
    return found.split()
