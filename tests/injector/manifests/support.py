"""Plans whose manifests the tests look at: one that says little, one that says all there is, one of a revision."""

from typing import Any

from injector.manifests.plan import Plan, read_plan

PLANS: dict[str, Plan] = {
    "default": Plan(),
    "full": read_plan(sets=[
        "image=registry.example/bartizan:1", "imagePullPolicy=Always", "imagePullSecrets=[{name: pull}]", "replicas=3",
        "trustDomain=mesh.example",
        "clusterDomain=cluster.example", "resources.sidecar.limits.cpu='1'", "persistence.size=10Gi", "persistence.storageClass=fast",
        "priorityClassName=mine", "podSecurity=baseline", "secretNamespaces=[shop, billing]", "apiServerPorts=[8443]", "netRaw=true",
        "lifetimeS=3600", "addressUncheckedBecause=the network hides them", "csrSigner=true", "learningDays=14",
    ]),
    "bare": read_plan(sets=["createNamespace=false", "networkPolicies=false", "priorityClassName=''", "podSecurity=''", "replicas=1"]),
    "revision": read_plan(revision="v2"),
    "gateway": read_plan(sets=["gateway.ingress=true"]),
    "gateway in full": read_plan(revision="v2", sets=[
        "gateway.ingress=true", "gateway.replicas=3", "gateway.workers=2", "gateway.service.type=NodePort", "gateway.defaultClass=true",
        "gateway.gatewayApi=true",
        "gateway.service.externalTrafficPolicy=Cluster", "gateway.service.annotations={example.com/scheme: 'internal'}",
        "gateway.service.nodePorts={http: 30080, https: 30443}", "gateway.resources.limits.memory=1Gi",
    ]),
    "gateway within": read_plan(sets=["gateway.ingress=true", "gateway.service.type=ClusterIP", "networkPolicies=false"]),
}


def one(objects: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    """The only one of that kind, and name if that is given."""
    found = [made for made in objects if made["kind"] == kind and made["metadata"]["name"] == (name or made["metadata"]["name"])]
    assert len(found) == 1, [(made["kind"], made["metadata"]["name"]) for made in objects]
    return found[0]


def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The pod template of the one workload."""
    template, = (made["spec"]["template"] for made in objects if made["kind"] in ("StatefulSet", "Deployment"))
    return dict(template)
