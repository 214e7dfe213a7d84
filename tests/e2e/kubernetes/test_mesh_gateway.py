"""Clients that know nothing of a mesh come in by the ingress gateway, as Ingresses and HTTPRoutes say; behind it all is mTLS, strict."""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from injector.settings import GATEWAY, SYSTEM
from sidecar.model.identity import workload_id
from sidecar.model.reason import Reason
from tests.helpers import pki
from tests.helpers.pods import ROOT, wait_until

from .conftest import Lasting
from .kubectl import Kubectl, Object
from .mesh import Mesh
from .node_files import DOMAIN, NODE
from .programs import gateway_api
from .space import Answer, Space
from .workloads import HTTP

pytestmark = pytest.mark.timeout(900)
MANIFESTS = ROOT / "tests" / "vectors" / "acceptance"
PORTS = {"http": 30080, "https": 30443}
TO, TLS_TO = f"{GATEWAY}.{SYSTEM}", "myapp.example.com"
IDENTITY = workload_id(DOMAIN, SYSTEM, GATEWAY)
ROLLED_S = 300.0
MANY = 6                # connections: likely to have met both workers of both pods
DEFINED_S = 60.0        # definitions that were not there are looked for at the pace of what fails
ANNOTATION = "bartizan.dev/edge"
IN = f"{Reason.NETWORK_POLICY_IN.code} {Reason.NETWORK_POLICY_IN.token}"


@pytest.fixture(scope="module")
def gated(mesh: Mesh, lasting: Lasting) -> Iterator[Mesh]:
    """The mesh with an ingress gateway, whose class is the default one; Secrets may be read in the namespace `edge`.

    The definitions of the Gateway API come to a mesh that is at work, and stay.
    """
    if not mesh.kubectl.is_done("get", "crd", "httproutes.gateway.networking.k8s.io"):
        mesh.kubectl("apply", "--server-side", "-f", str(gateway_api("standard")))
        mesh.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    wanted = {"ingress": True, "workers": 2, "defaultClass": True, "gatewayApi": True, "service": {"type": "NodePort", "nodePorts": PORTS},
              "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}}
    mesh.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge", "labels": {
        "bartizan.dev/injection": "enabled"}}})
    mesh.install("--set", f"gateway={json.dumps(wanted)}", "--set", "secretNamespaces=[edge]")
    mesh.kubectl.rolled_out(SYSTEM, f"deployment/{GATEWAY}")
    yield mesh
    mesh.kubectl("-n", SYSTEM, "delete", "deployment,service,poddisruptionbudget,serviceaccount,networkpolicy", GATEWAY)
    mesh.kubectl("delete", "ingressclass,gatewayclass", "bartizan")
    mesh.kubectl("delete", "namespace", "edge", "--wait=false")


@pytest.fixture(scope="module")
def edge(gated: Mesh) -> Space:
    """Meshed and strict: `web`, of three pods, at port 80, and `app-service` likewise; `canary` besides."""
    space = Space("edge", gated.kubectl, gated.images)
    for name, replicas in (("web", 3), ("app-service", 1), ("canary", 1)):
        space.apply_app(name, replicas=replicas)
        space.apply(at_port_80(name))
    space.ready("web", "app-service", "canary")
    return space


@pytest.fixture(scope="module")
def client(gated: Mesh) -> Iterator[Space]:
    """A namespace outside of the mesh, with one pod, `client`."""
    with gated.space("clients", **{"bartizan.dev/injection": "disabled"}) as made:
        made.app("client")
        yield made


def at_port_80(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
        "selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": HTTP}]}}


def gateways(kubectl: Kubectl) -> set[str]:
    """The names of its pods, those that leave, too."""
    return {pod["metadata"]["name"] for pod in kubectl.items(SYSTEM, "pods", "-l", f"app.kubernetes.io/name={GATEWAY}")}


@contextmanager
def applied(space: Space, text: str) -> Iterator[None]:
    space.run("apply", "-f", "-", stdin=text)
    try:
        yield
    finally:
        space.run("delete", "-f", "-", stdin=text)


def ask(client: Space, host: str, path: str = "/", *more: str) -> Answer:
    """By the gateway's name in the cluster."""
    return client.curl("client", "--path-as-is", "-H", f"Host: {host}", *more, f"http://{TO}{path}")


