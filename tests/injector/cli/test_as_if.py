"""Manifests as if they ran."""

from pathlib import Path

import pytest

from injector.cli.as_if import read_manifests
from sidecar.model.errors import ConfigError

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s, namespace: %s}
spec:
  template:
    metadata: {labels: {app: %s}, annotations: {bartizan.dev/egress: "- host: a.test"}}
    spec: {serviceAccountName: web, containers: [{name: app, image: app, ports: [{containerPort: 8080}]}]}
---
"""
MESHED = "kind: Namespace\nmetadata: {name: shop, labels: {bartizan.dev/injection: enabled}}\n---\n"
SERVICE = "kind: Service\nmetadata: {name: web, namespace: shop}\nspec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}\n"


def test_each_workload_has_a_pod(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "mesh.yaml").write_text(MESHED + SERVICE)
    (tmp_path / "deep" / "web.yaml").write_text(DEPLOYMENT % ("web", "shop", "web") + DEPLOYMENT % ("far", "other", "far")
                                             + "kind: Namespace\nmetadata: {name: other}\n")
    (tmp_path / "README.md").write_text("no manifest: [")
    cluster = read_manifests([str(tmp_path)])
    web, far = cluster.pods["shop", "web"], cluster.pods["other", "far"]
    assert (web.has_sidecar, far.has_sidecar) == (True, False)      # as the webhook would have it
    assert web.service_account == "web"
    assert web.annotations == {"bartizan.dev/egress": "- host: a.test"}
    assert cluster.workload_of(web) is cluster.workloads["Deployment", "shop", "web"]
    assert len({*web.addresses, *far.addresses}) == 2
    (found,) = cluster.slices["shop", "web"]
    assert found.data["endpoints"][0]["addresses"] == list(web.addresses)


def test_what_has_a_pod_there_gets_no_other(tmp_path: Path) -> None:
    """As in what `kubectl get -o yaml` has printed."""
    replica_set = DEPLOYMENT.replace("kind: Deployment", "kind: ReplicaSet").replace(
        "metadata: {name: %s", "metadata: {ownerReferences: [{kind: Deployment, name: web, controller: true}], name: %s", 1)
    (tmp_path / "web.yaml").write_text(DEPLOYMENT % ("web", "shop", "web") + replica_set % ("web-1", "shop", "web"))
    assert sorted(read_manifests([str(tmp_path)]).pods) == [("shop", "web")]
    (tmp_path / "pod.yaml").write_text(
        "kind: Pod\nmetadata: {name: web-1-x, namespace: shop, ownerReferences: [{kind: ReplicaSet, name: web-1, controller: true}]}\n"
        "status: {phase: Running, podIP: 10.0.0.1}\n")
    assert sorted(read_manifests([str(tmp_path)]).pods) == [("shop", "web-1-x")]


def test_a_namespace_that_is_not_among_them_is_taken_for_a_meshed_one(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(DEPLOYMENT % ("web", "shop", "web"))
    assert read_manifests([str(tmp_path)]).pods["shop", "web"].has_sidecar


@pytest.mark.parametrize(("name", "text"), [("missing.yaml", None), ("broken.yaml", "kind: [")])
def test_what_cannot_be_read(name: str, text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=name):
        read_manifests([str(tmp_path / name)])
