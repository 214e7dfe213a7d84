"""A real API server as the source of objects, with the injector's rights and no more; its Lease; what only it knows of patches."""

import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
import trio

from certs.kubernetes import CONFLICT, Api, ApiError
from injector.cluster import Cluster as State
from injector.cluster.api import ApiSource
from injector.cluster.kinds import KINDS, Collection
from injector.cluster.watch import Watch
from injector.leader import Leader
from injector.settings import SYSTEM
from sidecar.net.clock import wall_clock

from .cluster import Cluster

WITHIN_S = 30
PATHS = {kind.name: kind for kind in KINDS}


async def put(cluster: Cluster, item: dict[str, Any]) -> None:
    kind, namespace = PATHS[item["kind"]], item["metadata"].get("namespace")
    where = f"namespaces/{namespace}/{kind.plural}" if namespace else kind.plural
    version = kind.prefix.removeprefix("/apis/").removeprefix("/api/")
    await cluster.admin.create(f"{kind.prefix}/{where}", {"apiVersion": version, **item}, dict)


def named(kind: str, name: str, namespace: str = "", **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, **fields}


def meshed(name: str, namespace: str, egress: str = "[]", **metadata: Any) -> dict[str, Any]:
    made = named("Pod", name, namespace, spec={
        "serviceAccountName": "web", "nodeName": "one",
        "containers": [{"name": "app", "image": "app", "env": [{"name": "A", "value": "x"}]}],
        "initContainers": [{"name": "bartizan-sidecar", "image": "bartizan", "restartPolicy": "Always"}],
    })
    made["metadata"] |= {"annotations": {"bartizan.dev/egress": egress, "other": "x"}, **metadata}
    return made


def mutual(secret: str) -> str:
    return f"- host: {secret}.example\n  tls: {{mode: mutual, clientCertificate: {{secret: {secret}}}}}\n"


class Followed:
    def __init__(self, first: State, changes: AsyncIterator[State], reports: list[str]) -> None:
        self.state = first
        self.reports = reports
        self.taken = 0
        self._changes = changes

    async def until(self, holds: Any) -> None:
        while not holds(self.state):
            self.state = await anext(self._changes)
            self.taken += 1


@asynccontextmanager
async def followed(api: Api) -> AsyncIterator[Followed]:
    reports: list[str] = []
    source = ApiSource(api, random.Random(1), reports.append)
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.run)
            async with aclosing(source.changes()) as changes:
                yield Followed(await source.begin(), changes, reports)
            nursery.cancel_scope.cancel()


