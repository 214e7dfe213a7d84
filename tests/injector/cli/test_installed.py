"""What of Bartizan a cluster holds, as kubectl shows it."""

from pathlib import Path

import pytest

from injector.cli.installed import Stays, config_of, meshed_namespaces, meshed_pods, revisions, stateful_sets, trust_domain
from injector.cli.kubectl import Kubectl
from injector.manifests import manifests
from injector.manifests.plan import Plan, read_plan
from sidecar.model.errors import ConfigError

from .fake_kubectl import FakeKubectl, meshed_pod, namespace


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    return FakeKubectl(tmp_path, monkeypatch)


def test_nothing_is_there(cluster: FakeKubectl) -> None:
    assert (trust_domain(Kubectl()), revisions(Kubectl()), stateful_sets(Kubectl())) == ("", [], {})


def test_control_planes_and_their_trust_domain(cluster: FakeKubectl) -> None:
    plans = (read_plan(sets=["trustDomain=mesh.example"]), read_plan(sets=["trustDomain=mesh.example"], revision="v2"))
    cluster.put(*(made for plan in plans for made in manifests(plan)))
    assert trust_domain(Kubectl()) == "mesh.example"
    assert revisions(Kubectl()) == ["", "v2"]
    assert stateful_sets(Kubectl()).keys() == {"bartizan-issuer", "bartizan-injector", "bartizan-injector-v2"}


@pytest.mark.parametrize("data", [{}, {"config.json": "{"}, {"config.json": "[]"}, {"config.json": "{}"}])
def test_a_configuration_that_is_none_is_not_guessed_at(cluster: FakeKubectl, data: dict[str, str]) -> None:
    made = next(made for made in manifests(Plan()) if made["kind"] == "ConfigMap" and made["metadata"]["name"] == "bartizan-issuer")
    cluster.put({**made, "data": data})
    with pytest.raises(Stays, match="holds no configuration of an issuer"):
        trust_domain(Kubectl())


def test_what_an_injector_is_started_with(cluster: FakeKubectl) -> None:
    cluster.put(*manifests(read_plan(revision="v2")))
    assert config_of(Kubectl(), "v2")["revision"] == "v2"
    made = next(made for made in manifests(Plan()) if made["kind"] == "ConfigMap" and made["metadata"]["name"] == "bartizan-injector")
    for text in ("", "[]", "{"):
        cluster.put({**made, "data": {"config.json": text}})
        with pytest.raises(ConfigError, match=r"config\.json"):
            config_of(Kubectl())


def test_who_is_in_the_mesh_and_in_whose(cluster: FakeKubectl) -> None:
    bare = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": "shop"}, "spec": {"containers": [{"name": "app"}]}}
    cluster.put(
        namespace("shop", injection="enabled"), namespace("new", injection="enabled", rev="v2"), namespace("out"),
        meshed_pod("one"), meshed_pod("two", "bartizan-injector-v2"), meshed_pod("over", phase="Succeeded"), bare)
    assert meshed_namespaces(Kubectl()) == ["new", "shop"]
    assert (meshed_namespaces(Kubectl(), ""), meshed_namespaces(Kubectl(), "v2")) == (["shop"], ["new"])
    assert meshed_pods(Kubectl()) == ["shop/one", "shop/two"]
    assert (meshed_pods(Kubectl(), ""), meshed_pods(Kubectl(), "v2")) == (["shop/one"], ["shop/two"])
