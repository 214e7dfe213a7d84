from injector.manifests.namespace import namespace

from .support import PLANS


def test_pod_security_holds_the_control_plane_to_the_narrowest_level() -> None:
    [made] = namespace(PLANS["default"])
    assert {value for name, value in made["metadata"]["labels"].items() if name.startswith("pod-security")} == {"restricted"}
    assert "bartizan.dev/injection" not in made["metadata"]["labels"]


def test_it_can_be_left_to_somebody_else() -> None:
    assert namespace(PLANS["bare"]) == []
