"""Who gets in: every pod of a meshed namespace has its sidecar, or is refused with words; also while nobody answers."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from injector.cluster.objects import INTERCEPTION, SIDECAR
from injector.documents import STATUS
from injector.settings import INJECTOR, SYSTEM

from .kubectl import Failed, Object
from .mesh import Mesh
from .space import Space
from .workloads import account, container, deployment, pod, template

pytestmark = pytest.mark.timeout(600)
INJECTORS = f"app.kubernetes.io/name={INJECTOR}"
CREATES, BATCHES = 200, 4


def made(space: Space, name: str = "app", annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    return pod(name, template(container(space.images.app), "default", annotations, **spec))


def names(one: Object) -> list[str]:
    return [found["name"] for found in one["spec"].get("initContainers", ())]


def test_a_pod_gets_its_sidecar_before_its_own_init_containers(space: Space) -> None:
    own = container(space.images.app, "curl", "-sS", "--fail", "--retry", "5", space.url("orders"))
    space.app("orders")
    space.app("web", initContainers=[{**own, "name": "early"}])      # which ends well only if it reaches another one of the mesh
    found, = space.pods("web")
    assert names(found) == [INTERCEPTION, SIDECAR, "early"]
    assert json.loads(found["metadata"]["annotations"][STATUS])["version"]
    security = {one["name"]: one["securityContext"] for one in found["spec"]["initContainers"][:2]}
    assert {name: one["capabilities"].get("add") for name, one in security.items()} == {INTERCEPTION: ["NET_ADMIN"], SIDECAR: None}
    for one in security.values():
        assert (one["readOnlyRootFilesystem"], one["allowPrivilegeEscalation"], one["seccompProfile"]) == (
            True, False, {"type": "RuntimeDefault"})


def test_a_pod_is_refused_with_words(space: Space) -> None:
    for spec, words in (({"hostNetwork": True}, "hostNetwork"), ({"shareProcessNamespace": True}, "shareProcessNamespace")):
        with pytest.raises(Failed, match=words):
            space.apply(made(space, **spec))
    look_alike = {**container(space.images.app, "sleep", "1d"), "name": SIDECAR}
    with pytest.raises(Failed, match="the name is ours"):
        space.apply(made(space, initContainers=[look_alike]))
    assert not space.kubectl.items(space.name, "pods")


def test_a_mistake_in_a_deployment_is_told_at_kubectl_apply(space: Space) -> None:
    wrong = {"bartizan.dev/routes": "- name: orders\n  port: 8080\n  alow: [{serviceAccount: web}]\n"}
    with pytest.raises(Failed) as caught:
        space.apply(account("orders"), deployment("orders", template(container(space.images.app), "orders", wrong)))
    for words in ("bartizan.dev/routes", "line 3", "alow", "allow"):
        assert words in str(caught.value)
    assert not space.kubectl.items(space.name, "deployments")


def create(space: Space, numbers: range) -> str:
    """What `kubectl create` says of so many pods in one file; it goes on after a refusal."""
    # They are never to run: what counts is whether the API server takes them.
    items = [made(space, f"number-{i}", nodeSelector={"no": "such-node"}) for i in numbers]
    done = space.try_run("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return done.stdout + done.stderr


def test_while_the_webhook_is_killed_no_pod_gets_in_without_a_sidecar(space: Space, mesh: Mesh) -> None:
    size = CREATES // BATCHES
    said = create(space, range(size))
    mesh.kubectl("-n", SYSTEM, "delete", "pods", "-l", INJECTORS, "--grace-period=0", "--force")
    with ThreadPoolExecutor() as threads:
        said += "".join(threads.map(lambda first: create(space, range(first, first + size)), range(size, CREATES, size)))
    mesh.ready()
    mesh.wait_until_it_admits(space)
    there = [names(one) for one in space.kubectl.items(space.name, "pods")]
    refused = [line for line in said.splitlines() if line.startswith("Error")]
    assert len(there) + len(refused) == CREATES
    assert refused, "the webhook was never away"
    assert all(found == [INTERCEPTION, SIDECAR] for found in there)
    assert all("failed calling webhook" in line for line in refused), refused[:3]


def test_without_any_webhook_the_cluster_itself_keeps_bare_pods_out(space: Space, mesh: Mesh) -> None:
    kept = {kind: space.kubectl("get", kind, INJECTOR, "-o", "json") for kind in
            ("mutatingwebhookconfiguration", "validatingwebhookconfiguration")}
    try:
        for kind in kept:
            space.kubectl("delete", kind, INJECTOR)
        with pytest.raises(Failed, match="ValidatingAdmissionPolicy"):
            space.apply(made(space))
        look_alike = {**container(space.images.app, "sleep", "1d"), "name": SIDECAR, "restartPolicy": "Always"}
        with pytest.raises(Failed, match="ValidatingAdmissionPolicy"):
            space.apply(made(space, initContainers=[{**look_alike, "name": INTERCEPTION, "restartPolicy": None}, look_alike]))
    finally:
        for text in kept.values():
            found = json.loads(text)
            for field in ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields"):
                found["metadata"].pop(field, None)
            space.kubectl("create", "-f", "-", stdin=json.dumps(found))
    mesh.wait_until_it_admits(space)
