"""Our parts of a pod, rendered: the interception, the sidecar, their volumes. The same arguments give the same parts.

Every field that the API server would fill in is written out, so that a part that comes back from it can be compared with a
fresh rendering.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from sidecar.model import ports
from sidecar.model.config import Config, Interception, IssuedIdentity, LedgerFiles, Probe, SnapshotStream
from sidecar.model.passage import Passage

from .cluster.objects import INTERCEPTION, SIDECAR, Pod, at, objects
from .documents import ROOTS
from .settings import Settings

CONTAINERS = (INTERCEPTION, SIDECAR)
UIDS = range(50000, 65000)      # below 65536: user namespaces of 65536 IDs, --uid-owner and setuid take no more
AUDIENCE = "bartizan"
PRIVATE_VOLUME, TOKEN_VOLUME, ROOTS_VOLUME = "bartizan-private", "bartizan-token", "bartizan-roots"
WORKLOAD_VOLUME = "bartizan-workload-api"       # only where a pod asks for it
VOLUMES = (PRIVATE_VOLUME, TOKEN_VOLUME, ROOTS_VOLUME, WORKLOAD_VOLUME)
PRIVATE, TOKEN, ROOTS_DIR = "/run/bartizan/private", "/run/bartizan/token", "/run/bartizan/roots"
WORKLOAD = "/run/bartizan/workload"
WORKLOAD_SOCKET = f"{WORKLOAD}/api.sock"
PROBE_WITHIN_S = 6.0            # the kubelet asks each second

_POD_UID = "$(BARTIZAN_POD_UID)"


def proxy_uid(pod: Pod, namespace: str) -> int:
    """The sidecar's UID: the one that it was given before, or one drawn from the pod's name.

    Args:
        namespace: the request's; a pod's metadata may leave it out.
    """
    found = at(pod.sidecar or {}, "securityContext").get("runAsUser")
    if isinstance(found, int) and found in UIDS:
        return found
    name = f"{namespace}/{pod.name or pod.metadata.get('generateName', '')}"
    return UIDS[int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % len(UIDS)]


def interception(settings: Settings, uid: int, passage: Passage) -> dict[str, Any]:
    """The init container that loads the packet rules and ends.

    Args:
        passage: what passes the sidecar by.
    """
    exempt = ["--exempt-uid", str(uid)] if settings.bypass == "uid" else ["--exempt-mark", str(settings.mark)]
    return {
        "name": INTERCEPTION,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": ["intercept", *exempt, *passage.arguments],
        "resources": settings.resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"] if settings.net_raw else ["NET_ADMIN"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "runAsUser": 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def sidecar(
    settings: Settings, uid: int, probes: Mapping[str, Probe], *, workload_api: bool = False, older: bool = False,
) -> dict[str, Any]:
    """The native sidecar (KEP-753), which starts before every other container but the interception and ends after them.

    Args:
        workload_api: whether it gives the application an SVID of its own.
        older: the form for clusters that know no native ones; see `injector/form.py`.
    """
    return {
        "name": SIDECAR,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        **({} if older else {"restartPolicy": "Always"}),
        "args": ["sidecar", "--config", "env:BARTIZAN_CONFIG"],
        "env": [
            {"name": "BARTIZAN_POD_UID", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}},
            {"name": "BARTIZAN_POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
            {"name": "BARTIZAN_CONFIG", "value": _config(settings, probes, workload_api)},
        ],
        "resources": settings.resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        } | (
            {"capabilities": {"drop": ["ALL"]}, "runAsUser": uid, "runAsGroup": uid, "runAsNonRoot": True}
            if settings.bypass == "uid" else {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}
        ),
        "startupProbe": _probe("/healthz/started", period_s=1, failures=60),
        "readinessProbe": _probe("/healthz/ready", period_s=1, failures=2),
        "livenessProbe": _probe("/healthz/live", period_s=10, failures=3),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": PRIVATE_VOLUME, "mountPath": PRIVATE},
            {"name": TOKEN_VOLUME, "mountPath": TOKEN, "readOnly": True},
            {"name": ROOTS_VOLUME, "mountPath": ROOTS_DIR, "readOnly": True},
            *([{"name": WORKLOAD_VOLUME, "mountPath": WORKLOAD}] if workload_api else []),
        ],
    }


def application_mount() -> dict[str, Any]:
    """The one volume of ours that others mount: a socket is connected to through it all the same, and cannot be replaced."""
    return {"name": WORKLOAD_VOLUME, "mountPath": WORKLOAD, "readOnly": True}


def volumes(*, workload_api: bool = False) -> list[dict[str, Any]]:
    token = {"audience": AUDIENCE, "expirationSeconds": 3600, "path": "token"}
    roots = {"path": "roots.pem", "fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.annotations['{ROOTS}']"}}
    return [
        {"name": PRIVATE_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
        {"name": TOKEN_VOLUME, "projected": {"defaultMode": 0o644, "sources": [{"serviceAccountToken": token}]}},
        {"name": ROOTS_VOLUME, "downwardAPI": {"defaultMode": 0o644, "items": [roots]}},
        *([{"name": WORKLOAD_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}] if workload_api else []),
    ]


def _probe(path: str, *, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": ports.HEALTH, "scheme": "HTTP"},
        "periodSeconds": period_s, "failureThreshold": failures, "successThreshold": 1, "timeoutSeconds": 2,
    }


def _config(settings: Settings, probes: Mapping[str, Probe], workload_api: bool) -> str:
    """The sidecar's configuration, in which the kubelet replaces the pod's UID and nothing else: any other `$` is doubled."""
    config = Config(
        admin_socket=f"{PRIVATE}/admin.sock",
        snapshot=SnapshotStream(settings.stream_url, keep_file=f"{PRIVATE}/snapshot.json"),
        ledger=LedgerFiles(f"{PRIVATE}/ledger"),
        synthetic_file=f"{PRIVATE}/synthetic.json",
        identity=IssuedIdentity(
            settings.issuer_url, token_file=f"{TOKEN}/token", roots_file=f"{ROOTS_DIR}/roots.pem", keep_file=f"{PRIVATE}/identity.json"
        ),
        pod_uid="@",
        interception=Interception(
            bypass_mark=settings.mark if settings.bypass == "mark" else None, probe_within_s=PROBE_WITHIN_S
        ),
        probes=dict(probes),
        workload_api=WORKLOAD_SOCKET if workload_api else None,
    )
    text = msgspec.json.encode(config, order="deterministic").decode().replace("$", "$$")
    return text.replace('"podUid":"@"', f'"podUid":"{_POD_UID}"')


def probes_of(container: Mapping[str, Any]) -> dict[str, Probe]:
    """The probes that a rendered sidecar was given; empty if it is none of our rendering."""
    for variable in objects(container.get("env"), "env"):
        value = variable.get("value")
        if variable.get("name") == "BARTIZAN_CONFIG" and isinstance(value, str):
            try:
                return msgspec.json.decode(value.replace("$$", "$"), type=Config).probes
            except msgspec.DecodeError:
                return {}
    return {}
