"""The ingress gateway: one of a mesh, which clients without an identity come in by. It asks the injector of the plan's revision.

Its pods are told from all others by their account, and their process is the sidecar's in gateway form: nothing leads packets to it, so
it needs no capability. Its configuration differs from pod to pod, by the pod's UID, so it stands in the environment, where the
kubelet writes that in.
"""

from typing import Any

import msgspec

from injector.containers import AUDIENCE
from injector.settings import GATEWAY, GATEWAY_CONTROLLER, INGRESS_CLASS, INGRESS_CONTROLLER, ISSUER, ROOTS, ROOTS_KEY, SYSTEM
from sidecar.model import ports

from . import parts
from .injector import STREAM_PORT
from .issuer import PORT as ISSUER_PORT
from .parts import Manifest
from .plan import Plan

COMPONENT = "gateway"
HTTP, HTTPS = 8080, 8443        # below 1024 would want a capability
EDGE = {80: HTTP, 443: HTTPS}
_NAMES = {80: "http", 443: "https"}
_PRIVATE, _TOKEN, _ROOTS = "/run/bartizan/private", "/run/bartizan/token", "/run/bartizan/roots"
# A load balancer leads new connections here for as long as it has not seen that the pod leaves: the process hears of it later.
LEAVES_AFTER_S, DRAIN_AFTER_S, DRAIN_S, GRACE_S = 10, 5.0, 30.0, 60
_DEFAULT = "ingressclass.kubernetes.io/is-default-class"


def gateway(plan: Plan) -> list[Manifest]:
    if not plan.gateway.ingress:
        return []
    return [
        *_classes(plan),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": parts.metadata(GATEWAY, COMPONENT),
         "automountServiceAccountToken": False},
        _service(plan),
        parts.budget(GATEWAY, COMPONENT, None),
        _deployment(plan),
    ]


def _classes(plan: Plan) -> list[Manifest]:
    meta = parts.metadata(INGRESS_CLASS, COMPONENT, namespace="")
    default = {"annotations": {_DEFAULT: "true"}} if plan.gateway.default_class else {}
    made: list[Manifest] = [{
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {**meta, **default},
        "spec": {"controller": INGRESS_CONTROLLER},
    }]
    if plan.gateway.gateway_api:
        made.append({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": meta,
            "spec": {"controllerName": GATEWAY_CONTROLLER},
        })
    return made


def _service(plan: Plan) -> Manifest:
    said = plan.gateway.service
    numbers = {80: said.node_ports.http, 443: said.node_ports.https}
    # Else the nodes would hide the clients' addresses behind their own.
    local = {"externalTrafficPolicy": said.external_traffic_policy} if said.type != "ClusterIP" else {}
    return {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {**parts.metadata(GATEWAY, COMPONENT), "annotations": said.annotations},
        "spec": {
            "type": said.type,
            **local,
            "ipFamilyPolicy": "PreferDualStack",
            "selector": parts.selector(COMPONENT),
            "ports": [
                {"name": name, "port": port, "targetPort": EDGE[port], "protocol": "TCP",
                 **({"nodePort": numbers[port]} if numbers[port] else {})}
                for port, name in _NAMES.items()
            ],
        },
    }


def _deployment(plan: Plan) -> Manifest:
    chosen = parts.selector(COMPONENT)
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": parts.metadata(GATEWAY, COMPONENT),
        "spec": {
            "replicas": plan.gateway.replicas,
            "selector": {"matchLabels": chosen},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": parts.labels(COMPONENT)},
                "spec": {
                    "serviceAccountName": GATEWAY,
                    **parts.pod_rest(plan, chosen),
                    "terminationGracePeriodSeconds": GRACE_S,
                    "containers": [_container(plan)],
                    "volumes": [
                        {"name": "private", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
                        {"name": "roots", "configMap": {"name": ROOTS, "items": [{"key": ROOTS_KEY, "path": ROOTS_KEY}]}},
                        {"name": "token", "projected": {"defaultMode": 0o440, "sources": [
                            {"serviceAccountToken": {"audience": AUDIENCE, "expirationSeconds": 3600, "path": "token"}}]}},
                    ],
                },
            },
        },
    }


def _container(plan: Plan) -> Manifest:
    made = parts.container(
        plan, COMPONENT, ["gateway", "--config", "env:BARTIZAN_CONFIG"], plan.gateway.resources,
        [{"name": "private", "mountPath": _PRIVATE},
         {"name": "roots", "mountPath": _ROOTS, "readOnly": True}, {"name": "token", "mountPath": _TOKEN, "readOnly": True}],
        env=[
            {"name": "BARTIZAN_POD_UID", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}},
            {"name": "BARTIZAN_CONFIG", "value": msgspec.json.format(msgspec.json.encode(_config(plan))).decode() + "\n"},
        ],
        ports=[{"name": name, "containerPort": number, "protocol": "TCP"}
               for name, number in {"http": HTTP, "https": HTTPS, "health": ports.HEALTH, "metrics": ports.METRICS}.items()],
        startupProbe=_probe("started", 1, 120), readinessProbe=_probe("ready", 1, 2), livenessProbe=_probe("live", 10, 3),
    )
    return {**made, "lifecycle": {"preStop": {"sleep": {"seconds": LEAVES_AFTER_S}}}}


def _probe(path: str, period_s: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": f"/healthz/{path}", "port": ports.HEALTH, "scheme": "HTTP"},
        "periodSeconds": period_s, "failureThreshold": failures, "timeoutSeconds": 3,
    }


def _config(plan: Plan) -> dict[str, Any]:
    return {
        "adminSocket": f"{_PRIVATE}/admin.sock",
        "snapshot": {
            "source": "stream", "url": f"https://{plan.injector}.{SYSTEM}.svc:{STREAM_PORT}", "keepFile": f"{_PRIVATE}/snapshot.json",
        },
        "identity": {
            "source": "issuer", "url": f"https://{ISSUER}.{SYSTEM}.svc:{ISSUER_PORT}", "tokenFile": f"{_TOKEN}/token",
            "rootsFile": f"{_ROOTS}/{ROOTS_KEY}", "keepFile": f"{_PRIVATE}/identity.json",
        },
        "podUid": "$(BARTIZAN_POD_UID)",
        "ledger": {"folder": f"{_PRIVATE}/ledger"},
        "listen": {"edge": {str(port): number for port, number in EDGE.items()}},
        "interception": {"checkEveryS": 0},
        "drainAfterS": DRAIN_AFTER_S,
        "drainS": DRAIN_S,
        "workers": plan.gateway.workers,
    }
