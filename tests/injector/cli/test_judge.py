"""What is wrong with one object; the rest of it goes through tests/injector/cli/test_analyze.py."""

from typing import Any

import pytest

from injector.cli.judge import judge, misplaced
from injector.cli.manifests import live
from injector.cluster import Cluster
from injector.cluster.default_classes import with_classes
from injector.cluster.objects import Object
from tests.injector.pods import pod


def of(kind: str, *, annotations: dict[str, str] | None = None, labels: dict[str, str] | None = None) -> dict[str, Any]:
    metadata = {"name": "x", "namespace": "shop", "annotations": annotations or {}, "labels": labels or {}}
    spec = {"template": {"spec": {"containers": []}}} if kind == "Deployment" else {}
    return {"kind": kind, "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(("found", "words"), [
    (of("Service", annotations={"bartizan.dev/routes": "[]"}), "nobody reads it on a Service"),
    (of("Namespace", annotations={"bartizan.dev/egress": "[]"}), "nobody reads it on a Namespace"),
    (of("ConfigMap", labels={"bartizan.dev/injection": "enabled"}), "label the namespace, or the pods"),
    (of("Deployment", annotations={"bartizan.dev/exclude": "{}"}), "write it into the template's metadata"),
    (of("Deployment", labels={"bartizan.dev/injection": "disabled"}), "on a Deployment it means nothing"),
])
def test_what_stands_where_nobody_reads_it(found: dict[str, Any], words: str) -> None:
    (_, text), = misplaced(Object(found))
    assert words in text


@pytest.mark.parametrize("found", [
    of("Deployment", annotations={"bartizan.dev/routes": "[]"}), of("Namespace", labels={"bartizan.dev/injection": "enabled"}),
    of("Service", annotations={"bartizan.dev/analyze-suppress": "BZ0714"}),
    of("Pod", annotations={"bartizan.dev/exclude": "{}"}, labels={"bartizan.dev/injection": "disabled"}),
])
def test_what_stands_where_it_belongs(found: dict[str, Any]) -> None:
    assert list(misplaced(Object(found))) == []


@pytest.mark.parametrize(("text", "codes"), [
    ("", {"BZ0701", "BZ0702"}), ("BZ0702", {"BZ0701"}), ("BZ0701, BZ0702", set()), ("BZ0701 BZ0702", set()), ("*", set()),
    ("BZ07", {"BZ0701", "BZ0702"}),
])
def test_an_annotation_wants_to_hear_nothing_of_some(text: str, codes: set[str]) -> None:
    data = pod()
    data["metadata"] |= {"name": "x", "annotations": {
        "bartizan.dev/routes": "[", "bartizan.dev/rotues": "", "bartizan.dev/analyze-suppress": text}}
    assert {one.finding.code for one in judge([live(data)], Cluster.of([]), 0.0)} == codes


def ingress(path: str = "/app", edge: str = "{}", **spec: Any) -> dict[str, Any]:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rules = [{"host": "x.test", "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}}]
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {"rules": rules, **spec},
            "metadata": {"name": "i", "namespace": "shop", "annotations": {"bartizan.dev/edge": edge}}}


SECRET = {"kind": "Secret", "metadata": {"name": "other", "namespace": "shop"}}
SERVICE = {"kind": "Service", "metadata": {"name": "other", "namespace": "shop"}, "spec": {}}
TLS = [{"hosts": ["x.test"], "secretName": "cert"}]


@pytest.mark.parametrize(("one", "others", "codes"), [
    (ingress(), [], []),
    (ingress("/a//b"), [], ["BZ0701"]),
    (ingress(edge="canry: []"), [], ["BZ0701"]),
    (ingress("/a//b", ingressClassName="nginx"), [], []),
    (ingress(), [SERVICE], ["BZ0717"]),
    (ingress(tls=TLS), [], []),
    (ingress(tls=TLS), [SECRET], []),       # Secrets are made elsewhere
    (of("HTTPRoute", annotations={"bartizan.dev/edge": "canry: []"}), [], ["BZ0701"]),
    (of("HTTPRoute", annotations={"bartizan.dev/edge": "{}"}), [], []),
    (of("Pod", annotations={"bartizan.dev/edge": "{}"}), [], ["BZ0716"]),
    (of("Service", annotations={"bartizan.dev/edge": "{}"}), [], ["BZ0716"]),
])
def test_what_is_to_be_served(one: dict[str, Any], others: list[dict[str, Any]], codes: list[str]) -> None:
    cluster = Cluster.of(map(dict, with_classes([one, *others])))
    assert [found.finding.code for found in judge([live(one)], cluster, 0.0)] == codes
