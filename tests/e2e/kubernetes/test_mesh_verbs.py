"""The operator's verbs of a mesh that runs: asked of the injectors inside their pods, answered by the sidecars themselves."""

import json

import pytest

from tests.helpers.pods import wait_until

from .mesh import Mesh
from .space import Space

pytestmark = pytest.mark.timeout(600)
ROUTES = "- {name: all, allow: [{serviceAccount: web}]}\n"


def state(mesh: Mesh, space: Space) -> dict[str, str]:
    found = json.loads(mesh.bartizan("status", "-n", space.name, "-o", "json"))["pods"]
    return {str(one["name"]).partition("-")[0]: str(one["state"]) for one in found}


def test_the_mesh_is_as_it_must_be(mesh: Mesh, space: Space) -> None:
    space.app("orders")
    wait_until(lambda: set(state(mesh, space).values()) == {"SYNCED"}, lambda: str(state(mesh, space)))
    found = json.loads(mesh.try_bartizan("check", "--proxy", "-n", space.name, "-o", "json").stdout)
    wrong = [(check["description"], check["error"]) for one in found["categories"] for check in one["checks"] if check["result"] == "error"]
    assert wrong == []


def test_what_was_changed_is_told_of_as_it_is_enforced(mesh: Mesh, space: Space) -> None:
    space.app("orders", {"bartizan.dev/routes": ROUTES})
    space.app("web")
    assert "from web." in mesh.bartizan("describe", "deploy/orders", "-n", space.name)
    done = mesh.try_bartizan("verify", f"{space.name}/web", space.url("orders"))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "reached")
    config = json.loads(mesh.bartizan("config", "orders", "-n", space.name, "inbound"))
    assert [rule["name"] for rule in config["inbound"]["routes"]] == ["all"]
    wait_until(lambda: json.loads(mesh.bartizan("config", "orders", "-n", space.name, "digest"))["digest"]["isNewest"],
               lambda: mesh.bartizan("status", "-n", space.name))


def test_a_pod_that_was_there_before(mesh: Mesh, space: Space) -> None:
    space.kubectl("label", "namespace", space.name, "bartizan.dev/injection-")
    space.app("orders")
    space.kubectl("label", "namespace", space.name, "bartizan.dev/injection=enabled")
    done = mesh.try_bartizan("check", "--proxy", "-n", space.name)
    assert done.returncode == 79
    cure = f"kubectl -n {space.name} rollout restart deployment/orders"
    assert cure in done.stdout
    assert cure in mesh.try_bartizan("analyze", "-n", space.name).stdout
    space.kubectl(*cure.split()[1:])
    space.ready("orders")
    wait_until(lambda: set(state(mesh, space).values()) == {"SYNCED"}, lambda: str(state(mesh, space)))
