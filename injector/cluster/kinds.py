"""Which kinds of objects the Kubernetes API is asked for, where, and what of an object is kept: what somebody reads, and no more.

2,000 meshed pods with 1,000 Services, their slices and 2,500 owners are 30 MB on the wire and 35 MB here (CPython 3.11). Of kinds of which
only names, labels, annotations and owners are read, the API server is asked for no more than these. What is dropped here is nobody's to
read from a `Cluster`; tests/injector/cluster/test_kinds.py holds what is made of whole objects against what is made of kept ones.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from certs.kubernetes import JSON
from injector.documents import ROOTS

from . import Key
from .objects import INTERCEPTION, SIDECAR, mapping, objects

PREFIX = "bartizan.dev/"
OLD_CLASS = "kubernetes.io/ingress.class"      # of an Ingress, before there were IngressClasses
OF_AGE = ("creationTimestamp", "generation", "resourceVersion")
OTHERS_ANNOTATIONS = frozenset({"kubernetes.io/config.mirror", OLD_CLASS})

# What is kept of an object, or of each in a list: the fields named, whole or some of theirs.
Shape = Mapping[str, "Shape | None"]


@dataclass(frozen=True, slots=True)
class Kind:
    """
    Args:
        prefix: /api/v1, or /apis/GROUP/VERSION.
        shape: what is kept beside the metadata. Empty: the metadata is all that is asked for.
        counts_from_the_start: one that cannot be read may be what restricts: nothing begins without it.
        is_optional: an API server that does not know it has none of it, which is no mistake.
        has_age: when it was created counts, and of which generation its spec is; its status says what became of it.
    """

    name: str
    prefix: str
    plural: str
    shape: Shape
    counts_from_the_start: bool = False
    is_optional: bool = False
    has_age: bool = False

    def accept(self, suffix: bytes) -> bytes:
        """What an answer is to be.

        Args:
            suffix: `List` of a list, nothing of a watch.
        """
        return JSON if self.shape else JSON + b";as=PartialObjectMetadata" + suffix + b";g=meta.k8s.io;v=v1"

    @property
    def api_group(self) -> str:
        """As RBAC names it."""
        return self.prefix.removeprefix("/apis/").partition("/")[0] if self.prefix != "/api/v1" else ""


@dataclass(frozen=True, slots=True)
class Collection:
    """Objects that one list and one watch tell of.

    Args:
        key: the one object that is meant, (namespace, name); None: all of the kind.
    """

    kind: Kind
    key: Key | None = None

    @property
    def path(self) -> str:
        if self.key is None:
            return f"{self.kind.prefix}/{self.kind.plural}"
        return f"{self.kind.prefix}/namespaces/{quote(self.key[0], safe='')}/{self.kind.plural}"

    @property
    def query(self) -> str:
        return f"fieldSelector=metadata.name%3D{quote(self.key[1], safe='')}" if self.key is not None else ""

    def __str__(self) -> str:
        return f"{self.kind.name} {'/'.join(self.key)}" if self.key is not None else self.kind.plural


def _fields(names: str) -> Shape:
    return dict.fromkeys(names.split())


_CONTAINERS = _fields("name ports securityContext args targetContainerName")
_VOLUMES = _fields("name hostPath")
_POD: Shape = {
    "spec": {
        **_fields("serviceAccountName nodeName hostNetwork hostPID hostIPC shareProcessNamespace os securityContext"),
        "volumes": _VOLUMES,
        "containers": _CONTAINERS, "initContainers": _CONTAINERS, "ephemeralContainers": _CONTAINERS,
    },
    "status": {**_fields("phase podIP podIPs hostIP"), "conditions": _fields("type status")},
}
_SLICE: Shape = {
    "addressType": None, "ports": _fields("name protocol port appProtocol"),
    "endpoints": {**_fields("addresses conditions zone"), "targetRef": _fields("kind namespace name")},
}
_SERVICE: Shape = {"spec": {
    **_fields("type selector clusterIP clusterIPs externalIPs externalName"), "ports": _fields("name protocol appProtocol port targetPort"),
}, "status": _fields("loadBalancer")}
_SPEC: Shape = {"spec": None}
_TOLD: Shape = {"spec": None, "status": None}
_METADATA_ONLY: Shape = {}
_GATEWAY_API = "/apis/gateway.networking.k8s.io/v1"
_POLICIES = "/apis/bartizan.dev/v1alpha1"

SECRETS = Kind("Secret", "/api/v1", "secrets", {"data": None})       # of API keys, the names are anybody's

KINDS = (
    Kind("Namespace", "/api/v1", "namespaces", _METADATA_ONLY),
    Kind("Pod", "/api/v1", "pods", _POD),
    Kind("Service", "/api/v1", "services", _SERVICE),
    Kind("ServiceAccount", "/api/v1", "serviceaccounts", _METADATA_ONLY),
    Kind("EndpointSlice", "/apis/discovery.k8s.io/v1", "endpointslices", _SLICE),
    Kind("Deployment", "/apis/apps/v1", "deployments", _METADATA_ONLY),
    Kind("ReplicaSet", "/apis/apps/v1", "replicasets", _METADATA_ONLY),
    Kind("StatefulSet", "/apis/apps/v1", "statefulsets", _METADATA_ONLY),
    Kind("DaemonSet", "/apis/apps/v1", "daemonsets", _METADATA_ONLY),
    Kind("Job", "/apis/batch/v1", "jobs", _METADATA_ONLY),
    Kind("CronJob", "/apis/batch/v1", "cronjobs", _METADATA_ONLY),
    Kind("IngressClass", "/apis/networking.k8s.io/v1", "ingressclasses", _SPEC),
    Kind("Ingress", "/apis/networking.k8s.io/v1", "ingresses", _TOLD, has_age=True),
    Kind("NetworkPolicy", "/apis/networking.k8s.io/v1", "networkpolicies", _SPEC),
    Kind("GatewayClass", _GATEWAY_API, "gatewayclasses", _TOLD, is_optional=True, has_age=True),
    Kind("Gateway", _GATEWAY_API, "gateways", _TOLD, is_optional=True, has_age=True),
    Kind("HTTPRoute", _GATEWAY_API, "httproutes", _TOLD, is_optional=True, has_age=True),
    Kind("ReferenceGrant", "/apis/gateway.networking.k8s.io/v1beta1", "referencegrants", _SPEC, is_optional=True),
    Kind("EgressPolicy", _POLICIES, "egresspolicies", _SPEC, counts_from_the_start=True),
    Kind("MeshPolicy", _POLICIES, "meshpolicies", _SPEC, counts_from_the_start=True),
)


def rules() -> list[dict[str, list[str]]]:
    """What RBAC must allow the injector everywhere for it to see these; Secrets are for each namespace to give."""
    groups: dict[str, list[str]] = {}
    for kind in KINDS:
        groups.setdefault(kind.api_group, []).append(kind.plural)
    return [{"apiGroups": [group], "resources": plurals, "verbs": ["list", "watch"]} for group, plurals in groups.items()]


def kept(kind: Kind, item: object) -> dict[str, Any]:
    """The object as it is kept. ConfigError if it is none, or a part that is kept has another form than an object's."""
    whole = mapping(item, kind.name)
    version = kind.prefix.removeprefix("/apis/").removeprefix("/api/")
    return {"apiVersion": version, "kind": kind.name, "metadata": _metadata(kind, mapping(whole.get("metadata"), "metadata")),
            **_shaped(whole, kind.shape, "")}


