"""Ingresses in few words, the Services that they lead to, and what becomes of a request."""

from collections.abc import Iterable, Mapping
from typing import Any

from injector.cluster import Cluster
from injector.cluster.checked import checked
from injector.cluster.default_classes import with_classes
from injector.compile.edge import compile_edge
from injector.compile.edge_join import Joined
from sidecar.model.edge import EdgeRoute
from sidecar.policy.route_table import RouteTable
from sidecar.protocol.framing import judge_request

Item = dict[str, Any]
KINDS = {"E": "Exact", "P": "Prefix", "I": "ImplementationSpecific"}


def backend(service: str, port: object = 80) -> Item:
    return {"service": {"name": service, "port": {"name": port} if isinstance(port, str) else {"number": port}}}


def path(kind: str, value: str | None, service: str, port: object = 80) -> Item:
    return {"pathType": KINDS.get(kind, kind), "backend": backend(service, port), **({"path": value} if value is not None else {})}


def ingress(
    name: str = "web", rules: Iterable[Item] = (), *, namespace: str = "shop", created: str = "", edge: str | None = None, **spec: Any,
) -> Item:
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": created or None}
    if edge is not None:
        metadata["annotations"] = {"bartizan.dev/edge": edge}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": {"rules": list(rules), **spec}}


def rule(host: str | None, *paths: Item) -> Item:
    return {**({"host": host} if host else {}), "http": {"paths": list(paths)}}


def from_words(text: str, **more: Any) -> list[Item]:
    """`HOST KIND PATH SERVICE` for each line, `-` for no host and for no path; `default SERVICE`; `==` begins another Ingress, each younger
    than the one before."""
    made = []
    for number, part in enumerate(text.split("==")):
        rules, spec = [], {}
        for words in filter(None, (line.split() for line in part.splitlines())):
            if words[0] == "default":
                spec["defaultBackend"] = backend(words[1])
            else:
                host, kind, value, service = words
                rules.append(rule(None if host == "-" else host, path(kind, None if value == "-" else value, service)))
        made.append(ingress(f"i{number}", rules, created=f"2026-01-0{number + 1}T00:00:00Z", **{**spec, **more}))
    return made


def service(name: str, namespace: str = "shop", **spec: Any) -> Item:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80}, {"port": 8080}], **spec}}


def services_of(objects: Iterable[Item]) -> list[Item]:
    """Those that are named in backends, wherever they stand."""
    found: dict[tuple[str, str], None] = {}

    def walk(value: Any, namespace: str) -> None:
        if isinstance(value, dict):
            if isinstance(one := value.get("service"), dict) and isinstance(one.get("name"), str):
                found[one["name"], namespace] = None
            for inner in value.values():
                walk(inner, namespace)
        elif isinstance(value, list):
            for inner in value:
                walk(inner, namespace)

    for one in objects:
        if one["kind"] == "Ingress":
            walk(one.get("spec"), one["metadata"]["namespace"])
    return [service(name, namespace) for name, namespace in found]


def cluster_of(*objects: Item) -> Cluster:
    return Cluster.of(map(checked, map(dict, with_classes(objects))))


def joined(*objects: Item) -> Joined:
    """With a Service for each backend that none is given for."""
    given = {(one["metadata"]["name"], one["metadata"].get("namespace")) for one in objects if one["kind"] == "Service"}
    made = [one for one in services_of(objects) if (one["metadata"]["name"], one["metadata"]["namespace"]) not in given]
    return compile_edge(cluster_of(*made, *objects))


class Asked:
    """What the rules do with requests."""

    def __init__(self, found: Joined) -> None:
        self._table: RouteTable[EdgeRoute] = RouteTable(found.edge.routes)

    def route(self, host: str, target: str = "/", *, port: int = 443, headers: Mapping[str, str] | None = None) -> EdgeRoute | None:
        fields = [(b"host", host.encode()), *((name.encode(), value.encode()) for name, value in (headers or {}).items())]
        found = self._table.find(port, judge_request(b"GET", target.encode(), b"1.1", fields))
        return found.rule if found is not None else None

    def to(self, host: str, target: str = "/", *, port: int = 443, headers: Mapping[str, str] | None = None) -> str | int | None:
        """The Services, or the status of an answer of its own; None: no rule."""
        route = self.route(host, target, port=port, headers=headers)
        if route is None or (route.direct_response is not None and route.direct_response.status == 404):
            return None
        if route.redirect is not None:
            return route.redirect.status
        if route.direct_response is not None:
            return route.direct_response.status
        return " ".join(one.service.partition(".")[0] for one in route.backends)


def asked(*objects: Item) -> Asked:
    return Asked(joined(*objects))
