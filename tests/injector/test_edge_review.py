from typing import Any

import pytest

from injector.cluster import Cluster
from injector.cluster.objects import Object
from injector.edge_review import mistakes, not_in_force
from tests.injector.compile.edge_objects import backend, cluster_of, ingress, path, rule, service

OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
THERE = cluster_of(service("web"), service("web", "other"))


def ours(*args: Any, **more: Any) -> Object:
    return Object(ingress(*args, **{"ingressClassName": "bartizan", **more}))


def with_path(value: str, **more: Any) -> Object:
    return ours("a", [rule("x.test", path("P", value, "web"))], **more)


def test_what_is_right_is_right() -> None:
    one = with_path("/app", edge="httpsRedirect: false")
    assert list(mistakes(one, THERE)) == []
    assert not_in_force(one, THERE) == []


@pytest.mark.parametrize(("one", "text", "where"), [
    (with_path("/a/../b"), "dot segment", "spec.rules[0].http.paths[0].path"),
    (ours("a", [rule("X.test", path("P", "/", "web"))]), "is no host name in lower case", "spec.rules[0].host"),
    (ours("a", [rule("x.test", {"path": "/", "pathType": "Prefix", "backend": {"resource": {}}})]), "a `resource` is no Service",
     "spec.rules[0].http.paths[0].backend"),
    (with_path("/", edge="httpRedirect: false"), 'did you mean "httpsRedirect"?', "httpRedirect"),
    (Object({"kind": "HTTPRoute", "metadata": {"name": "r", "annotations": {"bartizan.dev/edge": "maxBdy: 1"}}}), "maxBody", "maxBdy"),
    (Object({"kind": "HTTPRoute", "metadata": {"name": "r", "annotations": {"bartizan.dev/edge": 7}}}), "value is text", ""),
])
def test_mistakes(one: Object, text: str, where: str) -> None:
    (problem,) = mistakes(one, THERE)
    assert text in str(problem)
    assert problem.path == where


def test_of_other_classes_only_our_annotation_is_read() -> None:
    one = with_path("/a//b", ingressClassName="nginx", edge="maxBdy: 1")
    assert [problem.source for problem in mistakes(one, THERE)] == ["bartizan.dev/edge"]
    assert not_in_force(one, THERE) == []


@pytest.mark.parametrize(("name", "told"), [
    ("bartisan", ['spec.ingressClassName: there is no IngressClass "bartisan"; did you mean "bartizan"?']),
    ("nginx", []),
    ("", ["spec.ingressClassName: it is missing; the ingress gateway serves an Ingress that says bartizan"]),
])
def test_a_class_that_nobody_has(name: str, told: list[str]) -> None:
    assert not_in_force(with_path("/", ingressClassName=name), THERE) == told
    assert not_in_force(with_path("/", ingressClassName=name), Cluster.of([])) == []      # no class is ours: no business of ours


def test_a_class_of_somebody_elses_with_a_name_like_ours() -> None:
    other = {"kind": "IngressClass", "metadata": {"name": "bartisan"}, "spec": {"controller": "other.example/ingress"}}
    assert not_in_force(with_path("/", ingressClassName="bartisan"), besides(other)) == []


def test_annotations_of_other_controllers() -> None:
    one = with_path("/")
    one.data["metadata"]["annotations"] = {
        "nginx.ingress.kubernetes.io/whitelist-source-range": "10.0.0.0/8", "traefik.ingress.kubernetes.io/router.tls": "true",
        "nginx.org/rewrites": "x", "cert-manager.io/issuer": "x", "kubernetes.io/ingress.class": "bartizan",
        "ingressclass.kubernetes.io/x": "x", "external-dns.alpha.kubernetes.io/hostname": "x",
    }
    (told,) = not_in_force(one, THERE)
    assert told == ("metadata.annotations: nginx.ingress.kubernetes.io/whitelist-source-range, nginx.org/rewrites and "
                    "traefik.ingress.kubernetes.io/router.tls are for another controller, without effect here; what this one does beyond "
                    "the API stands in bartizan.dev/edge")
    assert not_in_force(Object({**one.data, "spec": {**one.spec, "ingressClassName": "nginx"}}), THERE) == []


def test_what_is_not_there_yet_is_no_mistake() -> None:
    one = ours("a", [rule("x.test", path("P", "/", "later"))], tls=[{"hosts": ["x.test"], "secretName": "later"}])
    assert list(mistakes(one, THERE)) == []
    told = not_in_force(one, THERE)
    assert any("there is no Service later" in text for text in told)
    assert any("there is no Secret shop/later" in text for text in told)


def besides(*objects: dict[str, Any]) -> Cluster:
    return cluster_of(service("web"), service("web", "other"), *objects)


@pytest.mark.parametrize(("created", "is_told"), [("", True), (NEW, True), ("2025-01-01T00:00:00Z", False)])
def test_a_host_and_path_that_another_namespace_has(created: str, is_told: bool) -> None:
    """What is not created yet is the youngest."""
    cluster = besides(ingress("b", [rule("x.test", path("P", "/app", "web"))], namespace="other", created=OLD))
    told = not_in_force(with_path("/app", created=created), cluster)
    assert [("the path /app (PathPrefix) of x.test is Ingress other/b's" in text) for text in told] == [True] * is_told


def test_of_objects_of_files_the_first_by_name_is_before() -> None:
    a, b = with_path("/app").data, ingress("b", [rule("x.test", path("P", "/app", "other"))], ingressClassName="bartizan")
    assert not_in_force(Object(a), besides(b, service("other"))) == []
    (told,) = not_in_force(Object(b), besides(a, service("other")))
    assert "is Ingress shop/a's, whose name comes first (in a cluster the older one has it); remove one of the two" in told


def test_itself_as_it_was_is_no_other() -> None:
    cluster = besides(ingress("a", [rule("x.test", path("P", "/app", "old"))], created=OLD))
    assert not_in_force(with_path("/app", created=OLD), cluster) == []


def test_only_those_with_a_host_in_common_are_read() -> None:
    cluster = besides(*(ingress(f"i{i}", [rule(f"h{i}.test", path("P", "/app", "web"))], namespace="other", created=OLD) for i in range(3)),
                      ingress("d", namespace="other", created=OLD, defaultBackend=backend("web")))
    assert not_in_force(with_path("/app"), cluster) == []
    assert len(not_in_force(ours("a", [], defaultBackend=backend("web")), cluster)) == 1
