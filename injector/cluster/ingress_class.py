"""Whose an Ingress is: its class by name, in the field or in the annotation from before, and whether the controller of that class is ours.

Spec: networking.k8s.io/v1 IngressClass, Ingress.ingressClassName.
"""

from injector.settings import INGRESS_CONTROLLER
from sidecar.model.errors import ConfigError

from . import Cluster
from .kinds import OLD_CLASS
from .objects import Object


def class_of(ingress: Object) -> str | None:
    """The name of its class; None: it has none, or what stands there is no name."""
    try:
        found = ingress.spec.get("ingressClassName") or ingress.annotations.get(OLD_CLASS)
    except ConfigError:
        return None
    return found if isinstance(found, str) else None


def our_classes(cluster: Cluster) -> frozenset[str]:
    return frozenset(name for (_, name), one in cluster.of_kind("IngressClass").items() if is_our_class(one))


def is_our_class(one: Object) -> bool:
    """Whether its controller is ours."""
    try:
        return one.spec.get("controller") == INGRESS_CONTROLLER
    except ConfigError:
        return False
