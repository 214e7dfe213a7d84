"""Whatever anybody reads of an object later is read here once, when it comes in, so that one malformed object stops nobody else.

Trust: what comes in was written by whoever may create objects; what leaves has every field that we read, of the right type.
"""

from typing import Any

from injector.validate import read_policy
from sidecar.model.errors import ConfigError
from sidecar.model.identity import workload_id

from .objects import TEMPLATES, Object, at, objects, text, texts

CLUSTER_SCOPED = ("Namespace", "IngressClass", "GatewayClass", "EgressPolicy", "MeshPolicy")


def checked(item: dict[str, Any]) -> dict[str, Any]:
    """The object with its namespace. Raises ConfigError or Invalid."""
    one = Object(item)
    if not one.kind or not one.name:
        raise ConfigError("", "an object has no kind or no metadata.name")
    namespace = "" if one.kind in CLUSTER_SCOPED else one.namespace or "default"
    one = Object({**item, "metadata": {**one.metadata, "namespace": namespace}})
    where = f"{one.kind} {one.name}"
    try:
        _read_fields(one)
    except ConfigError as exc:
        raise ConfigError(where, str(exc)) from exc
    return dict(one.data)


def _read_fields(one: Object) -> None:
    _ = one.uid, one.labels, one.annotations, one.owner
    if one.kind in ("EgressPolicy", "MeshPolicy"):
        read_policy({**one.data, "metadata": {**one.metadata}})
    elif one.kind in ("Pod", *TEMPLATES):
        pod = one.pod
        _ = pod.labels, pod.annotations, pod.addresses, pod.is_ready, pod.has_sidecar, pod.ends_at, pod.port("")
        try:
            workload_id("any", one.namespace, pod.service_account)
        except ValueError as exc:
            raise ConfigError("", f"{one.namespace}/{pod.service_account} is no namespace and service account") from exc
    elif one.kind == "Service":
        _ = at(one.data, "spec", "selector"), text(one.spec.get("clusterIP"), "spec.clusterIP")
        _ = texts(one.spec.get("clusterIPs"), "spec.clusterIPs")
        for port in objects(one.spec.get("ports"), "spec.ports"):
            _ = text(port.get("name"), "spec.ports.name"), text(port.get("protocol"), "spec.ports.protocol")
            _ = text(port.get("appProtocol"), "spec.ports.appProtocol")
    elif one.kind == "EndpointSlice":
        _ = text(one.labels.get("kubernetes.io/service-name"), "metadata.labels")
        for port in objects(one.data.get("ports"), "ports"):
            _ = text(port.get("name"), "ports.name")
        for entry in objects(one.data.get("endpoints"), "endpoints"):
            _ = at(entry, "conditions"), text(at(entry, "targetRef").get("name"), "targetRef.name")
            _ = texts(entry.get("addresses"), "endpoints.addresses"), text(entry.get("zone"), "endpoints.zone")
    elif one.kind == "Secret":
        _ = at(one.data, "data"), at(one.data, "stringData")
