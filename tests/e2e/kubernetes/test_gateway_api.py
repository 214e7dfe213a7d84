"""The Gateway API as a real API server has it: its own definitions, statuses written by an account with the injector's rights and no more.

And what its conformance tests apply, read by the compiler: what they ask to be told is told.
"""

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import trio
import yaml

from certs.kubernetes import Api
from injector.cluster import Cluster as State
from injector.cluster.api import ApiSource
from injector.compile.edge import EdgeBook
from injector.compile.edge_status import told_of
from injector.compile.gateway_api import GatewayApi
from injector.compile.last_good import LastGood
from injector.edge_status import EdgeStatus
from injector.events import Events
from sidecar.net.clock import wall_clock
from sidecar.net.watched import Watched
from tests.injector.compile.gateway_objects import Json, gateway, gateway_class, listener, read_cluster, route, secure, service, to

from .cluster import Cluster
from .kubectl import Kubectl
from .programs import gateway_api
from .test_events import about

WITHIN_S = 60
GROUP = "/apis/gateway.networking.k8s.io/v1"
ACCEPTED = '{.status.conditions[?(@.type=="Accepted")].status}'


@pytest.fixture(scope="module")
def defined(granted: Cluster) -> Cluster:
    """The cluster, that knows the Gateway API."""
    kubectl = Kubectl(granted.kubeconfig)
    kubectl("apply", "--server-side", "-f", str(gateway_api("standard")))
    kubectl("wait", "--for=condition=Established", "crd", "--all", f"--timeout={WITHIN_S}s")
    return granted


class Writer:
    """What the leader does, over the real source."""

    def __init__(self, api: Api) -> None:
        self.reports: list[str] = []
        self.source = ApiSource(api, random.Random(1), self.reports.append)
        self.events = Events(api, wall_clock)
        self.api = api
        self.book = EdgeBook(LastGood())

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.source.run)
            nursery.start_soon(self.events.run)
            cluster = Watched(await self.source.begin())
            nursery.start_soon(EdgeStatus(self.api, cluster, self.told_of, self.events, wall_clock, self.reports.append).run)
            async for now in self.source.changes():
                cluster.set(now)

    def told_of(self, cluster: State) -> Any:
        return told_of(cluster, {}, self.book)


VERSIONS = {"Service": "v1", "Namespace": "v1", "Ingress": "networking.k8s.io/v1", "IngressClass": "networking.k8s.io/v1"}
EDGE = {**service("bartizan-gateway", "bartizan-system"), "spec": {"ports": [{"port": 80}], "externalIPs": ["192.0.2.7"]}}


async def apply(kubectl: Kubectl, *items: Json) -> None:
    whole = [{"apiVersion": VERSIONS.get(item["kind"], "gateway.networking.k8s.io/v1"), **item} for item in items]
    await trio.to_thread.run_sync(lambda: kubectl.apply(*whole))


