"""What `analyze` says of files that would not be in force at the edge: the compiler's own words."""

import json
from pathlib import Path

import pytest

from injector.cli.analyze import analyze
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


def test_it_can_be_told_to_say_nothing(found: Analyze) -> None:
    said = gateway(listener(port=8080))
    said["metadata"]["annotations"] = {"bartizan.dev/analyze-suppress": "BZ0717"}
    assert found(said) == []


def test_the_examples_are_in_force() -> None:
    assert analyze([str(EXAMPLES)]) == []
