import json
from pathlib import Path

import pytest

from injector.cli.main import VERBS
from injector.cli.reach import main, split
from sidecar.model.errors import ConfigError

from .conftest import Program

MANIFESTS = """\
kind: Deployment
apiVersion: apps/v1
metadata: {name: web, namespace: shop}
spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}}}
---
kind: Pod
apiVersion: v1
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: app, ports: [{name: sql, containerPort: 5432}]}]}
status: {phase: Running, podIP: 10.0.0.7}
---
kind: Pod
apiVersion: v1
metadata: {name: db2, namespace: shop, labels: {app: db, kind: spare}}
spec: {containers: [{name: app, ports: [{name: sql, containerPort: 5433}]}]}
status: {phase: Running, podIP: 10.0.0.8}
---
kind: Service
apiVersion: v1
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 5432, targetPort: sql}]}
---
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: {name: spare, namespace: shop}
spec: {podSelector: {matchLabels: {kind: spare}}}
"""
NARROW = """\
---
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: {name: out, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchExpressions: [{key: kind, operator: DoesNotExist}]}}], ports: [{port: sql}]}]
"""


def run(tmp_path: Path, *words: str, text: str = MANIFESTS) -> int:
    (tmp_path / "x.yaml").write_text(text)
    return main([*words, "-f", str(tmp_path)])


def test_a_service_is_reached_where_every_pod_that_would_be_chosen_lets_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "shop/web", "shop/db:5432") == 1
    told = capsys.readouterr().out
    assert "shop/web -> shop/db:5432" in told
    assert "isolated by shop/spare, and none lists shop/web at port 5433 [BZ0112]" in told
    assert told.endswith("may not: not every pod that would be chosen lets it in\n")
    assert run(tmp_path, "shop/web", "shop/db", text=MANIFESTS + NARROW) == 0      # the other is not chosen
    told = capsys.readouterr().out
    assert "shop/out lists it" in told
    assert "isolated by shop/out, and none lists shop/db2 at port 5433 [BZ0216]" in told
    assert "mTLS, routes and approvals judge besides; ask: bartizan egress explain shop/web HOST" in told


def test_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "10.0.0.7", "10.0.0.8:5433", "--json") == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["may"], found["source"], found["to"], found["port"]) == (False, "shop/db", "shop/db2", 5433)
    assert found["sides"][1] == {
        "direction": "in", "may": False, "words": "isolated by shop/spare, and none lists shop/db at port 5433", "policies": ["shop/spare"],
        "code": "BZ0112",
    }


def test_a_namespace_may_stand_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "web", "db2", "-n", "shop") == 1
    assert run(tmp_path, "db2", "db2", "-n", "shop") == 0
    assert "a pod may always reach itself" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "who", "port"), [
    ("shop/web:80", "shop/web", 80), ("shop/web", "shop/web", None), ("web:80", "web", 80), ("10.0.0.1:80", "10.0.0.1", 80),
    ("10.0.0.1", "10.0.0.1", None), ("[fd00::1]:80", "fd00::1", 80), ("fd00::1", "fd00::1", None),
])
def test_what_is_meant(text: str, who: str, port: int | None) -> None:
    assert split(text) == (who, port)


@pytest.mark.parametrize("text", ["shop/web:http", "shop/web:0", "shop/web:99999", "shop/", "http://web/"])
def test_what_means_nothing(text: str) -> None:
    with pytest.raises(ConfigError):
        split(text)


POD = ('{"kind": "Pod", "metadata": {"name": "%s", "namespace": "shop", "labels": {"app": "%s"}}, '
       '"status": {"phase": "Running", "podIP": "%s"}, '
       '"spec": {"containers": [{"name": "app"}], "initContainers": [{"name": "bartizan-sidecar"}]}}')
CLUSTER = f"""
case "$*" in
*networkpolicies*) echo '{{"items": [{{"kind": "NetworkPolicy", "metadata": {{"name": "none", "namespace": "shop"}},
    "spec": {{"podSelector": {{"matchLabels": {{"app": "db"}}}}}}}}]}}' ;;
*policies*|*"get namespaces"*) echo '{{"items": []}}' ;;
*pods*) echo '{{"items": [{POD % ("web", "web", "10.0.0.1")},
    {POD % ("db", "db", "10.0.0.2")}, {{"kind": "Pod", "metadata": 7}}]}}' ;;
esac"""


def test_the_live_cluster(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    program(CLUSTER)
    assert main(["shop/web", "shop/db:80"]) == 1
    told = capsys.readouterr()
    assert "isolated by shop/none" in told.out
    assert "left out" in told.err
    assert main(["shop/db", "shop/web:80"]) == 0


def test_it_is_a_verb() -> None:
    assert VERBS["reach"][0] == "injector.cli.reach"
