"""How it stands with pods, and what several replicas know of them together."""

from typing import Any

import msgspec
import pytest

from injector.acknowledged import Acknowledged
from injector.cluster import Cluster
from injector.compile import compile_workload
from injector.compile.last_good import LastGood
from injector.status import SILENT_S, PodStatus, Rules, Status, concerned, merged, pod_status
from sidecar.model.snapshot import digest, render_snapshot
from tests.injector.pods import ingress_gateway, mesh_policy, namespace

NOW = 1_800_000_000.0
UNTIL = "2030-01-01T00:00:00Z"


def pod(name: str, *, of: str = "shop", has_sidecar: bool = True, phase: str = "Running", native: bool = True) -> dict[str, Any]:
    sidecar = {"name": "bartizan-sidecar", "image": "bartizan:0.1.0", **({"restartPolicy": "Always"} if native else {})}
    return {
        "kind": "Pod", "metadata": {"name": name, "namespace": of, "uid": f"uid-{name}",
                                    "annotations": {"bartizan.dev/routes": "[{name: a, allow: []}]"}},
        "spec": {"initContainers": [sidecar] if has_sidecar else []}, "status": {"phase": phase, "podIP": "10.0.0.1"},
    }


def snapshot_of(cluster: Cluster, uid: str) -> bytes | None:
    compiled = compile_workload(cluster, uid, "example.org", LastGood())
    return render_snapshot(compiled.snapshot) if compiled else None


def status(cluster: Cluster, name: str, acknowledged: Acknowledged | None = None) -> PodStatus:
    found = cluster.pods["shop", name]
    return pod_status(found, cluster, acknowledged or Acknowledged(), LastGood(), lambda uid: snapshot_of(cluster, uid))


def test_who_is_concerned() -> None:
    cluster = Cluster.of([
        namespace(), namespace("other", x="y"), pod("web"), pod("bare", has_sidecar=False), pod("done", phase="Succeeded"),
        pod("apart", of="other", has_sidecar=False), pod("odd", of="other"),
    ])
    assert [one.name for one in concerned(cluster, "")] == ["odd", "bare", "web"]
    assert [one.name for one in concerned(cluster, "shop")] == ["bare", "web"]


def test_synced_stale_never() -> None:
    cluster, words = Cluster.of([namespace(), pod("web")]), Acknowledged()
    newest = digest(snapshot_of(cluster, "uid-web") or b"")
    assert status(cluster, "web", words).state(NOW) == "NEVER"
    words.note("uid-web", "", "it is too large", NOW)
    assert status(cluster, "web", words).state(NOW) == "NEVER"      # it was heard of, and has none
    words.note("uid-web", "0" * 32, "", NOW)
    assert status(cluster, "web", words).state(NOW) == "STALE"
    words.note("uid-web", newest, "", NOW, NOW + 60)
    found = status(cluster, "web", words)
    assert (found.state(NOW), found.not_after, found.rules, found.sidecar) == ("SYNCED", NOW + 60, Rules(1), "bartizan:0.1.0")
    assert found.state(NOW + SILENT_S) == "STALE"       # who says nothing has lost its control plane


def test_a_pod_without_sidecar() -> None:
    found = status(Cluster.of([namespace(), pod("bare", has_sidecar=False)]), "bare")
    assert (found.state(NOW), found.should) == ("NO SIDECAR", "")


def test_an_ingress_gateway() -> None:
    cluster, words = Cluster.of([ingress_gateway()]), Acknowledged()
    pod, = concerned(cluster, "")
    text = snapshot_of(cluster, pod.uid)
    assert text is not None
    words.note(pod.uid, digest(text), "", NOW)
    found = pod_status(pod, cluster, words, LastGood(), lambda uid: snapshot_of(cluster, uid))
    assert (found.state(NOW), found.sidecar, found.native) == ("SYNCED", "bartizan:0.1.0", True)


@pytest.mark.parametrize(("spec", "until"), [
    ({}, 0.0), ({"mtls": {"mode": "permissive", "until": UNTIL}}, 1893456000.0),
    ({"mtls": {"mode": "strict", "ports": {"8080": {"mode": "permissive", "until": UNTIL}}}}, 1893456000.0),
])
def test_plaintext_at_any_port_is_said(spec: dict[str, Any], until: float) -> None:
    cluster = Cluster.of([namespace(), mesh_policy(**spec), pod("web")])
    assert status(cluster, "web").permissive_until == until


def test_revision_and_form() -> None:
    labels = {"bartizan.dev/injection": "enabled", "bartizan.dev/rev": "canary"}
    found = status(Cluster.of([namespace("shop", **labels), pod("web", native=False)]), "web")
    assert (found.revision, found.native) == ("canary", False)


def test_of_each_pod_the_latest_word_counts() -> None:
    one = PodStatus("shop", "b", "u-1", heard_at=5.0, has="old")
    other = msgspec.structs.replace(one, heard_at=9.0, has="new")
    alone = PodStatus("shop", "a", "u-2")
    answers = [Status("1", 10.0, (one, alone)), Status("2", 11.0, (other,))]
    for found in (merged(answers), merged(reversed(answers))):
        assert (found.version, found.now, found.pods) == ("2", 11.0, (alone, other))