async def test_statuses_are_written_by_the_injectors_account(defined: Cluster, injector_api: Api) -> None:
    kubectl = Kubectl(defined.kubeconfig)
    writer = Writer(injector_api)
    await apply(
        kubectl, EDGE, gateway_class(), service(),
        gateway(listener(), listener("more", port=8080), secure(certificate="gone", hostname="a.example.com")),
        route(name="good", hostnames=["a.example.com"]), route({"backendRefs": [to("gone")]}, name="lost", hostnames=["lost.example.com"]),
        route(name="nowhere", parents=({"name": "edge", "sectionName": "none"},)),
    )

    async def shown(path: str, holds: Callable[[Any], Any]) -> Any:
        while True:
            found = await defined.admin.get(f"{GROUP}/{path}", dict)
            if holds(found.get("status", {})):
                return found
            await trio.sleep(0.05)

    def of_route(status: Any) -> dict[str, str]:
        return {
            one["type"]: f"{one['status']}/{one['reason']}" for parent in status.get("parents", ()) for one in parent["conditions"]
            if parent["controllerName"] == "bartizan.dev/gateway"
        }

    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            accepted = await shown("gatewayclasses/bartizan", lambda status: status["conditions"][0]["status"] == "True")
            assert accepted["status"]["supportedFeatures"]
            found = await shown("namespaces/shop/gateways/edge", lambda status: status.get("addresses"))
            assert found["status"]["addresses"] == [{"type": "IPAddress", "value": "192.0.2.7"}]
            assert {one["name"]: one["attachedRoutes"] for one in found["status"]["listeners"]} == {"http": 2, "more": 2, "https": 1}
            assert all(one["observedGeneration"] == 1 for one in found["status"]["conditions"])
            reasons = {one["name"]: {item["type"]: item["reason"] for item in one["conditions"]} for one in found["status"]["listeners"]}
            assert reasons["more"]["Accepted"] == "PortUnavailable"
            assert reasons["https"]["ResolvedRefs"] == "InvalidCertificateRef"
            await shown("namespaces/shop/httproutes/good", lambda status: of_route(status) == {
                "Accepted": "True/Accepted", "ResolvedRefs": "True/ResolvedRefs"})
            lost = await shown(
                "namespaces/shop/httproutes/lost", lambda status: of_route(status).get("ResolvedRefs") == "False/BackendNotFound")
            await shown("namespaces/shop/httproutes/nowhere", lambda status: of_route(status).get("Accepted") == "False/NoMatchingParent")
            (event,) = await about(defined, lost["metadata"]["uid"], bool)
            assert (event["reason"], event["message"]) == ("RuleNotInForce", "there is no Service shop/gone")

            # A new generation is judged, and told so; a condition that says the same keeps its time.
            before = of_first(await defined.admin.get(f"{GROUP}/namespaces/shop/httproutes/lost", dict))
            await apply(kubectl, service("gone"))
            await shown("namespaces/shop/httproutes/lost", lambda status: of_route(status)["ResolvedRefs"] == "True/ResolvedRefs")
            changed = {"backendRefs": [to("gone")], "timeouts": {"request": "9s"}}
            await apply(kubectl, route(changed, name="lost", hostnames=["lost.example.com"]))
            later = await shown("namespaces/shop/httproutes/lost", lambda status: of_first({"status": status})["observedGeneration"] == 2)
            assert of_first(later)["lastTransitionTime"] == before["lastTransitionTime"]

            # What somebody else writes there does not last, and of an unchanged cluster nothing is written again.
            await defined.admin.patch(f"{GROUP}/gatewayclasses/bartizan/status", {"status": {"conditions": []}}, dict)
            await shown("gatewayclasses/bartizan", lambda status: status.get("conditions"))
            versions = [await version_of(defined, path) for path in PATHS]
            await apply(kubectl, service("unrelated"))
            await apply(kubectl, service("unrelated-2"))
            assert versions == [await version_of(defined, path) for path in PATHS]
            nursery.cancel_scope.cancel()
    text = await trio.to_thread.run_sync(partial(kubectl, "get", "gatewayclass,gateway,httproute", "-A"))
    assert "192.0.2.7" in text
    assert [one for one in writer.reports if "status" in one] == []


def ingress(namespace: str, name: str, host: str) -> Json:
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}
    return {"kind": "Ingress", "metadata": {"name": name, "namespace": namespace},
            "spec": {"ingressClassName": "bartizan", "rules": [{"host": host, "http": {"paths": [path]}}]}}


