"""The ingress gateway's manifests, and its configuration, read as its process reads it."""

from typing import Any

import pytest

from injector.cluster.objects import Pod
from injector.manifests.gateway import DRAIN_AFTER_S, DRAIN_S, GRACE_S, LEAVES_AFTER_S, gateway
from injector.manifests.network import network
from injector.manifests.plan import Plan
from injector.settings import GATEWAY_CONTROLLER, INGRESS_CONTROLLER, SYSTEM
from sidecar.model import ports
from sidecar.model.config import Config, IssuedIdentity, SnapshotStream, parse_config

from .support import PLANS, one

ALONE, FULL, WITHIN = (PLANS[name] for name in ("gateway", "gateway in full", "gateway within"))
DEFAULT = "ingressclass.kubernetes.io/is-default-class"


def template(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = one(gateway(plan), "Deployment")["spec"]["template"]
    return found


def container(plan: Plan) -> dict[str, Any]:
    found, = template(plan)["spec"]["containers"]
    return dict(found)


def config(plan: Plan) -> Config:
    """As the kubelet makes it: it puts in the pod's UID, and takes no other `$` for its own."""
    text = next(each["value"] for each in container(plan)["env"] if each["name"] == "BARTIZAN_CONFIG")
    assert text.count("$") == 1
    return parse_config(text.replace("$(BARTIZAN_POD_UID)", "0a1b").encode())


def test_there_is_none_unless_it_is_wanted() -> None:
    assert gateway(Plan()) == []
    assert "bartizan-gateway" not in {made["metadata"]["name"] for made in network(Plan())}


@pytest.mark.parametrize("plan", [ALONE, FULL], ids=["default revision", "v2"])
def test_its_process_reads_what_it_is_given(plan: Plan) -> None:
    found = config(plan)
    assert isinstance(found.snapshot, SnapshotStream)
    assert isinstance(found.identity, IssuedIdentity)
    assert (found.pod_uid, found.snapshot.url) == ("0a1b", f"https://{plan.injector}.bartizan-system.svc:9444")
    assert found.identity.url == "https://bartizan-issuer.bartizan-system.svc:8443"
    assert found.interception.check_every_s == 0
    mounts = {each["mountPath"]: each.get("readOnly", False) for each in container(plan)["volumeMounts"]}
    files = (found.admin_socket, found.snapshot.keep_file, found.identity.keep_file, found.identity.token_file, found.identity.roots_file)
    assert {str(file).rpartition("/")[0] for file in files} == mounts.keys()
    memory, = (each["emptyDir"] for each in template(plan)["spec"]["volumes"] if each["name"] == "private")
    assert memory["medium"] == "Memory"


def test_clients_reach_the_ports_that_it_listens_at() -> None:
    listen = config(ALONE).listen
    service = one(gateway(ALONE), "Service")["spec"]
    assert {each["port"]: each["targetPort"] for each in service["ports"]} == listen.edge
    named = {each["containerPort"] for each in container(ALONE)["ports"]}
    assert named == {*listen.edge.values(), ports.HEALTH, ports.METRICS}
    assert {each["port"] for each in one(network(ALONE), "NetworkPolicy", "bartizan-gateway")["spec"]["ingress"][0]["ports"]} == named
    assert min(named) >= 1024
    assert service["selector"].items() <= template(ALONE)["metadata"]["labels"].items()


def test_its_pods_are_what_an_ingress_gateway_is_told_by() -> None:
    pod = Pod({"metadata": {"namespace": SYSTEM}, "spec": template(FULL)["spec"]})
    assert (pod.is_ingress_gateway, pod.has_sidecar) == (True, False)
    assert one(gateway(FULL), "ServiceAccount")["automountServiceAccountToken"] is False


def test_how_clients_come_in() -> None:
    """The clients' own addresses arrive, where nodes lead them in at all."""
    assert one(gateway(ALONE), "Service")["spec"]["externalTrafficPolicy"] == "Local"
    full, within = (one(gateway(plan), "Service") for plan in (FULL, WITHIN))
    assert (full["spec"]["type"], full["spec"]["externalTrafficPolicy"]) == ("NodePort", "Cluster")
    assert full["metadata"]["annotations"] == {"example.com/scheme": "internal"}
    assert {each["name"]: each["nodePort"] for each in full["spec"]["ports"]} == {"http": 30080, "https": 30443}
    assert within["spec"]["type"] == "ClusterIP"
    assert "externalTrafficPolicy" not in within["spec"]
    assert not [each for each in within["spec"]["ports"] if "nodePort" in each]


def test_its_classes() -> None:
    plain, full = (one(gateway(plan), "IngressClass") for plan in (ALONE, FULL))
    assert (plain["metadata"]["name"], plain["spec"]["controller"]) == ("bartizan", INGRESS_CONTROLLER)
    assert DEFAULT not in plain["metadata"].get("annotations", {})
    assert full["metadata"]["annotations"] == {DEFAULT: "true"}
    assert one(gateway(FULL), "GatewayClass")["spec"] == {"controllerName": GATEWAY_CONTROLLER}
    assert "GatewayClass" not in {made["kind"] for made in gateway(ALONE)}


def test_it_leaves_in_order() -> None:
    """Another one is ready before it goes, and it has the time that it says it takes."""
    assert one(gateway(ALONE), "Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    found = config(ALONE)
    assert (found.drain_after_s, found.drain_s) == (DRAIN_AFTER_S, DRAIN_S)
    assert container(ALONE)["lifecycle"]["preStop"]["sleep"]["seconds"] == LEAVES_AFTER_S
    assert template(ALONE)["spec"]["terminationGracePeriodSeconds"] == GRACE_S
    assert LEAVES_AFTER_S + DRAIN_AFTER_S + DRAIN_S < GRACE_S


def test_how_large_it_is() -> None:
    assert (config(ALONE).workers, config(FULL).workers) == (1, 2)
    made = one(gateway(FULL), "Deployment")
    assert made["spec"]["replicas"] == 3
    assert container(FULL)["resources"] == {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
