from typing import Any

import pytest

from injector.audit.coverage import Coverage, Gap, KnownPod
from injector.audit.paths import Path, explain, host_and_port

from .support import NOW, ORDERS, WEB


@pytest.mark.parametrize(("text", "expected"), [
    ("10.0.0.1:80", ("10.0.0.1", "80")), ("[fd00::1]:80", ("fd00::1", "80")), ("10.0.0.1", ("10.0.0.1", "")), ("fd00::1", ("fd00::1", "")),
    ("::ffff:10.0.0.1", ("10.0.0.1", "")), ("", ("", "")), ("a.example:80", ("a.example:80", "")),
])
def test_host_and_port(text: str, expected: tuple[str, str]) -> None:
    assert host_and_port(text) == expected


def pod(name: str, **more: Any) -> KnownPod:
    return KnownPod(**{"namespace": "legacy", "name": name, "uid": name, "service_account": "batch", "addresses": ("10.0.9.9",), **more})


BARE = Gap("no-sidecar", "legacy", "batch", "Deployment/batch", "Its namespace is not in the mesh.", "Label it.")
PERMISSIVE = [
    Gap("permissive", "shop", "orders", f"Deployment/{until}", "", "", until=until) for until in (NOW + 5, NOW + 9, NOW + 7)
]


def explained(pods: tuple[KnownPod, ...] = (), gaps: tuple[Gap, ...] = (), **fields: Any) -> Path:
    path = Path(**{"source": "10.0.9.9", "destination": ORDERS, "port": "80", "security": "plaintext", **fields})
    explain(path, Coverage(pods, gaps), NOW)
    return path


@pytest.mark.parametrize(("pods", "fields", "cause"), [
    ((pod("a"),), {}, "no sidecar. Its namespace is not in the mesh."),
    ((pod("a", has_sidecar=True),), {}, "went past it"),
    ((pod("a", host_network=True),), {}, "node's network"),
    ((), {}, "No pod of the mesh"),
    ((), {"source": ""}, "more sources"),
    ((), {"source": WEB}, "A sidecar sent plaintext"),
    ((), {"security": "passthrough"}, "TLS of its own"),
])
def test_each_path_has_cause_and_cure(pods: tuple[KnownPod, ...], fields: dict[str, Any], cause: str) -> None:
    path = explained(pods, (BARE,), **fields)
    assert cause in path.cause
    assert path.cure


def test_a_permission_is_the_longest_of_the_destination() -> None:
    assert explained(gaps=tuple(PERMISSIVE)).until == NOW + 9
    assert explained(gaps=tuple(PERMISSIVE), destination=WEB).until is None
    assert "takes no plaintext by now" in explained().cause
    assert "has ended" in explained(gaps=(Gap("permissive", "shop", "orders", "", "", "", until=NOW - 1),)).cause


def test_an_address_that_several_pods_share_is_said_to_be() -> None:
    assert explained((pod("a"), pod("b"))).workload == "legacy/a or legacy/b"
    assert explained(tuple(pod(name) for name in "abcd")).workload == "one of 4 pods that share the address"
