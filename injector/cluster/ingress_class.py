"""Whose an Ingress is: its class by name, in the field or in the annotation from before, and whether the controller of that class is ours.

Spec: networking.k8s.io/v1 IngressClass, Ingress.ingressClassName.
"""

from collections.abc import Iterable

from injector.settings import INGRESS_CONTROLLER
from sidecar.model.errors import ConfigError

from .kinds import OLD_CLASS
from .objects import Object


def class_of(ingress: Object) -> str | None:
    """The name of its class; None: it has none, or what stands there is no name."""
    try:
        found = ingress.spec.get("ingressClassName") or ingress.annotations.get(OLD_CLASS)
    except ConfigError:
        return None
    return found if isinstance(found, str) else None


def our_classes(classes: Iterable[Object]) -> frozenset[str]:
    """The names of those whose controller we are."""
    return frozenset(one.name for one in classes if _controller(one) == INGRESS_CONTROLLER)


def _controller(one: Object) -> object:
    try:
        return one.spec.get("controller")
    except ConfigError:
        return None