async def test_every_kind_is_followed_with_just_the_rights_of_the_injector(granted: Cluster, injector_api: Api) -> None:
    namespace = named("Namespace", "lively")
    namespace["metadata"]["labels"] = {"bartizan.dev/injection": "enabled"}
    await put(granted, namespace)
    await granted.account("lively", "web")
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "app"}]}}
    lasting = {"metadata": template["metadata"], "spec": {"containers": template["spec"]["containers"]}}
    selector = {"matchLabels": {"app": "web"}}
    subjects = [{"namespace": "lively"}]
    async with followed(injector_api) as one:
        assert one.state.namespace_labels("lively")["bartizan.dev/injection"] == "enabled"
        assert ("lively", "web") in one.state.of_kind("ServiceAccount")
        for item in (
            named("Deployment", "web", "lively", spec={"selector": selector, "template": lasting}),
            named("ReplicaSet", "web-1", "lively", spec={"selector": selector, "template": lasting}),
            named("StatefulSet", "web", "lively", spec={"selector": selector, "template": lasting, "serviceName": "web"}),
            named("DaemonSet", "web", "lively", spec={"selector": selector, "template": lasting}),
            named("Job", "web", "lively", spec={"template": template}),
            named("CronJob", "web", "lively", spec={"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}}),
            named("Service", "web", "lively", spec={"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}),
            named("EndpointSlice", "web-x", "lively", addressType="IPv4", endpoints=[{"addresses": ["10.244.0.9"]}]),
            named("Ingress", "web", "lively", spec={"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}),
            named("NetworkPolicy", "web", "lively", spec={"podSelector": {}}),
            named("EgressPolicy", "lively", spec={"subjects": subjects, "hosts": [{"host": "api.partner.example"}]}),
            named("MeshPolicy", "lively", spec={"selector": {"namespaces": ["lively"]}, "hardening": "strict"}),
            meshed("web-0", "lively"),
        ):
            await put(granted, item)
        await granted.report("lively", "web-0", "Running", "10.244.0.9")
        await one.until(lambda state: (
            {kind for kind, namespace, _ in state.workloads if namespace == "lively"}
            == {"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob"}
            and all(any(namespace == "lively" for namespace, _ in state.of_kind(kind)) for kind in ("Ingress", "NetworkPolicy"))
            and ("lively", "web") in state.services and "lively" in state.egress_policies
            and state.mesh_policies.get("lively") is not None and state.mesh_policies["lively"].hardening == "strict"
            and state.pod_at("10.244.0.9") is not None
            and any(namespace == "lively" for namespace, _ in state.slices)
        ))
        pod = one.state.pods["lively", "web-0"]
        assert pod.annotations == {"bartizan.dev/egress": "[]"}
        assert "managedFields" not in pod.metadata
        assert pod.containers == [{"name": "app"}]
        await granted.delete("/api/v1/namespaces/lively/pods/web-0", 0)
        await granted.admin.delete("/apis/bartizan.dev/v1alpha1/meshpolicies/lively")
        await one.until(lambda state: ("lively", "web-0") not in state.pods and "lively" not in state.mesh_policies)
    assert one.reports == []


async def test_what_nobody_reads_is_no_change(granted: Cluster, injector_api: Api) -> None:
    await granted.account("shop", "quiet")
    path = "/api/v1/namespaces/shop/serviceaccounts/quiet"
    async with followed(injector_api) as one:
        for number in range(5):
            await granted.admin.patch(path, {"metadata": {"annotations": {"other": str(number)}}}, dict)
        await granted.admin.patch(path, {"metadata": {"annotations": {"bartizan.dev/x": "1"}}}, dict)
        await one.until(lambda state: state.of_kind("ServiceAccount")["shop", "quiet"].annotations)
        assert one.taken == 1


async def test_secrets_by_name_where_the_right_is_given(granted: Cluster, injector_api: Api) -> None:
    await put(granted, named("Namespace", "bank"))
    await granted.account("bank", "web")
    for namespace in ("shop", "bank"):
        for name in ("stripe", "other"):
            secret = {"type": "kubernetes.io/tls", "data": {"tls.crt": "eA==", "tls.key": "eQ=="}}
            await granted.apply({**named("Secret", f"{name}-client", namespace), **secret})
        await put(granted, meshed("payer", namespace, mutual("stripe-client")))
    async with followed(injector_api) as one:
        assert set(one.state.secrets) == {("shop", "stripe-client")}
        assert one.state.secrets["shop", "stripe-client"].data["data"] == {"tls.crt": "eA==", "tls.key": "eQ=="}
        (told,) = one.reports
        assert told.startswith("Secret bank/stripe-client cannot be followed, it counts as if there were none")
        assert "403" in told
        patched = {"data": {"tls.crt": "eg=="}}
        await granted.admin.patch("/api/v1/namespaces/shop/secrets/stripe-client", patched, dict)
        await one.until(lambda state: state.secrets["shop", "stripe-client"].data["data"]["tls.crt"] == "eg==")
        annotation = {"metadata": {"annotations": {"bartizan.dev/egress": mutual("other-client")}}}
        await granted.admin.patch("/api/v1/namespaces/shop/pods/payer", annotation, dict)
        await one.until(lambda state: ("shop", "other-client") in state.secrets)
        assert set(one.state.secrets) == {("shop", "other-client")}
    for namespace in ("shop", "bank"):
        await granted.delete(f"/api/v1/namespaces/{namespace}/pods/payer", 0)


async def test_a_version_that_is_gone_is_listed_anew(granted: Cluster) -> None:
    """As after an outage that outlasted what the API server remembers; of our own kinds it knows nothing from before they were defined."""
    await put(granted, named("EgressPolicy", "gone", spec={"subjects": [{"namespace": "gone"}]}))
    told: list[dict[Any, Any]] = []
    watch = Watch(granted.admin, Collection(PATHS["EgressPolicy"]), told.append, lambda text: None, random.Random(1))
    watch.reflector.version = "1"
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            await watch.is_listed.wait()
            nursery.cancel_scope.cancel()
    assert ("EgressPolicy", "", "gone") in told[0]


async def test_one_of_two_replicas_leads(granted: Cluster, injector_api: Api) -> None:
    reports: list[str] = []
    one, two = (
        Leader(injector_api, SYSTEM, "bartizan-injector", name, wall_clock, random.Random(name), reports.append) for name in ("one", "two"))
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def first() -> None:
                with scope:
                    await one.run()

            nursery.start_soon(first)
            await one.leads.wait_change(False)
            nursery.start_soon(two.run)
            path = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/bartizan-injector"
            first_lease = (await granted.admin.get(path, dict))["spec"]
            while (await granted.admin.get(path, dict))["spec"]["renewTime"] == first_lease["renewTime"]:
                pass
            assert not two.leads.current
            scope.cancel()      # it gives the Lease back
            await two.leads.wait_change(False)
            spec = (await granted.admin.get(path, dict))["spec"]
            assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", first_lease["leaseTransitions"] + 1)
            nursery.cancel_scope.cancel()
    assert reports[0] == "one leads by the Lease bartizan-injector"


class TestPatches:
    """As the API server merges them."""

    PATH = "/api/v1/namespaces/shop/configmaps/patched"

    async def test_applied_fields_are_ours_and_others_stay(self, cluster: Cluster) -> None:
        api = cluster.admin
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "patched"}, "data": {"a": "1", "b": "1"}}
        await api.apply(self.PATH, body, dict, manager="bartizan")
        await api.patch(self.PATH, {"data": {"c": "theirs"}}, dict)
        body["data"] = {"a": "2"}
        made = await api.apply(self.PATH, body, dict, manager="bartizan")
        assert made["data"] == {"a": "2", "c": "theirs"}

        version = made["metadata"]["resourceVersion"]
        await api.patch(self.PATH, {"data": {"c": "theirs again"}}, dict)
        with pytest.raises(ApiError) as caught:
            await api.delete(self.PATH, version=version)
        assert caught.value.status == CONFLICT
        await api.delete(self.PATH)
        await api.delete(self.PATH)
