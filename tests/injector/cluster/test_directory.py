import json
import os
from pathlib import Path
from typing import Any

import pytest
import trio

from injector.cluster import Cluster
from injector.cluster.directory import Directory, derived_slices, read_file
from sidecar.model.errors import ConfigError
from tests.injector.pods import egress_policy

NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: NAME}\n"


def _write(path: Path, text: str) -> None:
    beside = path.with_name(".new")
    beside.write_text(text)
    os.replace(beside, path)


def _names(cluster: Cluster) -> list[str]:
    return sorted(cluster.namespaces)


def test_manifests_are_read_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "a" / ".hidden").mkdir(parents=True)
    (tmp_path / "a" / "x.yaml").write_text(NAMESPACE.replace("NAME", "a") + "---\n---\n" + NAMESPACE.replace("NAME", "b"))
    (tmp_path / "a" / ".hidden" / "x.yaml").write_text(NAMESPACE.replace("NAME", "h"))
    (tmp_path / "y.json").write_text(json.dumps({"kind": "List", "items": [{"kind": "Namespace", "metadata": {"name": "c"}}]}))
    (tmp_path / "z.txt").write_text(NAMESPACE.replace("NAME", "d"))
    assert _names(Directory(tmp_path).read()) == ["a", "b", "c"]


def test_namespaces_are_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("kind: Pod\nmetadata: {name: p}\n---\n"
                    "kind: MeshPolicy\napiVersion: bartizan.dev/v1alpha1\nmetadata: {name: m}\nspec: {}\n")
    assert [item["metadata"]["namespace"] for item in read_file(path)] == ["default", ""]


def test_there_must_be_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        Directory(tmp_path / "nowhere").read()


BAD: list[Any] = [
    "a: [", "- x", "metadata: {name: x}", "kind: Namespace", "&a kind: *a", "kind: Pod\nmetadata: {name: p}\nspec: {containers: 3}",
    {"kind": "Pod", "metadata": {"name": "p"}, "spec": {"serviceAccountName": "No Name"}},
    {"kind": "Pod", "metadata": {"name": "p", "deletionTimestamp": "soon"}},
    {"kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"name": 3}]}},
    {"kind": "EndpointSlice", "metadata": {"name": "s"}, "endpoints": [{"addresses": 3}]},
    {"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"metadata": []}}},
    egress_policy(hots=[]),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(bad)[:40])
async def test_a_file_that_cannot_be_read_keeps_what_it_held(
    bad: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], autojump_clock: trio.testing.MockClock
) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    _write(one, NAMESPACE.replace("NAME", "a"))
    directory = Directory(tmp_path)
    assert _names(directory.read()) == ["a"]
    changes = directory.changes()
    _write(one, bad if isinstance(bad, str) else json.dumps(bad))
    _write(other, NAMESPACE.replace("NAME", "b"))
    with trio.fail_after(1):
        assert _names(await anext(changes)) == ["a", "b"]
    assert "one.yaml" in capsys.readouterr().err
    _write(one, NAMESPACE.replace("NAME", "c"))
    with trio.fail_after(1):
        assert _names(await anext(changes)) == ["b", "c"]
    one.unlink()
    with trio.fail_after(1):
        assert _names(await anext(changes)) == ["b"]
    await changes.aclose()


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(bad)[:40])
def test_at_the_start_every_file_must_be_readable(bad: Any, tmp_path: Path) -> None:
    """There is no version to keep, and a policy that is left out may be the one that restricts: hardening, an exact host's pins."""
    _write(tmp_path / "one.yaml", NAMESPACE.replace("NAME", "a"))
    _write(tmp_path / "other.yaml", bad if isinstance(bad, str) else json.dumps(bad))
    with pytest.raises(ConfigError, match=r"other\.yaml"):
        Directory(tmp_path).read()


async def test_a_new_file_that_cannot_be_read_stays_out_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], autojump_clock: trio.testing.MockClock
) -> None:
    directory = Directory(tmp_path)
    directory.read()
    changes = directory.changes()
    _write(tmp_path / "new.yaml", "a: [")
    with trio.fail_after(1):
        assert _names(await anext(changes)) == []
    assert "nothing of this file counts yet" in capsys.readouterr().err
    await changes.aclose()


@pytest.mark.parametrize("kind", ["EgressPolicy", "MeshPolicy"])
def test_an_object_stands_once(kind: str, tmp_path: Path) -> None:
    """Of two of one name the one in the later file would count, and what was taken out of the other would live on."""
    policy = json.dumps({**egress_policy(), "kind": kind, "spec": {"subjects": []} if kind == "EgressPolicy" else {}})
    _write(tmp_path / "one.yaml", policy)
    _write(tmp_path / "two.yaml", policy)
    with pytest.raises(ConfigError, match=f"{kind} partners stands in .*one.yaml and in .*two.yaml"):
        Directory(tmp_path).read()


async def test_nothing_is_told_without_a_change(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    _write(tmp_path / "x.yaml", NAMESPACE)
    directory = Directory(tmp_path)
    directory.read()
    changes = directory.changes()
    with trio.move_on_after(10) as scope:
        await anext(changes)
    assert scope.cancelled_caught


def _service(**spec: Any) -> dict[str, Any]:
    return {"kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec}


def _pod(name: str, ip: str, port: int = 8080, status: str = "True", namespace: str = "shop") -> dict[str, Any]:
    return {
        "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": {"app": "web"}},
        "spec": {"containers": [{"ports": [{"name": "http", "containerPort": port}]}]},
        "status": {"phase": "Running", "podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": status}]},
    }


def test_slices_are_derived_where_nobody_writes_them() -> None:
    service = _service(selector={"app": "web"}, ports=[{"name": "w", "port": 80, "targetPort": "http"}, {"name": "n", "port": 81}])
    pods = [_pod("a", "10.0.0.1"), _pod("b", "10.0.0.2", 9090, "False"), _pod("c", "10.0.0.3", namespace="other")]
    slices = derived_slices([service, *pods])
    found = [
        (one["endpoints"][0]["addresses"], one["endpoints"][0]["conditions"]["ready"], [port["port"] for port in one["ports"]])
        for one in slices
    ]
    assert found == [(["10.0.0.1"], True, [8080, 81]), (["10.0.0.2"], False, [9090, 81])]


def test_both_families_have_a_slice_of_their_own_name() -> None:
    pod = _pod("a", "10.0.0.1")
    pod["status"]["podIPs"] = [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]
    slices = derived_slices([_service(selector={"app": "web"}, ports=[{"port": 80}]), pod])
    assert sorted(one["addressType"] for one in slices) == ["IPv4", "IPv6"]
    assert len({one["metadata"]["name"] for one in slices}) == 2


@pytest.mark.parametrize("spec", [{"ports": [{"port": 80}]}, {"selector": {}, "ports": [{"port": 80}]}, {"selector": {"app": "other"}}])
def test_a_service_that_selects_nothing_has_none(spec: dict[str, Any]) -> None:
    assert derived_slices([_service(**spec), _pod("a", "10.0.0.1")]) == []


def test_written_slices_count() -> None:
    written = {"kind": "EndpointSlice", "metadata": {"name": "x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}}}
    assert derived_slices([_service(selector={"app": "web"}, ports=[{"port": 80}]), _pod("a", "10.0.0.1"), written]) == []
