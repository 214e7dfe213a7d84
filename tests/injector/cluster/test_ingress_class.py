from typing import Any

import pytest

from injector.cluster import Cluster
from injector.cluster.ingress_class import class_of, our_classes
from injector.cluster.objects import Object


def ingress(spec: object, annotation: object = None) -> Object:
    annotations = {"kubernetes.io/ingress.class": annotation} if annotation is not None else {}
    return Object({"kind": "Ingress", "metadata": {"name": "web", "annotations": annotations}, "spec": spec})


@pytest.mark.parametrize(("spec", "annotation", "expected"), [
    ({"ingressClassName": "one"}, None, "one"),
    ({}, "two", "two"),
    ({"ingressClassName": "one"}, "two", "one"),
    ({}, None, None),
])
def test_the_field_counts_before_the_annotation(spec: object, annotation: str | None, expected: str | None) -> None:
    assert class_of(ingress(spec, annotation)) == expected


@pytest.mark.parametrize("bad", [["one"], {"one": 1}, 1, True])
def test_what_is_no_name_is_no_class(bad: object) -> None:
    assert class_of(ingress({"ingressClassName": bad})) is None
    assert class_of(ingress({}, bad)) is None
    assert class_of(ingress(bad if bad != {"one": 1} else [bad])) is None


def test_a_class_is_ours_by_its_controller() -> None:
    specs: dict[str, Any] = {"a": {"controller": "bartizan.dev/ingress"}, "b": {"controller": "k8s.io/nginx"}, "c": None, "d": ["x"]}
    classes = [{"kind": "IngressClass", "metadata": {"name": name, "namespace": ""}, "spec": spec} for name, spec in specs.items()]
    assert our_classes(Cluster.of(classes)) == {"a"}
