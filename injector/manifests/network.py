"""Who may speak to control plane and gateway, and to whom these speak, as far as the cluster's network enforces NetworkPolicies.

From where the API server calls a webhook, and from where a sidecar asks, no selector can say: their ports are open, and TLS says who
it is. Everything else is closed.
"""

from collections.abc import Sequence

from injector.settings import GATEWAY, INJECTOR, ISSUER, SYSTEM
from sidecar.model import ports

from .gateway import HTTP, HTTPS
from .injector import STREAM_PORT, WEBHOOK_PORT
from .issuer import PORT as ISSUER_PORT
from .parts import Manifest, metadata, selector
from .plan import Plan

_DNS = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}


def network(plan: Plan) -> list[Manifest]:
    """One for all revisions."""
    if not plan.network_policies:
        return []
    api_server = {"ports": _tcp(plan.api_server_ports)}
    keys = {"ports": _tcp([443])}       # JWKS documents that a MeshPolicy names
    return [
        _policy(ISSUER, "issuer", [ISSUER_PORT], [_DNS, api_server, _to("injector", STREAM_PORT)]),
        # Whether every address of a pod is captured is tried from here: `injector/capture.py`.
        _policy(INJECTOR, "injector", [WEBHOOK_PORT, STREAM_PORT],
                [_DNS, api_server, keys, _to("issuer", ISSUER_PORT), {"ports": _tcp([ports.HEALTH])}]),
        *([_gateway()] if plan.gateway.ingress else []),
    ]


def _gateway() -> Manifest:
    """Applications listen at any port. Issuer and injectors are pods, too; port 443 outside is that of authorizers."""
    everywhere: Manifest = {"to": [{"namespaceSelector": {}}]}
    return _policy(GATEWAY, "gateway", [HTTP, HTTPS, ports.HEALTH, ports.METRICS], [_DNS, everywhere, {"ports": _tcp([443])}])


def _policy(name: str, component: str, entered: Sequence[int], left: Sequence[Manifest]) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata(name, component, namespace=SYSTEM),
        "spec": {
            "podSelector": {"matchLabels": selector(component)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": _tcp(entered)}],
            "egress": list(left),
        },
    }


def _to(component: str, port: int) -> Manifest:
    return {"to": [{"podSelector": {"matchLabels": selector(component)}}], "ports": _tcp([port])}


def _tcp(numbers: Sequence[int]) -> list[Manifest]:
    return [{"port": number, "protocol": "TCP"} for number in numbers]