async def test_of_two_namespaces_that_claim_one_host_and_path_the_younger_is_told(defined: Cluster, injector_api: Api) -> None:
    kubectl = Kubectl(defined.kubeconfig)
    meshed = {**service(), "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    first, second = "claims-first", "claims-second"
    for namespace in (first, second):
        await apply(kubectl, {"kind": "Namespace", "metadata": {"name": namespace}})
        await apply(kubectl, {**meshed, "metadata": {"name": "web", "namespace": namespace}})
    await apply(kubectl, {"kind": "IngressClass", "metadata": {"name": "bartizan"}, "spec": {"controller": "bartizan.dev/ingress"}}, EDGE)
    await apply(kubectl, ingress(first, "web", "taken.example.com"))
    await apply(kubectl, ingress(second, "a-web", "taken.example.com"))       # of two of one second the namespace's name decides

    async def balancer(namespace: str, name: str) -> Any:
        while True:
            path = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses/{name}"
            found = await defined.admin.get(path, dict)
            if found["status"].get("loadBalancer", {}).get("ingress"):
                return found["metadata"]["uid"], found["status"]["loadBalancer"]["ingress"]
            await trio.sleep(0.05)

    writer = Writer(injector_api)
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            _, older = await balancer(first, "web")
            uid, younger = await balancer(second, "a-web")
            (event,) = await about(defined, uid, bool, second)
            nursery.cancel_scope.cancel()
    assert older == [{"ip": "192.0.2.7"}]
    assert [one["error"] for one in younger[0]["ports"]] == ["bartizan.dev/HostAndPathTaken"] * 2
    assert event["reason"] == "HostAndPathTaken"
    assert event["message"].startswith(f"the path / (PathPrefix) of taken.example.com is Ingress {first}/web's, which is older")
    assert "192.0.2.7" in await trio.to_thread.run_sync(partial(kubectl, "get", "ingress", "-A"))


PATHS = ("gatewayclasses/bartizan", "namespaces/shop/gateways/edge", "namespaces/shop/httproutes/good", "namespaces/shop/httproutes/lost")


async def version_of(cluster: Cluster, path: str) -> Any:
    return (await cluster.admin.get(f"{GROUP}/{path}", dict))["metadata"]["resourceVersion"]


def of_first(item: Any) -> Any:
    return item["status"]["parents"][0]["conditions"][0]


# -- what the conformance tests apply


def manifests(*names: str) -> Iterator[Json]:
    yield gateway_class()
    for name in ("base/manifests.yaml", *(f"tests/{name}.yaml" for name in names)):
        text = (gateway_api("conformance") / name).read_text().replace("{GATEWAY_CLASS_NAME}", "bartizan")
        yield from filter(None, yaml.safe_load_all(text))


def compiled(*names: str) -> GatewayApi:
    return read_cluster(State.of(manifests(*names)))


# What is refused in the manifests of features that we say we have, and so is told; everything else in them is in force.
TOLD = {
    "httproute-hostname-intersection": {"no-intersecting-hosts": "NoMatchingListenerHostname"},
    "httproute-disallowed-kind": {"disallowed-kind": "NotAllowedByListeners"},
    "httproute-invalid-backendref-unknown-kind": {"invalid-backend-ref-unknown-kind": "InvalidKind"},
    "httproute-invalid-cross-namespace-backend-ref": {"invalid-cross-namespace-backend-ref": "RefNotPermitted"},
    "httproute-invalid-cross-namespace-parent-ref": {"invalid-cross-namespace-parent-ref": "NotAllowedByListeners"},
    "httproute-invalid-nonexistent-backendref": {"invalid-nonexistent-backend-ref": "BackendNotFound"},
    "httproute-invalid-parentref-not-matching-listener-port": {"httproute-listener-not-matching-route-port": "NoMatchingParent"},
    "httproute-invalid-parentref-not-matching-section-name": {"httproute-listener-not-matching-section-name": "NoMatchingParent"},
    "httproute-invalid-parentref-section-name-not-matching-port": {"httproute-listener-section-name-not-matching-port": "NoMatchingParent"},
    "httproute-invalid-reference-grant": {"reference-grant": "RefNotPermitted"},
    "httproute-partially-invalid-via-invalid-reference-grant": {"invalid-reference-grant": "RefNotPermitted"},
    "gateway-with-attached-routes": {"http-route-4": "BackendNotFound"},
    # features that we do not offer
    "httproute-cors-allow-credentials-behavior": {"cors-allow-credentials": "UnsupportedValue"},
    "httproute-request-header-modifier-backend": {"request-header-modifier": "UnsupportedValue"},
    "httproute-request-header-modifier-backend-weights": {"request-header-modifier-backend-weights": "UnsupportedValue"},
    "httproute-request-multiple-mirrors": {"request-multiple-mirrors": "UnsupportedValue"},
}


def test_what_the_conformance_tests_apply() -> None:
    files = sorted((gateway_api("conformance") / "tests").glob("*.yaml"))
    names = [path.stem for path in files if path.stem.startswith(("http", "gateway"))]
    assert len(names) > 50
    reasons: dict[str, dict[str, str]] = {}
    for name in names:
        for (_, _, route_name), one in compiled(name).routes.items():
            faults = (*one.refused, *(fault for parent in one.parents for fault in parent.refused), *one.dropped, *one.unresolved)
            if faults:
                reasons.setdefault(name, {})[route_name] = faults[0].reason
    assert reasons == TOLD


LISTENERS = {
    "gateway-invalid-route-kind": {
        "gateway-only-invalid-route-kind": "InvalidRouteKinds", "gateway-supported-and-invalid-route-kind": "InvalidRouteKinds",
    },
    "gateway-invalid-tls-configuration": {
        "gateway-certificate-nonexistent-secret": "InvalidCertificateRef", "gateway-certificate-unsupported-group": "InvalidCertificateRef",
        "gateway-certificate-unsupported-kind": "InvalidCertificateRef", "gateway-certificate-malformed-secret": "InvalidCertificateRef",
    },
    "gateway-secret-invalid-reference-grant": {"gateway-secret-invalid-reference-grant": "RefNotPermitted"},
    "gateway-secret-missing-reference-grant": {"gateway-secret-missing-reference-grant": "RefNotPermitted"},
}


@pytest.mark.parametrize("name", LISTENERS)
def test_what_the_conformance_tests_expect_of_listeners(name: str) -> None:
    found = {ref[2]: one for ref, one in compiled(name).gateways.items()}
    for gateway_name, reason in LISTENERS[name].items():
        assert [fault.reason for fault in found[gateway_name].listeners[0].unresolved][:1] == [reason], gateway_name
