"""The way back: a pod without our parts, as it was before `patch.py`.

What the API server would fill in anyway may stand there, annotations stay in the form of JSON, and what the hardening added is what the
status annotation says that it did. Nothing is taken out but what bears our names or is one of the fields that the hardening sets.
"""

import copy
from typing import Any

from . import containers, documents
from .added import added_of, taken_back
from .cluster.objects import Json, Pod, at, objects
from .form import is_ours, places
from .patch import SPIFFE_SOCKET
from .probes import restored


def unpatch(pod: Json) -> dict[str, Any]:
    """A pod, or a pod template; one without a sidecar comes back as it is."""
    view = Pod(copy.deepcopy(dict(pod)))
    if view.sidecar is None:
        return dict(view.data)
    found, where = dict(view.data), places(view.annotations)
    probes, hardened = containers.probes_of(view.sidecar), added_of(view.annotations)
    spec = found["spec"] = dict(view.spec)
    for field in ("initContainers", "containers"):
        spec[field] = [
            _own(restored(one, probes), hardened.get(str(one.get("name")), ()))
            for one in objects(spec.get(field), f"spec.{field}") if not is_ours(field, one, where)
        ]
    spec["volumes"] = [one for one in view.volumes if one.get("name") not in containers.VOLUMES]
    for field in ("initContainers", "volumes"):
        if not spec[field]:
            del spec[field]
    metadata = found["metadata"] = dict(view.metadata)
    metadata["annotations"] = {
        name: value for name, value in view.annotations.items() if name not in (documents.STATUS, documents.ROOTS)
    }
    if not metadata["annotations"]:
        del metadata["annotations"]
    if not metadata:
        del found["metadata"]
    return found


def _own(container: dict[str, Any], added: tuple[str, ...]) -> dict[str, Any]:
    """Without what we put into somebody else's container."""
    for field, what in (("volumeMounts", containers.application_mount()),
                        ("env", {"name": SPIFFE_SOCKET, "value": f"unix://{containers.WORKLOAD_SOCKET}"})):
        kept = [one for one in objects(container.get(field), field) if one != what]
        if len(kept) != len(container.get(field) or ()):
            container[field] = kept
            if not kept:
                del container[field]
    if added:
        security = taken_back(at(container, "securityContext"), added)
        container["securityContext"] = security
        if not security:
            del container["securityContext"]
    return container
