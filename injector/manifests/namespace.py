"""The control plane's own namespace: never meshed, and held to Pod Security's narrowest level.

It holds the authority, so it stays when a chart goes.
"""

from injector.settings import SYSTEM

from .parts import KEPT, Manifest, metadata
from .plan import Plan

_MODES = ("enforce", "audit", "warn")


def namespace(plan: Plan) -> list[Manifest]:
    if not plan.create_namespace:
        return []
    made = metadata(SYSTEM, "namespace", namespace="")
    level = {f"pod-security.kubernetes.io/{mode}": plan.pod_security for mode in _MODES} if plan.pod_security else {}
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {**made, "labels": {**made["labels"], **level}, "annotations": KEPT}}]
