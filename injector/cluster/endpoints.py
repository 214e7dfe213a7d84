"""EndpointSlices as the API server's controller would write them, for sources that have no controller.

Spec: discovery.k8s.io/v1. One slice a pod, since named target ports may mean another number in each.
"""

from collections.abc import Iterable
from typing import Any

from .objects import Json, Object, Pod, objects, selects, text


def derive_slices(found: Iterable[Json]) -> list[Json]:
    """The slices of the Services that select pods and have no slice among `found`."""
    kinds: dict[str, list[Object]] = {"Service": [], "Pod": [], "EndpointSlice": []}
    for data in found:
        one = Object(data)
        kinds.get(one.kind, []).append(one)
    served = {(one.namespace, one.labels.get("kubernetes.io/service-name")) for one in kinds["EndpointSlice"]}
    pods = [Pod(one.data) for one in kinds["Pod"]]
    return [
        _slice(service, pod)
        for service in kinds["Service"] if service.spec.get("selector") and (service.namespace, service.name) not in served
        for pod in pods
        if pod.namespace == service.namespace and pod.addresses and selects(service.spec["selector"], pod.labels)
    ]


def _slice(service: Object, pod: Pod) -> dict[str, Any]:
    ports = []
    for port in objects(service.spec.get("ports"), "spec.ports"):
        number = pod.port(port.get("targetPort", port.get("port")))
        if number is not None:
            protocol = text(port.get("protocol"), "ports.protocol") or "TCP"
            ports.append({"name": text(port.get("name"), "ports.name"), "port": number, "protocol": protocol})
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service.name}-{pod.name}", "namespace": service.namespace,
            "labels": {"kubernetes.io/service-name": service.name},
        },
        "endpoints": [{
            "addresses": list(pod.addresses), "conditions": {"ready": pod.is_ready},
            "targetRef": {"kind": "Pod", "namespace": pod.namespace, "name": pod.name},
        }],
        "ports": ports,
    }