def answers(client: Space, host: str, path: str, status: int) -> Answer:
    """Once it is in force."""
    said: list[Answer] = []

    def holds() -> bool:
        said.append(ask(client, host, path))
        return said[-1].status == status

    wait_until(holds, lambda: str(said[-1]))
    return said[-1]


def test_every_path_of_one_host(edge: Space, client: Space) -> None:
    """`ingress-web.yaml`: by name and by the node's port; who the client is arrives, and so does the gateway's identity."""
    with applied(edge, (MANIFESTS / "ingress-web.yaml").read_text()):
        answers(client, "myapp.example.com", "/", 200)
        for path in ("/a", "/a/b?c=d"):
            assert ask(client, "myapp.example.com", path).json["path"] == path
        assert ask(client, "other.example.com").status == 404
        answer = ask(client, "myapp.example.com")
        pod, = client.pods("client")
        own = {one["ip"] for one in pod["status"]["podIPs"]}
        assert answer.arrived["x-forwarded-for"] in own
        assert f"URI={IDENTITY}" in answer.arrived["x-forwarded-client-cert"]
        assert (answer.arrived["x-forwarded-proto"], answer.arrived["host"]) == ("http", "myapp.example.com")
        by_node = client.curl("client", "-H", "Host: myapp.example.com", f"http://{NODE[4]}:{PORTS['http']}/")
        assert (by_node.status, by_node.arrived["x-forwarded-for"] in own) == (200, True)
        said = ask(client, "myapp.example.com", "/", "-H", "X-Forwarded-For: 192.0.2.7", "-H", "bartizan-client: eve")
        assert "192.0.2.7" not in said.body
        assert "eve" not in said.body
        wait_until(lambda: status_of(edge, "web-ingress"), lambda: edge.run("get", "ingress", "-o", "yaml"))
        assert status_of(edge, "web-ingress") <= {*NODE.values()}


def status_of(space: Space, name: str) -> set[str]:
    """The addresses that its status tells of."""
    found = space.kubectl.get(space.name, "ingress", name)["status"].get("loadBalancer", {}).get("ingress", [])
    return {one["ip"] for one in found}


def test_a_prefix_by_element(edge: Space, client: Space) -> None:
    """`ingress-app-path.yaml`"""
    with applied(edge, (MANIFESTS / "ingress-app-path.yaml").read_text()):
        answers(client, "www.example.com", "/app", 200)
        assert ask(client, "www.example.com", "/app/x").json["pod"].startswith("app-service-")
        for path in ("/apple", "/", "/APP", "/app%2f..%2fapple"):
            refused = ask(client, "www.example.com", path)
            assert refused.status in (400, 404), path
        assert ask(client, "www.example.com", "/apple").reason.startswith(Reason.NO_EDGE_ROUTE.code)
        assert ask(client, "other.example.com", "/app").status == 404


