"""The injector of one revision: webhook and snapshot stream on every replica; one of them leads."""

import hashlib
from typing import Any

import msgspec

from injector.settings import INJECTOR, ISSUER, ROOTS, ROOTS_KEY, SYSTEM, Settings

from . import parts
from .issuer import PORT as ISSUER_PORT
from .parts import Manifest
from .plan import RESERVED, Plan

WEBHOOK_PORT, STREAM_PORT = 9443, 9444
_ROOTS = "/etc/bartizan/roots"
_STATE = "/var/lib/bartizan"


def injector(plan: Plan) -> list[Manifest]:
    name, replicas = plan.injector, f"{INJECTOR}-{RESERVED}"
    made = parts.config_map(plan, name, "injector", plan.revision, _config(plan))
    digest = hashlib.sha256(made["data"]["config.json"].encode()).hexdigest()[:16]
    ports = {"webhook": WEBHOOK_PORT, "stream": STREAM_PORT}
    container = parts.container(
        plan, "injector", ["injector", "--config", f"{parts.CONFIG}/config.json"], plan.resources.injector,
        [parts.config_mount(), parts.api_token_mount(), {"name": "roots", "mountPath": _ROOTS, "readOnly": True},
         {"name": "token", "mountPath": parts.TOKEN, "readOnly": True}],
        ports=[{"name": port, "containerPort": number, "protocol": "TCP"} for port, number in ports.items()],
        **parts.probes(WEBHOOK_PORT, "/healthz"),
    )
    volumes = [
        parts.config_volume(name), parts.api_token_volume(),
        # The kubelet waits until the issuer has published it.
        {"name": "roots", "configMap": {"name": ROOTS, "items": [{"key": ROOTS_KEY, "path": ROOTS_KEY}]}},
        {"name": "token", "projected": {"defaultMode": 0o440, "sources": [
            {"serviceAccountToken": {"audience": "bartizan", "expirationSeconds": 3600, "path": "token"}}]}},
    ]
    return [
        made,
        parts.service(name, "injector", plan.revision, {"webhook": (443, WEBHOOK_PORT), "stream": (STREAM_PORT, STREAM_PORT)}),
        # Of all revisions: the issuer asks every replica who holds which trust.
        parts.service(replicas, "injector", None, {"stream": (STREAM_PORT, STREAM_PORT)}, headless=True),
        parts.budget(name, "injector", plan.revision),
        parts.stateful_set(plan, name, "injector", plan.revision, digest=digest, service=replicas, container=container, volumes=volumes,
                           state=_STATE),
    ]


def rendered_by(plan: Plan) -> Settings:
    """How its webhook renders our parts of a pod, but for the roots, which it is told later."""
    config = _config(plan)
    return Settings(**{field.name: config[field.encode_name] for field in msgspec.structs.fields(Settings) if field.encode_name in config})


def _config(plan: Plan) -> dict[str, Any]:
    return {
        "kubernetes": {},
        "revision": plan.revision,
        "trustDomain": plan.trust_domain,
        "rootsFile": f"{_ROOTS}/{ROOTS_KEY}",
        "issuerUrl": f"https://{ISSUER}.{SYSTEM}.svc:{ISSUER_PORT}",
        "streamUrl": f"https://{plan.injector}.{SYSTEM}.svc:{STREAM_PORT}",
        "stateDirectory": _STATE,
        "tokenFile": f"{parts.TOKEN}/token",
        "webhookPort": WEBHOOK_PORT,
        "streamPort": STREAM_PORT,
        "learningDays": plan.learning_days,
        "image": plan.image,
        "imagePullPolicy": plan.image_pull_policy,
        "netRaw": plan.net_raw,
        "resources": msgspec.to_builtins(plan.resources.sidecar),
    }
