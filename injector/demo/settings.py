"""Where the world keeps its things, and the configuration files of the issuer and the injector in it."""

from pathlib import Path
from typing import Any

from injector.settings import SYSTEM

from .network import NODE

WORLD = Path("/run/world")
AUTHORITY = WORLD / "authority"
CLUSTER = WORLD / "cluster"           # the stored objects: what the injector watches
OUTSIDE = WORLD / "outside"
DNS_TABLE = WORLD / "dns-table.json"
DNS_EVIDENCE = WORLD / "dns-evidence.jsonl"
JWKS = WORLD / "jwks.json"
STATE = WORLD / "state"               # the injector's
INJECTOR_TOKEN = WORLD / "injector-token"

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "demo"

TRUST_DOMAIN = "demo.bartizan.test"
TOKEN_ISSUER = "https://kubernetes.default.svc.cluster.local"
ISSUER_NAME = "issuer.bartizan-system.svc"
INJECTOR_NAME = "injector.bartizan-system.svc"
ISSUER_PORT = 8443
WEBHOOK_PORT = 9443
STREAM_PORT = 9444
INJECTOR_POD: dict[str, Any] = {
    "metadata": {"name": "bartizan-injector-0", "namespace": SYSTEM, "uid": "bartizan-injector-0"},
    "spec": {"serviceAccountName": "bartizan-injector"},
}
INJECTOR_TOKEN_S = 30 * 86400         # no kubelet keeps it fresh: as long as anybody keeps a world
INGRESS_GATEWAY = "gateway"           # the container of the ingress gateway
SIDECAR = "bartizan-sidecar"          # the container that admission adds


def issuer_config() -> dict[str, Any]:
    """For `bartizan certs serve`."""
    return {
        "directory": str(AUTHORITY),
        "trustDomain": TRUST_DOMAIN,
        "tokens": {"jwksFile": str(JWKS), "issuer": TOKEN_ISSUER, "audience": "bartizan"},
        "names": [ISSUER_NAME],
        "servers": [{
            "namespace": INJECTOR_POD["metadata"]["namespace"], "serviceAccount": INJECTOR_POD["spec"]["serviceAccountName"],
            "names": [INJECTOR_NAME],
        }],
        "injectorUrl": f"https://{INJECTOR_NAME}:{STREAM_PORT}",
        "address": "::",
        "port": ISSUER_PORT,
        "lifetimeS": 3600,
    }


def injector_config(bypass: str) -> dict[str, Any]:
    """For `bartizan injector`.

    Args:
        bypass: `uid` or `mark`, how the packet rules exempt the sidecar.
    """
    return {
        "directory": str(CLUSTER),
        "trustDomain": TRUST_DOMAIN,
        "rootsFile": str(AUTHORITY / "roots.pem"),
        "tokenFile": str(INJECTOR_TOKEN),
        "address": "::",
        "webhookPort": WEBHOOK_PORT,
        "streamPort": STREAM_PORT,
        "issuerUrl": f"https://{ISSUER_NAME}:{ISSUER_PORT}",
        "streamUrl": f"https://{INJECTOR_NAME}:{STREAM_PORT}",
        "stateDirectory": str(STATE),
        "bypass": bypass,
    }


def control_plane_names() -> dict[str, list[str]]:
    """Names of the control plane, as cluster DNS would have them: they run on the node."""
    return {f"{name}{suffix}": list(NODE) for name in (ISSUER_NAME, INJECTOR_NAME) for suffix in ("", ".cluster.local")}
