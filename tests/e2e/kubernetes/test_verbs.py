"""The operator's verbs before a real API server, through the real kubectl: what it is told, what it may not, and what they find.

There is no node here. `kubectl exec` into a replica is carried out beside it: the command runs on this machine, before the operator
socket of an injector that looks at the same objects.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trio
import yaml

from injector.acknowledged import Acknowledged
from injector.cluster import Cluster as Objects
from injector.cluster.checked import checked
from injector.compile import compile_workload
from injector.compile.last_good import LastGood
from injector.compile.services import compile_services
from injector.findings import Finding
from injector.manifests import manifests
from injector.manifests.plan import read_plan
from injector.operator import SOCKET, Operator
from injector.questions import Questions
from injector.yaml_out import write_yaml
from sidecar.model.snapshot import render_snapshot
from sidecar.net.clock import wall_clock
from sidecar.net.listener import Tally, listen_unix, serve_listener
from sidecar.net.watched import Watched
from tests.injector.pods import egress_policy

from .cluster import SYSTEM, Cluster, running
from .kubectl import Kubectl

ROOT = Path(__file__).parents[3]
DOMAIN = "cluster.local"
ROUTES = "[{name: read, port: 8080, allow: [{serviceAccount: web}]}]"
EGRESS = "[{host: api.partner.example}, {host: nobody.example}]"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One of this file's own, with a mesh of objects: nobody runs anything of it."""
    with running(tmp_path_factory.mktemp("verbs")) as made:
        kubectl = Kubectl(made.kubeconfig)
        kubectl("apply", "--server-side", "-f", "-", stdin=write_yaml([
            one for one in manifests(read_plan(sets=["podSecurity=privileged"])) if not one["kind"].endswith("WebhookConfiguration")
            and not one["kind"].startswith("ValidatingAdmission")       # who would answer?
        ]))
        for name in ("shop", "other"):
            kubectl("create", "namespace", name)
        for name in ("shop", SYSTEM):
            kubectl("-n", name, "create", "serviceaccount", "default")      # which a controller would make
        kubectl("label", "namespace", "shop", "bartizan.dev/injection=enabled")
        kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [
            egress_policy(), pod("web-1"), pod("bare", has_sidecar=False),
            pod("bartizan-injector-0", namespace=SYSTEM, has_sidecar=False,
                labels={"app.kubernetes.io/part-of": "bartizan", "app.kubernetes.io/name": "bartizan-injector"}),
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
             "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "wbe"}]}},
        ]}))
        trio.run(report, made)
        yield made


async def report(cluster: Cluster) -> None:
    for namespace, name, address in (("shop", "web-1", "10.244.0.7"), ("shop", "bare", "10.244.0.8"), (SYSTEM, "bartizan-injector-0", "")):
        await cluster.report(namespace, name, "Running", address)


def pod(name: str, *, namespace: str = "shop", has_sidecar: bool = True, labels: dict[str, str] | None = None) -> dict[str, Any]:
    sidecar = {"name": "bartizan-sidecar", "image": "bartizan:0.1.0", "restartPolicy": "Always"}
    annotations = {"bartizan.dev/routes": ROUTES, "bartizan.dev/egress": EGRESS} if has_sidecar else {}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {"app": "web"}, "annotations": annotations},
        "spec": {"nodeName": "one", "automountServiceAccountToken": False, "serviceAccountName": "default",
                 "initContainers": [sidecar] if has_sidecar else [],
                 "containers": [{"name": "app", "image": "app", "ports": [{"name": "web", "containerPort": 8080}]}]},
    }


@contextmanager
def door(folder: Path, kubectl: Kubectl) -> Iterator[None]:
    """An injector's operator socket, of the objects that the API server has now."""
    kinds = "namespaces,pods,services,egresspolicies.bartizan.dev"
    items = json.loads(kubectl("get", kinds, "--all-namespaces", "-o", "json"))["items"]
    objects, memory, words = Objects.of(map(checked, items)), LastGood(), Acknowledged()
    uid = objects.pods["shop", "web-1"].uid
    compiled = compile_workload(objects, uid, DOMAIN, memory)
    assert compiled is not None
    text = render_snapshot(compiled.snapshot)
    words.note(uid, "0" * 32, "services[0]: too many", wall_clock(), wall_clock() + 3600 * 5)
    operator = Operator(
        Watched(objects), Questions(), lambda asked, besides: text if asked == uid else None, memory, wall_clock,
        problems_of=lambda asked: compiled.problems if asked == uid else (),
        services=lambda now, namespace: compile_services(now, namespace, DOMAIN, memory), acknowledged=words,
        certificate_ends=lambda: wall_clock() + 86400,
    )
    listening, ends = listen_unix(str(folder / SOCKET), where="state"), []

    async def serve() -> None:
        with trio.CancelScope() as scope:
            ends.append((trio.lowlevel.current_trio_token(), scope))
            await serve_listener(listening, operator.serve, Tally())

    thread = Thread(target=trio.run, args=(serve,))
    thread.start()
    try:
        yield
    finally:
        token, scope = ends[0]
        trio.from_thread.run_sync(scope.cancel, trio_token=token)
        thread.join()


