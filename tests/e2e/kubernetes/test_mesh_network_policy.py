"""NetworkPolicies as operators write them, verbatim: what pods reach then, and what reaches them, on a network that enforces none of it.

Each refusal is named where people look for it: in the log, in the metric, in the report.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from injector.cluster.objects import SIDECAR
from injector.settings import SYSTEM
from sidecar.model import ports
from sidecar.model.reason import Reason
from tests.helpers.pods import ROOT, wait_until

from .conftest import Lasting
from .kubectl import Failed, Kubectl, Object
from .mesh import Mesh
from .node_files import ELSEWHERE, OUTSIDE
from .outside import OTHER, Outside
from .space import Answer, Space
from .workloads import HTTP, TCP

pytestmark = pytest.mark.timeout(600)
MANIFESTS = ROOT / "tests" / "vectors" / "acceptance"
PRIVATE, PUBLIC = ELSEWHERE
IN, OUT = (f"{reason.code} {reason.token}" for reason in (Reason.NETWORK_POLICY_IN, Reason.NETWORK_POLICY_OUT))
SHIPPED_S = 30.0
ENDS_S = 30.0


@pytest.fixture(scope="module")
def plain(mesh: Mesh) -> Iterator[Space]:
    """Not in the mesh, with one pod, `free`."""
    with mesh.space("plain", **{"bartizan.dev/injection": "disabled"}) as made:
        made.app("free")
        yield made


@contextmanager
def applied(kubectl: Kubectl, namespace: str, name: str) -> Iterator[str]:
    """The manifest as it stands; the name by which refusals tell of it."""
    file = MANIFESTS / f"networkpolicy-{name}.yaml"
    kubectl("-n", namespace, "apply", "-f", str(file))
    found = kubectl.get(namespace, "-f", str(file))["metadata"]
    try:
        yield f"{found['namespace']}/{found['name']}"
    finally:
        kubectl("-n", namespace, "delete", "-f", str(file))


def reaches(space: Space, who: str, host: str, port: int = 80) -> None:
    answer = space.curl(who, f"http://{host}:{port}/")
    assert (answer.status, answer.reason) == (200, "")


def is_refused(space: Space, who: str, url: str, reason: str) -> Answer:
    answer = space.curl(who, url)
    assert (answer.status, answer.reason) == (403, reason)
    return answer


def comes_into_force(space: Space, who: str, url: str, reason: str) -> None:
    wait_until(lambda: space.curl(who, url).reason == reason, lambda: f"{who} still reaches {url}")


def log_of(space: Space, app: str) -> list[Object]:
    """What its sidecar wrote of connections and requests."""
    text = space.run("logs", f"deployment/{app}", "-c", SIDECAR, "--tail=-1")
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def is_named(mesh: Mesh, plain: Space, space: Space, app: str, reason: Reason, policy: str, report: str) -> None:
    """In log, metric and report."""
    assert [line for line in log_of(space, app) if policy in json.dumps(line) and reason.code in json.dumps(line)]
    pod, = space.pods(app)
    metrics = plain.exec_in("free", "curl", "-sS", f"http://{pod['status']['podIP']}:{ports.METRICS}/metrics")
    assert [line for line in metrics.stdout.splitlines() if reason.code in line], metrics

    def told() -> str:
        replicas = mesh.kubectl.items(SYSTEM, "pods", "-l", "app.kubernetes.io/name=bartizan-injector")
        return "".join(_audited(mesh, one["metadata"]["name"], report) for one in replicas)

    wait_until(lambda: reason.code in (found := told()) and policy in found, told, SHIPPED_S)


def _audited(mesh: Mesh, replica: str, report: str) -> str:
    """A sidecar ships to one of the replicas; one that none has shipped to yet can say nothing, and fails."""
    try:
        return mesh.kubectl.execute(SYSTEM, replica, "bartizan", "audit", report, "-o", "json")
    except Failed as exc:
        return str(exc)


@pytest.fixture
def default(mesh: Mesh) -> Iterator[Space]:
    """The namespace that the manifest names, in the mesh for as long as that."""
    mesh.kubectl("label", "namespace", "default", "bartizan.dev/injection=enabled")
    made = Space("default", mesh.kubectl, mesh.images)
    mesh.wait_until_it_admits(made)
    try:
        yield made
    finally:
        made.run("delete", "deployments,services", "-l", "app=backend", "--wait=false")
        made.run("delete", "deployment/backend", "deployment/other", "service/backend", "service/other", "--ignore-not-found")
        mesh.kubectl("label", "namespace", "default", "bartizan.dev/injection-")


def test_egress_to_a_range(mesh: Mesh, default: Space, lasting: Lasting, plain: Space, beyond: Outside) -> None:
    default.apply_app("backend")
    default.apply_app("other")
    default.ready("backend", "other")
    orders = lasting.space.url("orders")
    with applied(mesh.kubectl, "default", "restrict-egress-cidr") as policy:
        comes_into_force(default, "backend", orders, OUT)
        for port in (80, OTHER):
            reaches(default, "backend", OUTSIDE[4], port)
        for address in ELSEWHERE:
            assert policy in is_refused(default, "backend", f"http://{address}/", OUT).body
            reaches(plain, "free", address)                 # or this would prove nothing
        is_named(mesh, plain, default, "backend", Reason.NETWORK_POLICY_OUT, policy, "egress")
        assert default.curl("other", orders).status == 200
        assert default.curl("other", f"http://{OUTSIDE[4]}/").status == 403     # which nobody approved
    wait_until(lambda: default.curl("backend", orders).status == 200, lambda: "it is gone, and counts")
    assert default.curl("backend", f"http://{OUTSIDE[4]}/").status == 403


def test_egress_to_one_address(mesh: Mesh, space: Space, plain: Space, beyond: Outside) -> None:
    """Without `policyTypes`: what enters is isolated, too."""
    space.apply_app("backend", labels={"role": "backend"})
    space.apply_app("web")
    space.ready("backend", "web")
    reaches(space, "web", f"backend.{space.name}", HTTP)
    with applied(mesh.kubectl, space.name, "restrict-egress-one-address") as policy:
        comes_into_force(space, "web", space.url("backend"), IN)
        tls = space.exec_in("backend", "curl", "-sSk", "--max-time", "10", f"https://{PUBLIC}/")
        assert json.loads(tls.stdout)["address"].endswith(PUBLIC), tls.stderr
        for url in (f"http://{PUBLIC}/", f"http://{OUTSIDE[4]}/", f"http://{PRIVATE}/", space.url("web")):
            assert policy in is_refused(space, "backend", url, OUT).body
        is_named(mesh, plain, space, "backend", Reason.NETWORK_POLICY_IN, policy, "mtls")


def test_ingress_at_one_port_from_anywhere(mesh: Mesh, space: Space, plain: Space) -> None:
    """Also from peers without a sidecar, as far as the mesh takes plaintext at all."""
    probe = {"readinessProbe": {"httpGet": {"path": "/healthz", "port": HTTP}, "periodSeconds": 1}}
    space.apply_app("frontend", {"bartizan.dev/ports": f"{TCP}: opaque"}, labels={"role": "frontend"}, container=probe,
                    command=("python3", "/app.py", "serve", "80"))
    space.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"}, "spec": {
        "selector": {"app": "frontend"}, "ports": [{"name": "http", "port": 80}]}})
    space.apply_app("web")
    space.ready("frontend", "web")
    until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    permissive = {"apiVersion": "bartizan.dev/v1alpha1", "kind": "MeshPolicy", "metadata": {"name": space.name}, "spec": {
        "selector": {"namespaces": [space.name]}, "mtls": {"mode": "permissive", "until": until}}}
    pod, = space.pods("frontend")
    address = pod["status"]["podIP"]
    reaches(space, "web", f"frontend.{space.name}", HTTP)
    space.kubectl.apply(permissive)
    try:
        wait_until(lambda: plain.curl("free", f"http://{address}/").status == 200, lambda: "plaintext does not come in")
        with applied(mesh.kubectl, space.name, "allow-frontend-ingress") as policy:
            comes_into_force(space, "web", space.url("frontend"), IN)
            reaches(space, "web", f"front.{space.name}")
            reaches(plain, "free", address)
            assert plain.curl("free", f"http://{address}:{HTTP}/").reason == IN
            refused = space.exec_in("web", "python3", "-c", LINES, f"frontend.{space.name}")
            assert refused.stdout == "b''\n", refused
            space.ready("frontend")     # the kubelet's probe is nobody's traffic
            is_named(mesh, plain, space, "frontend", Reason.NETWORK_POLICY_IN, policy, "mtls")
        wait_until(lambda: space.curl("web", space.url("frontend")).status == 200, lambda: "it is gone, and counts")
    finally:
        space.kubectl("delete", "meshpolicy", space.name)


LINES = """
import socket
import sys
with socket.create_connection((sys.argv[1], 9000), 5) as sock:
    try:
        sock.sendall(b"hello\\n")
        print(sock.recv(100))
    except OSError:
        print(b"")
