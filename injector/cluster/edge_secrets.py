"""Which Secrets the Ingresses and Gateways of our classes name, each object's by the namespace that it is of. Pure.

An Ingress names them in `spec.tls`, its annotation under `authentication`; a Gateway in its listeners, perhaps those of other namespaces,
of which the compiler uses what these grant.

Trust: whoever may write an Ingress may name any Secret of its namespace; one that names many takes its own namespace's room. Attacked by
tests/injector/cluster/test_edge_secrets.py.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from injector.documents import EDGE
from injector.settings import GATEWAY_CONTROLLER, INGRESS_CONTROLLER
from injector.yaml_text import YamlError, read_yaml

from . import Key, Ref
from .ingress_class import class_of
from .objects import Json, Object

CLASSES = {"IngressClass": ("controller", INGRESS_CONTROLLER), "GatewayClass": ("controllerName", GATEWAY_CONTROLLER)}
CLASS_OF = {"Ingress": "IngressClass", "HTTPRoute": "", "Gateway": "GatewayClass"}     # routes have those of their Gateways, which vary
EDGES = (*CLASSES, *CLASS_OF)


class EdgeSecrets:
    def __init__(self) -> None:
        self._ours: set[tuple[str, str]] = set()        # kind and name of a class
        self._by: dict[Ref, tuple[tuple[str, str], frozenset[Key]]] = {}

    def take(self, ref: Ref, item: Json | None) -> bool:
        """Whether what is named may be another now."""
        kind, namespace, name = ref
        if kind in CLASSES:
            field, controller = CLASSES[kind]
            is_ours = item is not None and _at(item, "spec", field) == controller
            if is_ours == ((kind, name) in self._ours):
                return False
            self._ours ^= {(kind, name)}
            return True
        before = self._by.pop(ref, None)
        if item is not None and (names := frozenset(_named(kind, namespace, item))):
            self._by[ref] = (CLASS_OF[kind], _class_of(kind, item)), names
        return self._by.get(ref) != before

    def named(self) -> Mapping[str, set[Key]]:
        """By the namespace of those who name them."""
        found: dict[str, set[Key]] = {}
        for (_, namespace, _), (of, names) in self._by.items():
            if not of[0] or of in self._ours:
                found.setdefault(namespace, set()).update(names)
        return found


def _class_of(kind: str, item: Json) -> str:
    if kind == "Gateway":
        return str(_at(item, "spec", "gatewayClassName"))
    return class_of(Object(item)) or ""


def _named(kind: str, namespace: str, item: Json) -> Iterator[Key]:
    for entry in _items(_at(item, "spec", "tls")):
        if isinstance(name := entry.get("secretName"), str) and kind == "Ingress":
            yield namespace, name
    for listener in _items(_at(item, "spec", "listeners")):
        for one in _items(_at(listener, "tls", "certificateRefs")):
            if kind == "Gateway" and isinstance(name := one.get("name"), str) and one.get("kind", "Secret") == "Secret":
                there = one.get("namespace")
                yield there if isinstance(there, str) else namespace, name
    text = _at(item, "metadata", "annotations", EDGE)
    if isinstance(text, str) and "secret" in text:
        try:
            yield from ((namespace, name) for name in _secrets_in(read_yaml(text).data))
        except YamlError:
            return


def _secrets_in(data: object) -> Iterator[str]:
    """Wherever the word stands in the annotation."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key == "secret" and isinstance(value, str):
                yield value
            yield from _secrets_in(value)
    elif isinstance(data, list):
        for value in data:
            yield from _secrets_in(value)


def _at(data: Any, *path: str) -> Any:
    """Whatever stands there; None: nothing does."""
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return data


def _items(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