@pytest.fixture
def kubectl(cluster: Cluster) -> Kubectl:
    return Kubectl(cluster.kubeconfig)


class Verbs:
    def __init__(self, folder: Path, kubectl: Kubectl) -> None:
        """kubectl, but that `exec` into a pod runs the command here; and the plugin."""
        self._folder = folder
        self._kubectl = kubectl
        ours = f"{sys.executable} -m injector.cli.main"
        self._script("kubectl", f"""
case " $* " in
*" -- bartizan "*) while [ "$1" != -- ]; do shift; done; shift 2; exec {ours} "$@" --state {folder} ;;
*) exec {kubectl.program} "$@" ;;
esac""")
        self._script("kubectl-bartizan", f'exec {ours} "$@"')

    def _script(self, name: str, text: str) -> None:
        (self._folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (self._folder / name).chmod(0o755)

    def __call__(self, *words: str, kubeconfig: Path | None = None) -> "subprocess.CompletedProcess[str]":
        return self.run(sys.executable, "-m", "injector.cli.main", *words, kubeconfig=kubeconfig)

    def run(self, *command: str, kubeconfig: Path | None = None) -> "subprocess.CompletedProcess[str]":
        path = f"{self._folder}:{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "KUBECONFIG": str(kubeconfig or self._kubectl.kubeconfig), "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, cwd=self._folder, env=env, timeout=120)


@pytest.fixture
def verbs(tmp_path: Path, kubectl: Kubectl) -> Verbs:
    return Verbs(tmp_path, kubectl)


@pytest.fixture
def stranger(cluster: Cluster, tmp_path: Path) -> Path:
    """The kubeconfig of an account that may do nothing."""
    config = json.loads(cluster.kubeconfig.read_text())
    config["users"][0]["user"]["token"] = trio.run(cluster.token, "shop", "default", None, "")
    path = tmp_path / "stranger.kubeconfig"
    path.write_text(json.dumps(config))
    return path


# -- check


def results(verbs: Verbs, *words: str) -> dict[str, str]:
    """By description, without what is counted in it."""
    found = json.loads(verbs("check", "-o", "json", *words).stdout)
    return {check["description"].partition(" (")[0]: check["result"] for one in found["categories"] for check in one["checks"]}


def test_before_an_installation(verbs: Verbs) -> None:
    found = results(verbs, "--pre")
    assert found.pop("no control plane is there already") == "warning"
    assert set(found.values()) == {"success"}
    assert len(found) == 6


def test_an_installation_that_nobody_runs(verbs: Verbs, tmp_path: Path, kubectl: Kubectl) -> None:
    with door(tmp_path, kubectl):
        found = results(verbs)
    well = {name for name, result in found.items() if result == "success"}
    assert {"the control plane's namespace exists", "injector and issuer are installed", "the API server knows EgressPolicy and MeshPolicy",
            "each part has two replicas", "every injector answers"} <= well
    assert found["all replicas of bartizan-injector are ready"] == found["webhook configurations exist"] == "error"
    done = verbs("check", "--no-color")
    assert done.returncode == 79
    assert done.stdout.splitlines()[-1] == "Status check results are ×"
    assert "see examples/kubernetes/checks.md#ready for hints" in done.stdout


def test_the_pods_of_the_mesh(verbs: Verbs, tmp_path: Path, kubectl: Kubectl) -> None:
    with door(tmp_path, kubectl):
        lines = verbs("check", "--proxy", "-n", "shop").stdout.splitlines()
    assert "× pods have a sidecar (1 of 2)" in lines
    assert "    shop/bare: it was there before its namespace was in the mesh" in lines
    assert "    shop/web-1 is STALE: it does not take the newest: services[0]: too many" in lines


def test_what_somebody_may_not_is_said_as_a_rule(verbs: Verbs, stranger: Path) -> None:
    done = verbs("check", "--pre", "-o", "short", kubeconfig=stranger)
    assert done.returncode == 79
    assert "you may not create namespaces, create customresourcedefinitions.apiextensions.k8s.io" in done.stdout
    done = verbs("status", "-n", "shop", kubeconfig=stranger)
    assert done.returncode == 1
    assert '{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}' in done.stderr
    assert "Traceback" not in done.stderr