def _metadata(kind: Kind, found: Mapping[str, Any]) -> dict[str, Any]:
    names = ("name", "namespace", "uid", "labels", "deletionTimestamp", *(OF_AGE if kind.has_age else ()))
    made = {name: found[name] for name in names if found.get(name)}
    annotations = mapping(found.get("annotations"), "metadata.annotations")
    if wanted := {name: value for name, value in annotations.items() if _is_read(name)}:
        made["annotations"] = wanted
    owners = objects(found.get("ownerReferences"), "metadata.ownerReferences")
    if controllers := [_shaped(owner, _fields("kind name controller"), "") for owner in owners if owner.get("controller") is True]:
        made["ownerReferences"] = controllers
    return made


def _is_read(annotation: str) -> bool:
    return annotation in OTHERS_ANNOTATIONS or (annotation.startswith(PREFIX) and annotation != ROOTS)


def _shaped(found: Mapping[str, Any], shape: Shape, where: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, inner in shape.items():
        value = found.get(name)
        if value is None:
            continue
        if inner is None:
            made[name] = value
        elif isinstance(value, list):
            made[name] = list(_items(objects(value, f"{where}{name}"), inner, f"{where}{name}"))
        else:
            made[name] = _shaped(mapping(value, f"{where}{name}"), inner, f"{where}{name}.")
    return made


def _items(found: Iterable[Mapping[str, Any]], shape: Shape, where: str) -> Iterable[dict[str, Any]]:
    for item in found:
        made = _shaped(item, shape, f"{where}.")
        if shape is _CONTAINERS and made.get("name") not in (INTERCEPTION, SIDECAR):
            made.pop("args", None)      # which packet rules there are stands in those of our own
        if shape is not _VOLUMES or "hostPath" in made:
            yield made
