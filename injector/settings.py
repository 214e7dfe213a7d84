"""What the platform team decides once for every pod: where the control plane is, which image, how the exemption goes."""

from typing import Annotated, Literal

import msgspec

from sidecar.model.value import Name, Value

SYSTEM = "bartizan-system"      # the control plane's namespace
INJECTOR, ISSUER = "bartizan-injector", "bartizan-issuer"       # accounts, StatefulSets and Services; the first with its revision
GATEWAY = "bartizan-gateway"    # account, Deployment and Service of the ingress gateway; whoever has that account there is one
INGRESS_CLASS = "bartizan"      # of Ingresses; also the GatewayClass
INGRESS_CONTROLLER, GATEWAY_CONTROLLER = "bartizan.dev/ingress", "bartizan.dev/gateway"      # as the classes name us
AUTHORITY, ROOTS = "bartizan-authority", "bartizan-roots"       # the Secret that holds the keys; the ConfigMap that everybody may read
ROOTS_KEY = "roots.pem"         # in the latter

PullPolicy = Literal["Always", "IfNotPresent", "Never"]
Resources = dict[str, dict[str, str]]
UNMESHED = (SYSTEM, "kube-system", "kube-node-lease")       # what a cluster needs to get well never depends on the webhook

Bypass = Literal["uid", "mark"]
Mark = Annotated[int, msgspec.Meta(ge=1, le=0x7FFFFFFF)]


def sidecar_resources() -> Resources:
    return {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}


class Settings(Value, frozen=True):
    """
    Args:
        image: of our containers; its entry point is `bartizan`.
        issuer_url: where sidecars get certificates.
        stream_url: where sidecars get snapshots.
        roots: PEM; the mesh's trust bundle.
        bypass: how the packet rules know the sidecar: by UID, or by a mark, which takes NET_ADMIN (single-UID machines).
        net_raw: give the interception NET_RAW as well, which legacy iptables needs.
        resources: of the sidecar.
    """

    image: Name = "bartizan"
    issuer_url: str = "https://bartizan-issuer.bartizan-system.svc:8443"
    stream_url: str = "https://bartizan-injector.bartizan-system.svc:9444"
    roots: str = ""
    bypass: Bypass = "uid"
    mark: Mark = 1337
    net_raw: bool = False
    image_pull_policy: PullPolicy = "IfNotPresent"
    resources: Resources = msgspec.field(default_factory=sidecar_resources)


def injector_of(revision: str) -> str:
    """The name of everything that is one injector's: account, StatefulSet, Service, webhook configurations, Lease."""
    return f"{INJECTOR}-{revision}" if revision else INJECTOR