"""


def test_egress_to_a_range_at_one_port(mesh: Mesh, space: Space, plain: Space, beyond: Outside) -> None:
    space.apply_app("myapp")
    space.apply_app("web")
    space.ready("myapp", "web")
    with applied(mesh.kubectl, space.name, "myapp-egress") as policy:
        comes_into_force(space, "myapp", space.url("web"), OUT)
        reaches(space, "myapp", PRIVATE)
        reaches(plain, "free", PRIVATE, OTHER)
        for url in (f"http://{PRIVATE}:{OTHER}/", f"http://{OUTSIDE[4]}/", f"http://{PUBLIC}/"):
            assert policy in is_refused(space, "myapp", url, OUT).body
        reaches(space, "web", f"myapp.{space.name}", HTTP)      # what enters it is not isolated
        is_named(mesh, plain, space, "myapp", Reason.NETWORK_POLICY_OUT, policy, "egress")


HELD = """
import socket
import sys
with socket.create_connection((sys.argv[1], 9000), 5) as sock:
    sock.sendall(b"hello\\n")
    assert b"hello" in sock.recv(100)
    print("begun", flush=True)
    sock.settimeout(None)
    try:
        sock.recv(1)
    except OSError:
        pass
"""


@contextmanager
def held(space: Space, who: str, other: str) -> "Iterator[subprocess.Popen[str]]":
    """A connection over which something came already; the process ends when it does."""
    with space.running(who, "python3", "-c", HELD, f"{other}.{space.name}") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield process


def test_pods_and_namespaces_that_a_policy_selects(mesh: Mesh, space: Space, lasting: Lasting) -> None:
    """Each by its labels, one that is made under the policy likewise; what is under way when it comes ends with it."""
    named = {"ports": [{"name": "http", "containerPort": HTTP}]}
    space.apply_app("db", {"bartizan.dev/ports": f"{TCP}: opaque"}, container=named)
    space.apply_app("shop", labels={"tier": "api"})
    space.apply_app("web", labels={"tier": "front"})
    space.ready("db", "shop", "web")
    for who in ("shop", "web"):
        reaches(space, who, f"db.{space.name}", HTTP)
    made = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "to-db"}, "spec": {
        "podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"], "ingress": [
            {"from": [{"podSelector": {"matchLabels": {"tier": "api"}}}], "ports": [{"port": "http"}, {"port": TCP}]},
            {"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": lasting.space.name}},
                       "podSelector": {"matchLabels": {"app": "orders"}}}]}]}}
    with held(space, "shop", "db") as kept, held(space, "web", "db") as cut:
        space.apply(made)
        comes_into_force(space, "web", space.url("db"), IN)
        cut.wait(ENDS_S)
        assert kept.poll() is None
    reaches(space, "shop", f"db.{space.name}", HTTP)
    assert lasting.space.curl("orders", space.url("db")).status == 200
    assert lasting.space.curl("web", space.url("db")).reason == IN
    space.apply_app("late", labels={"tier": "api"})
    space.ready("late")
    reaches(space, "late", f"db.{space.name}", HTTP)
    space.run("delete", "networkpolicy", "to-db")
    wait_until(lambda: space.curl("web", space.url("db")).status == 200, lambda: "it is gone, and counts")
