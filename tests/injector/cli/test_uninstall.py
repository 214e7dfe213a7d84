"""A control plane is removed only when nobody is in its mesh, in an order in which nothing comes in un-meshed."""

from pathlib import Path

import pytest

from injector.cli.installed import Stays
from injector.cli.uninstall import main
from injector.manifests import manifests
from injector.manifests.plan import Plan, read_plan

from .fake_kubectl import FakeKubectl, Json, meshed_pod, namespace

V2 = read_plan(revision="v2")
AUTHORITY: list[Json] = [
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bartizan-authority", "namespace": "bartizan-system"}},
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "bartizan-roots", "namespace": "bartizan-system", "labels": {"app.kubernetes.io/part-of": "bartizan"}}},
]
THEIRS: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs", "namespace": "bartizan-system"}}


def distinct(*plans: Plan) -> list[Json]:
    objects = [made for plan in plans for made in manifests(plan)]
    return list({(made["kind"], made["metadata"].get("namespace"), made["metadata"]["name"]): made for made in objects}.values())


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    made = FakeKubectl(tmp_path, monkeypatch)
    made.put(*distinct(read_plan(sets=["secretNamespaces=[shop]", "gateway={ingress: true, gatewayApi: true}"]), V2), *AUTHORITY, THEIRS)
    return made


def left(cluster: FakeKubectl) -> set[tuple[str, str]]:
    return {(made["kind"], made["metadata"]["name"]) for made in cluster.objects}


def test_authority_policies_and_namespace_stay(cluster: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert left(cluster) == {
        ("Namespace", "bartizan-system"), ("CustomResourceDefinition", "egresspolicies.bartizan.dev"),
        ("CustomResourceDefinition", "meshpolicies.bartizan.dev"), ("Secret", "bartizan-authority"), ("ConfigMap", "bartizan-roots"),
        ("ConfigMap", "theirs"),
    }
    assert "--purge removes them" in capsys.readouterr().err


def test_purge_takes_the_policies_and_the_namespace_too(cluster: FakeKubectl) -> None:
    assert main(["--purge"]) == 0
    assert cluster.deleted[-1] == "Namespace bartizan-system"
    assert "CustomResourceDefinition meshpolicies.bartizan.dev" in cluster.deleted


def test_who_decides_goes_before_who_refuses(cluster: FakeKubectl) -> None:
    """Between the two a labelled namespace gets no pods, rather than pods without a sidecar."""
    main([])
    order = [word.split()[0] for word in cluster.deleted]
    assert max(i for i, kind in enumerate(order) if kind == "StatefulSet") < order.index("MutatingWebhookConfiguration")
    assert order.index("MutatingWebhookConfiguration") < order.index("ClusterRole")


@pytest.mark.parametrize(("there", "why"), [
    ([namespace("shop", injection="enabled")], "namespaces whose pods it would no longer mesh: shop.*bartizan.dev/injection-"),
    ([meshed_pod("web-0")], "pods that need it for their certificates: shop/web-0"),
    ([meshed_pod(f"web-{i:02}") for i in range(25)], "shop/web-19 and 5 more"),
])
def test_while_somebody_is_in_the_mesh_it_stays(cluster: FakeKubectl, there: list[Json], why: str) -> None:
    cluster.put(*cluster.objects, *there)
    with pytest.raises(Stays, match=why):
        main([])
    assert cluster.deleted == []


def test_force_removes_it_and_says_whom_it_left(cluster: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.put(*cluster.objects, meshed_pod("web-0"))
    assert main(["--force"]) == 0
    assert "StatefulSet bartizan-issuer" in cluster.deleted
    assert "warning: pods that need it for their certificates: shop/web-0" in capsys.readouterr().err


def test_one_revision_goes_and_what_others_need_stays(cluster: FakeKubectl) -> None:
    cluster.put(*cluster.objects, namespace("shop", injection="enabled"), meshed_pod("web-0"))
    before = left(cluster)
    assert main(["--revision", "v2"]) == 0
    assert {name[:20] for _, name in before - left(cluster)} == {"bartizan-injector-v2"}
    with pytest.raises(Stays, match="dev/rev=OTHER"):
        main(["--revision", ""])


def test_an_ingress_gateway_keeps_the_revision_that_it_asks(cluster: FakeKubectl) -> None:
    """And goes with everything else."""
    pod = meshed_pod("bartizan-gateway-1", "bartizan-injector-v2")
    pod["metadata"]["namespace"] = "bartizan-system"
    pod["spec"] = {"serviceAccountName": "bartizan-gateway", "containers": pod["spec"]["initContainers"]}
    pod["spec"]["containers"][0]["name"] = "gateway"
    cluster.put(*cluster.objects, pod)
    with pytest.raises(Stays, match="bartizan-system/bartizan-gateway-1"):
        main(["--revision", "v2"])
    assert main([]) == 0
    assert {"Deployment bartizan-gateway", "IngressClass bartizan", "GatewayClass bartizan"} <= set(cluster.deleted)


@pytest.mark.parametrize(("argv", "why"), [
    (["--revision", "v3"], "no control plane of the revision 'v3'; there are: '', 'v2'"),
    (["--revision", "v2", "--purge"], "without --revision"),
])
def test_what_is_not_understood_removes_nothing(cluster: FakeKubectl, argv: list[str], why: str) -> None:
    with pytest.raises(Stays, match=why):
        main(argv)
    assert cluster.deleted == []


def test_a_dry_run_only_says(cluster: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dry-run"]) == 0
    assert cluster.deleted == []
    assert "StatefulSet bartizan-system/bartizan-issuer would be removed" in capsys.readouterr().out


def test_a_second_time_there_is_nothing_to_do(cluster: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    capsys.readouterr()
    assert main([]) == 0
    assert capsys.readouterr().out == "there is nothing to remove\n"
