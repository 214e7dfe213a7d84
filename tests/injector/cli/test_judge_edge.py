"""What `analyze` says of files that would not be in force at the edge: the compiler's own words."""

import json
from pathlib import Path

import pytest

from injector.cli.analyze import analyze
from tests.injector.compile.edge_objects import ingress, path, rule
from tests.injector.compile.gateway_objects import Json, gateway, listener, route, secret, secure, service, to

EXAMPLES = Path(__file__).parents[3] / "examples" / "ingress"


@pytest.fixture
def found(tmp_path: Path) -> "Analyze":
    return Analyze(tmp_path / "edge.json")


class Analyze:
    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self, *objects: Json) -> list[str]:
        items = [{"apiVersion": "v1", **one} for one in objects]
        self._file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        return [line.replace(str(self._file), "FILE") for line in analyze([str(self._file)])]


def test_a_listener_that_nobody_listens_for(found: Analyze) -> None:
    (line,) = found(gateway(listener(port=8080)))
    assert line.startswith("Warning [BZ0717] (Gateway edge.shop FILE:")
    assert "listener http: nobody listens at port 8080" in line


def test_that_a_service_is_missing_is_said_where_there_are_any(found: Analyze) -> None:
    objects = (gateway(secure(certificate="gone")), route({"backendRefs": [to("gone")]}))
    assert found(*objects) == []
    (line,) = found(*objects, service(), secret())
    assert line.endswith("there is no Service shop/gone")


BEHIND = service(selector={"app": "web"}, ports=[{"port": 80, "targetPort": 8080}])


def workload(routes: str = "", name: str = "web") -> Json:
    annotations = {"bartizan.dev/routes": routes} if routes else {}
    return {"kind": "Deployment", "metadata": {"name": name, "namespace": "shop", "annotations": annotations},
            "spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app"}]}}}}


@pytest.mark.parametrize(("allow", "is_shut"), [
    ("{serviceAccount: web}", True), ("{serviceAccount: bartizan-gateway}", True),      # of the pod's own namespace
    ("{serviceAccount: bartizan-gateway, namespace: bartizan-system}", False), ("{identity: 'spiffe://x.test/*'}", False),
    ("{serviceAccount: web}, {serviceAccount: '*', namespace: bartizan-system}", False),
])
def test_pods_whose_rules_keep_the_gateway_out(found: Analyze, allow: str, is_shut: bool) -> None:
    entrance = ingress("web", [rule("x.test", path("P", "/", "web"))])
    said = found(entrance, BEHIND, workload(f"[{{name: a, allow: [{allow}]}}]"))
    assert len(said) == is_shut
    assert all(
        line.startswith("Warning [BZ0717] (Ingress web.shop FILE:") and line.endswith(
            "Service shop/web: no route of Deployment web lets the ingress gateway in, so its clients get 403; write "
            "allow: [{serviceAccount: bartizan-gateway, namespace: bartizan-system}]") for line in said)
    entrance["metadata"]["annotations"] = {"bartizan.dev/analyze-suppress": "BZ0717"}
    assert found(entrance, BEHIND, workload(f"[{{name: a, allow: [{allow}]}}]")) == []


def test_pods_without_rules_let_nobody_in(found: Analyze) -> None:
    (line,) = found(gateway(), route({"backendRefs": [to()]}), BEHIND, workload())
    assert "(HTTPRoute web.shop" in line
    assert "no route of Deployment web lets" in line


def test_rules_that_cannot_be_read_are_told_as_such(found: Analyze) -> None:
    said = found(ingress("web", [rule("x.test", path("P", "/", "web"))]), BEHIND, workload("[{nam: a}]"))
    assert ["BZ0701" in line for line in said] == [True]


def test_it_can_be_told_to_say_nothing(found: Analyze) -> None:
    said = gateway(listener(port=8080))
    said["metadata"]["annotations"] = {"bartizan.dev/analyze-suppress": "BZ0717"}
    assert found(said) == []


def test_the_examples_are_in_force() -> None:
    assert analyze([str(EXAMPLES)]) == []