def ingress(name: str, host: str, service: str, edge: str = "", **spec: Any) -> Object:
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": name, "annotations": {ANNOTATION: edge} if edge else {}},
            "spec": {"rules": [{"host": host, "http": {"paths": [{
                "path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}]}}], **spec}}


def test_requests_are_spread_over_pods(edge: Space, client: Space) -> None:
    with applied(edge, json.dumps(ingress("spread", "spread.example.com", "web"))):
        answers(client, "spread.example.com", "/", 200)
        seen = Counter(ask(client, "spread.example.com").json["pod"] for _ in range(30))
        assert seen.keys() == {pod["metadata"]["name"] for pod in edge.pods("web")}


def test_a_canary_by_weight_and_by_header(edge: Space, client: Space) -> None:
    canary = json.dumps({"canary": [
        {"service": "canary", "port": 80, "header": {"name": "x-canary", "value": "always"}},
        {"service": "canary", "port": 80, "weight": 40}]})
    with applied(edge, json.dumps(ingress("release", "release.example.com", "web", canary))):
        answers(client, "release.example.com", "/", 200)
        urls = [f"http://{TO}/{i}" for i in range(100)]
        done = client.exec_in("client", "curl", "-sS", "-H", "Host: release.example.com", *urls)
        seen = Counter(name.partition("-")[0] for name in re.findall(r'"pod": "([^"]+)"', done.stdout))
        assert seen.total() == 100
        assert 15 < seen["canary"] < 65, seen
        for _ in range(5):
            assert ask(client, "release.example.com", "/", "-H", "x-canary: always").json["pod"].startswith("canary-")


def secret(ca: pki.Holder, name: str, *hosts: str) -> Object:
    issued = pki.issue(ca, *map(pki.host, hosts))
    data = {"tls.crt": issued.chain_pem, "tls.key": issued.key_pem}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}}


def over_tls(client: Space, host: str, roots: str, *more: str) -> "tuple[int, str]":
    """(curl's own status, what it printed), verified by these roots."""
    script = 'cat >/tmp/roots.pem; exec curl -sS --max-time 10 --cacert /tmp/roots.pem "$@"'
    address = client.kubectl.get(SYSTEM, "service", GATEWAY)["spec"]["clusterIP"]
    done = client.exec_in("client", "sh", "-c", script, "sh", "--resolve", f"{host}:443:{address}", *more, f"https://{host}/",
                          stdin=roots)
    return done.returncode, done.stdout + done.stderr


def test_tls_from_a_secret_that_changes(edge: Space, client: Space) -> None:
    """One certificate for two hosts; plain HTTP is led to it; a new one counts without a restart; another host is refused."""
    first, second = pki.authority("first"), pki.authority("second")
    hosts = ("one.example.com", "two.example.com")
    made = ingress("tls", hosts[0], "web", tls=[{"hosts": list(hosts), "secretName": "pair"}])
    made["spec"]["rules"].append({**made["spec"]["rules"][0], "host": hosts[1]})
    edge.apply(secret(first, "pair", *hosts))
    with applied(edge, json.dumps(made)):
        redirected = answers(client, hosts[0], "/x?y", 308)
        assert redirected.headers["location"] == [f"https://{hosts[0]}/x?y"]
        shows(client, hosts[0], first)
        for host in hosts:
            status, body = over_tls(client, host, first.chain_pem)
            assert status == 0, body
            assert dict(json.loads(body)["headers"])["host"] == host
        status, body = over_tls(client, hosts[0], first.chain_pem, "--http2", "-o", "/dev/null", "-w", "%{http_version} %{http_code}")
        assert body == "2 200"
        status, body = over_tls(client, hosts[0], first.chain_pem, "-H", f"Host: {hosts[1]}", "-o", "/dev/null", "-w", "%{http_code}")
        assert body == "421"
        status, body = over_tls(client, "three.example.com", first.chain_pem)
        assert status == 35, body       # the handshake ends: no certificate of another host is shown
        edge.apply(secret(second, "pair", *hosts))
        shows(client, hosts[0], second)
        assert over_tls(client, hosts[0], first.chain_pem)[0] == 60


def of_gateway_api(kind: str, name: str, **spec: Any) -> Object:
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def conditions(space: Space, kind: str, name: str) -> dict[str, str]:
    """What it is told: of a route, by its first parent."""
    status = space.kubectl.get(space.name, kind, name).get("status", {})
    found = status["parents"][0] if status.get("parents") else status
    return {one["type"]: f"{one['status']}/{one['reason']}" for one in found.get("conditions", ())}


def is_told(space: Space, kind: str, name: str, **wanted: str) -> None:
    wait_until(lambda: conditions(space, kind, name) == wanted, lambda: f"{name}: {conditions(space, kind, name)}", DEFINED_S)


def test_a_route_attached_to_a_gateway(edge: Space, client: Space) -> None:
    """Its status says what its traffic shows: led, led by a match, answered for; and a new certificate counts."""
    first, second = pki.authority("first"), pki.authority("second")
    host = "shop.routes.example.com"
    edge.apply(secret(first, "door", host))
    door = of_gateway_api("Gateway", "door", gatewayClassName="bartizan", listeners=[
        {"name": "http", "hostname": "*.routes.example.com", "port": 80, "protocol": "HTTP"},
        {"name": "https", "hostname": host, "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "door"}]}}])
    added = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-by", "value": "route"}]}}
    led = of_gateway_api("HTTPRoute", "led", parentRefs=[{"name": "door"}], hostnames=[host], rules=[
        {"matches": [{"path": {"value": "/new"}}], "filters": [added], "backendRefs": [{"name": "canary", "port": 80}]},
        {"backendRefs": [{"name": "web", "port": 80}]}])
    lost = of_gateway_api("HTTPRoute", "lost", parentRefs=[{"name": "door", "sectionName": "http"}], hostnames=["lost.routes.example.com"],
                          rules=[{"backendRefs": [{"name": "gone", "port": 80}]}])
    with applied(edge, "\n---\n".join(map(json.dumps, (door, led, lost)))):
        is_told(edge, "gatewayclass", "bartizan", Accepted="True/Accepted")
        is_told(edge, "gateway", "door", Accepted="True/Accepted", Programmed="True/Programmed")
        is_told(edge, "httproute", "led", Accepted="True/Accepted", ResolvedRefs="True/ResolvedRefs")
        is_told(edge, "httproute", "lost", Accepted="True/Accepted", ResolvedRefs="False/BackendNotFound")
        status = edge.kubectl.get(edge.name, "gateway", "door")["status"]
        assert {one["value"] for one in status["addresses"]} <= {*NODE.values()}
        assert {one["name"]: one["attachedRoutes"] for one in status["listeners"]} == {"http": 2, "https": 1}

        assert answers(client, host, "/", 200).json["pod"].startswith("web-")
        answer = answers(client, host, "/new/x", 200)
        assert answer.json["pod"].startswith("canary-")
        assert answer.arrived["x-by"] == "route"
        assert f"URI={IDENTITY}" in answer.arrived["x-forwarded-client-cert"]
        answers(client, "lost.routes.example.com", "/", 500)
        assert ask(client, "other.example.com").status == 404
        shows(client, host, first)
        edge.apply(secret(second, "door", host))
        shows(client, host, second)
    answers(client, host, "/", 404)


def shows(client: Space, host: str, ca: pki.Holder) -> None:
    """A certificate of this authority's, by every worker of every pod, within a moment."""
    wait_until(lambda: all(over_tls(client, host, ca.chain_pem)[0] == 0 for _ in range(MANY)),
               lambda: str(over_tls(client, host, ca.chain_pem)))


def test_a_pod_without_a_sidecar_is_never_reached(edge: Space, client: Space) -> None:
    """Of the Service that an Ingress names only pods of the mesh count."""
    client.apply(at_port_80("client"))
    with applied(client, json.dumps(ingress("bare", "bare.example.com", "client"))):
        answers(client, "bare.example.com", "/", 503)


def test_a_network_policy_of_the_pods_behind_it(edge: Space, client: Space) -> None:
    """The gateway is the caller that it judges: a pod of bartizan-system, wherever the client comes from."""
    def policy(**source: Any) -> Object:
        return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "behind"}, "spec": {
            "podSelector": {"matchLabels": {"app": "app-service"}}, "ingress": [{"from": [source]}]}}

    with applied(edge, json.dumps(ingress("behind", "behind.example.com", "app-service"))):
        answers(client, "behind.example.com", "/", 200)
        edge.apply(policy(podSelector={}))
        refused = answers(client, "behind.example.com", "/", 403)
        assert (refused.reason, f"{edge.name}/behind" in refused.body) == (IN, True), refused
        edge.apply(policy(namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": SYSTEM}}))
        answers(client, "behind.example.com", "/", 200)
        edge.apply(policy(podSelector={}))
        answers(client, "behind.example.com", "/", 403)
        edge.run("delete", "networkpolicy", "behind")
        answers(client, "behind.example.com", "/", 200)


def test_a_rolling_restart_of_the_gateway_under_load(edge: Space, client: Space) -> None:
    with applied(edge, json.dumps(ingress("load", TO, "web"))):
        answers(client, TO, "/", 200)
        before = gateways(edge.kubectl)
        with client.load("client", f"http://{TO}/") as seen:
            edge.kubectl("-n", SYSTEM, "rollout", "restart", f"deployment/{GATEWAY}")
            wait_until(lambda: not before & gateways(edge.kubectl), lambda: edge.kubectl.trouble(SYSTEM), ROLLED_S)
    assert list(seen) == ["200"], seen
    assert seen["200"]["count"] > 100


def test_it_is_looked_after_like_the_rest(gated: Mesh) -> None:
    """Status and check know it."""
    def states() -> list[str]:
        found = json.loads(gated.bartizan("status", "-n", SYSTEM, "-o", "json"))["pods"]
        return [one["state"] for one in found if one["name"] in gateways(gated.kubectl)]

    wait_until(lambda: states() == ["SYNCED", "SYNCED"], lambda: str(states()))
    checked = json.loads(gated.try_bartizan("check", "-o", "json").stdout)
    of_gateway, = (one["checks"] for one in checked["categories"] if one["categoryName"] == "bartizan-gateway")
    assert [check for check in of_gateway if check["result"] != "success"] == []
