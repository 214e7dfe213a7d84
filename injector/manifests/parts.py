"""What the manifests of the control plane have in common: metadata, pods as narrow as they can be, Services, budgets."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from injector.documents import REVISION
from injector.settings import SYSTEM

from .plan import Plan, Resources

Manifest = dict[str, Any]

USER = 50000        # the image's own; below what sidecars get would be no safer, they share no pod
TOKEN = "/run/bartizan/token"
CONFIG = "/etc/bartizan/config"
KEPT = {"helm.sh/resource-policy": "keep"}
_API_FILES = "/var/run/secrets/kubernetes.io/serviceaccount"


def metadata(name: str, component: str, *, namespace: str = SYSTEM, revision: str | None = None) -> Manifest:
    """
    Args:
        namespace: empty for what stands in none.
        revision: whose the object is; None: of all of them.
    """
    placed = {"namespace": namespace} if namespace else {}
    return {"name": name, **placed, "labels": labels(component, revision)}


def labels(component: str, revision: str | None = None) -> dict[str, str]:
    return {"app.kubernetes.io/part-of": "bartizan", **selector(component, revision)}


def selector(component: str, revision: str | None = None) -> dict[str, str]:
    """Labels that its pods have. The revision without a name is told from the others by an empty label, not by none."""
    named = {"app.kubernetes.io/name": f"bartizan-{component}"}
    return named if revision is None else {**named, REVISION: revision}


def config_map(plan: Plan, name: str, component: str, revision: str | None, config: Mapping[str, object]) -> Manifest:
    text = msgspec.json.format(msgspec.json.encode(config)).decode() + "\n"
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(name, component, revision=revision), "data": {"config.json": text},
    }


def service(name: str, component: str, revision: str | None, ports: Mapping[str, tuple[int, int]], *, headless: bool = False) -> Manifest:
    """
    Args:
        revision: of the pods behind it; None: all.
        ports: name: (port, the pods' port).
    """
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(name, component, revision=revision),
        "spec": {
            # A sidecar's questions go to one replica as long as that is there: what the replicas remember of broken rules may differ.
            **({"clusterIP": "None"} if headless else {"sessionAffinity": "ClientIP"}),
            "ipFamilyPolicy": "PreferDualStack",
            "selector": selector(component, revision),
            "ports": [{"name": port, "port": number, "targetPort": target, "protocol": "TCP"} for port, (number, target) in ports.items()],
        },
    }


def budget(name: str, component: str, revision: str | None) -> Manifest:
    """One at a time leaves by itself; one that is broken may always be evicted."""
    return {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(name, component, revision=revision),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": selector(component, revision)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def stateful_set(
    plan: Plan, name: str, component: str, revision: str | None, *,
    digest: str, service: str, container: Manifest, volumes: Sequence[Manifest], state: str,
) -> Manifest:
    """
    Args:
        digest: of its configuration; another one makes its pods anew, one after the other.
        service: the headless one that names its pods.
        container: the rest of the one container.
        state: where the volume that outlives a restart is mounted.
    """
    chosen = selector(component, revision)
    mounted = {**container, "volumeMounts": [*container["volumeMounts"], {"name": "state", "mountPath": state}]}
    claim, on_node = _state(plan)
    return {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata(name, component, revision=revision),
        "spec": {
            "replicas": plan.replicas,
            "serviceName": service,
            "podManagementPolicy": "Parallel",      # none waits for another; a roll-out goes one by one all the same
            "selector": {"matchLabels": chosen},
            "template": {
                "metadata": {
                    "labels": labels(component, revision),
                    "annotations": {"bartizan.dev/config": digest},
                },
                "spec": {
                    "serviceAccountName": name,
                    **pod_rest(plan, chosen),
                    "containers": [mounted],
                    "volumes": [*volumes, *on_node],
                },
            },
            **({"volumeClaimTemplates": claim} if claim else {}),
        },
    }


def pod_rest(plan: Plan, chosen: Mapping[str, str]) -> Manifest:
    """What the specs of all our pods have in common: apart from each other, and narrow.

    Args:
        chosen: labels of the pods that are to be apart.
    """
    return {
        "automountServiceAccountToken": False,      # `api_token` mounts what is needed, for our container alone
        "enableServiceLinks": False,
        "priorityClassName": plan.priority_class_name,
        "imagePullSecrets": msgspec.to_builtins(plan.image_pull_secrets),
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": chosen}}},
        ]}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway",
             "labelSelector": {"matchLabels": chosen}},
        ],
    }


def container(plan: Plan, name: str, args: Sequence[str], resources: Resources, mounts: Sequence[Manifest], **rest: object) -> Manifest:
    return {
        "name": name, "image": plan.image, "imagePullPolicy": plan.image_pull_policy, "args": list(args),
        "resources": msgspec.to_builtins(resources),
        "securityContext": {
            "allowPrivilegeEscalation": False, "privileged": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        # Who still holds an old list of addresses finds somebody there.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "volumeMounts": list(mounts),
        **rest,
    }


def probes(port: int, path: str) -> Manifest:
    def probe(period_s: int, failures: int) -> Manifest:
        return {
            "httpGet": {"port": port, "path": path, "scheme": "HTTPS"},
            "periodSeconds": period_s, "failureThreshold": failures, "timeoutSeconds": 3,
        }
    return {"startupProbe": probe(1, 300), "readinessProbe": probe(2, 2), "livenessProbe": probe(10, 6)}


def config_volume(name: str) -> Manifest:
    return {"name": "config", "configMap": {"name": name}}


def config_mount() -> Manifest:
    return {"name": "config", "mountPath": CONFIG, "readOnly": True}


def api_token_volume() -> Manifest:
    """What the API server's own admission would mount, written out: the account's token, and the authority of the API server."""
    return {"name": "api-token", "projected": {"defaultMode": 0o440, "sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]}}


def api_token_mount() -> Manifest:
    return {"name": "api-token", "mountPath": _API_FILES, "readOnly": True}


def _state(plan: Plan) -> tuple[list[Manifest], list[Manifest]]:
    """(claim templates, volumes)"""
    if not plan.persistence.size:
        return [], [{"name": "state", "emptyDir": {}}]
    storage = {"storageClassName": plan.persistence.storage_class} if plan.persistence.storage_class else {}
    claim = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "state"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": plan.persistence.size}}, **storage},
    }
    return [claim], []
