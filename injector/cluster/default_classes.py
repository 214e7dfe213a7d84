"""Classes where there is no API server to know them: ours are there unless the manifests have others, and an Ingress without a class gets
the default one, as the API server's own admission writes it in.

Spec: networking.k8s.io/v1 IngressClass, "Default IngressClass".
"""

from collections.abc import Iterable
from typing import Any

from injector.settings import GATEWAY_CONTROLLER, INGRESS_CLASS, INGRESS_CONTROLLER

from .kinds import OLD_CLASS
from .objects import Json, Object, at

IS_DEFAULT = "ingressclass.kubernetes.io/is-default-class"


def with_classes(found: Iterable[Json]) -> list[Json]:
    """The objects, with the classes that they lack."""
    whole = list(found)
    if not any(item.get("kind") == "IngressClass" for item in whole):
        whole.append(_class("networking.k8s.io/v1", "IngressClass", {"controller": INGRESS_CONTROLLER}, {IS_DEFAULT: "true"}))
    if not any(item.get("kind") == "GatewayClass" for item in whole):
        whole.append(_class("gateway.networking.k8s.io/v1", "GatewayClass", {"controllerName": GATEWAY_CONTROLLER}, {}))
    classes = [Object(item) for item in whole if item.get("kind") == "IngressClass"]
    defaults = [one.name for one in classes if one.annotations.get(IS_DEFAULT) == "true"]
    return [_with_class(item, defaults[0]) if len(defaults) == 1 and item.get("kind") == "Ingress" else item for item in whole]


def _class(version: str, kind: str, spec: Json, annotations: Json) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": INGRESS_CLASS, "namespace": "", "annotations": annotations},
            "spec": spec}


def _with_class(item: Json, name: str) -> Json:
    spec = item.get("spec")
    if not isinstance(spec, dict) or spec.get("ingressClassName") or OLD_CLASS in at(item, "metadata", "annotations"):
        return item
    return {**item, "spec": {**spec, "ingressClassName": name}}
