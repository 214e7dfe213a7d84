"""The issuer: one for all revisions. Its replicas share the Secret that holds the authority, each writes a log of its own.

The Secret is not among the manifests: the issuer makes it at its first start, so that whoever applies these again, or removes what
is no longer printed, touches no key.
"""

import hashlib

from injector.settings import AUTHORITY, INJECTOR, ISSUER, ROOTS, SYSTEM

from . import parts
from .parts import Manifest
from .plan import RESERVED, Plan

PORT = 8443
_MEMORY = "/run/bartizan/memory"


def issuer(plan: Plan) -> list[Manifest]:
    made = parts.config_map(plan, ISSUER, "issuer", None, _config(plan))
    digest = hashlib.sha256(made["data"]["config.json"].encode()).hexdigest()[:16]
    container = parts.container(
        plan, "issuer", ["certs", "serve", "--config", f"{parts.CONFIG}/config.json"], plan.resources.issuer,
        [parts.config_mount(), parts.api_token_mount(), {"name": "memory", "mountPath": _MEMORY}],
        ports=[{"name": "https", "containerPort": PORT, "protocol": "TCP"}], **parts.probes(PORT, "/v1/roots"),
    )
    volumes = [
        parts.config_volume(ISSUER), parts.api_token_volume(), {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
    ]
    return [
        made,
        parts.service(ISSUER, "issuer", None, {"https": (PORT, PORT)}),
        parts.budget(ISSUER, "issuer", None),
        parts.stateful_set(plan, ISSUER, "issuer", None, digest=digest, service=ISSUER, container=container, volumes=volumes,
                           state="/var/lib/bartizan"),
    ]


def names_of(service: str, plan: Plan) -> list[str]:
    """Under which pods find it, and people."""
    return [f"{service}.{SYSTEM}.svc", f"{service}.{SYSTEM}.svc.{plan.cluster_domain}"]


def _config(plan: Plan) -> dict[str, object]:
    everybody = names_of(f"{INJECTOR}-{RESERVED}", plan)
    return {
        "directory": "/var/lib/bartizan/log",
        "trustDomain": plan.trust_domain,
        "authority": {
            "source": "secret", "namespace": SYSTEM, "name": AUTHORITY, "copy": f"{_MEMORY}/authority",
            "roots": ROOTS, "httpsDomains": ["svc", f"svc.{plan.cluster_domain}"],
        },
        "tokens": {
            "source": "kubernetes",
            "addressUncheckedBecause": plan.address_unchecked_because,
            "csrSigner": plan.csr_signer,
        },
        "names": names_of(ISSUER, plan),
        "port": PORT,
        "lifetimeS": plan.lifetime_s,
        "servers": [
            {"namespace": SYSTEM, "serviceAccount": INJECTOR, "names": [*names_of(INJECTOR, plan), *everybody]},
            {"namespace": SYSTEM, "serviceAccount": f"{INJECTOR}-*", "names": [*names_of(f"{INJECTOR}-*", plan), *everybody]},
        ],
        "injectorUrl": f"https://{everybody[0]}:9444",
    }