def test_no_cluster_and_no_context(verbs: Verbs, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    nowhere.write_text("{}")
    done = verbs("check", kubeconfig=nowhere)
    assert (done.returncode, "no cluster answers" in done.stdout) == (79, True)
    done = verbs("describe", "web-1", "--context", "nope")
    assert (done.returncode, done.stderr) == (1, 'bartizan: kubectl: context "nope" does not exist\n')


# -- analyze


def test_what_only_a_cluster_shows(verbs: Verbs, kubectl: Kubectl) -> None:
    done = verbs("analyze", "-A", "-o", "json")
    assert done.returncode == 79
    found = {(one["code"], one["kind"], one["name"]) for one in json.loads(done.stdout)}
    assert (Finding.NO_SIDECAR.code, "Pod", "bare") in found
    assert (Finding.NO_SUCH_PORT.code, "Service", "web") in found
    assert (Finding.NOBODY_MAY.code, "Pod", "web-1") in found
    assert (Finding.NOT_APPROVED.code, "Pod", "web-1") in found
    kubectl("-n", "shop", "annotate", "service", "web", f"bartizan.dev/analyze-suppress={Finding.NO_SUCH_PORT.code}")
    assert Finding.NO_SUCH_PORT.code not in verbs("analyze", "-A").stdout


def test_files_as_they_would_be_there(verbs: Verbs, tmp_path: Path) -> None:
    path = tmp_path / "new.json"
    path.write_text(json.dumps(pod("new")))
    assert Finding.NOT_APPROVED.code not in verbs("analyze", str(path)).stdout
    done = verbs("analyze", str(path), "-n", "shop")
    assert (done.returncode, f"[{Finding.NOT_APPROVED.code}] (Pod new.shop {path}:" in done.stdout) == (79, True)


# -- what an injector knows


def test_how_it_stands(verbs: Verbs, tmp_path: Path, kubectl: Kubectl) -> None:
    with door(tmp_path, kubectl):
        heads, bare, web, *rest = verbs("status", "-n", "shop").stdout.splitlines()
        chosen = json.loads(verbs("status", "-A", "-l", "app=web", "-o", "json").stdout)["pods"]
    assert heads.split() == ["NAME", "VERSION", "SNAPSHOT", "CERT", "MTLS", "RULES"]
    assert bare.split() == ["bare.shop", "-", "NO", "SIDECAR", "-", "-", "-"]
    assert [*web.split()[:3], *web.split()[4:6]] == ["web-1.shop", "0.1.0", "STALE", "4h", "strict"]
    assert web.endswith("2 in force, 1 refused")
    assert rest[0] == "web-1.shop: its sidecar does not take the newest snapshot: services[0]: too many"
    assert {one["name"]: one["state"] for one in chosen} == {"bare": "NO SIDECAR", "web-1": "STALE"}


def test_what_stands_for_it(verbs: Verbs, tmp_path: Path, kubectl: Kubectl) -> None:
    with door(tmp_path, kubectl):
        lines = verbs("describe", "pod", "web-1", "-n", "shop").stdout
        service = verbs("describe", "svc/web", "-n", "shop").stdout
        snapshot = json.loads(verbs("config", "shop/web-1", "inbound").stdout)
        wrong = verbs("describe", "web-2", "-n", "shop")
    assert "Identity: spiffe://cluster.local/ns/shop/sa/default" in lines
    assert "read              :8080 * *         from web.shop" in lines
    assert "refused: bartizan.dev/egress nobody.example" in lines
    assert "without sidecar, and never called by the mesh: bare" in service
    assert snapshot["digest"]["isNewest"] is False
    assert snapshot["inbound"]["routes"][0]["name"] == "read"
    assert (wrong.returncode, "did you mean" in wrong.stderr) == (65, True)


def test_a_question_goes_to_the_injector_in_its_pod(verbs: Verbs, tmp_path: Path, kubectl: Kubectl) -> None:
    with door(tmp_path, kubectl):
        done = verbs("egress", "explain", "shop/bare", "api.partner.example", "--json")
    assert done.returncode == 1
    step, = json.loads(done.stdout)["steps"]
    assert (step["name"], step["outcome"]) == ("pod", "refused")


# -- inject, and the plugin


def test_settings_are_those_of_the_cluster(verbs: Verbs, tmp_path: Path, kubectl: Kubectl) -> None:
    kubectl("-n", SYSTEM, "create", "configmap", "bartizan-roots", "--from-literal=roots.pem=ROOTS")
    path = tmp_path / "pod.json"
    path.write_text(json.dumps(bare := plain(pod("new", has_sidecar=False))))
    injected = verbs("inject", "-f", str(path))
    assert injected.returncode == 0, injected.stderr
    assert "https://bartizan-injector.bartizan-system.svc:9444" in injected.stdout
    path.write_text(injected.stdout)
    assert yaml.safe_load(verbs("uninject", "-f", str(path)).stdout) == bare


def plain(found: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty, which comes back as nothing."""
    return {name: plain(value) if isinstance(value, dict) else value for name, value in found.items() if value not in ({}, [])}


def test_it_is_a_plugin_of_kubectl(verbs: Verbs) -> None:
    done = verbs.run("kubectl", "bartizan", "check", "--pre", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["success"]) == (0, True)
    assert verbs.run("kubectl", "bartizan", "--version").stdout.startswith("bartizan ")
