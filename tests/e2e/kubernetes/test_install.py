"""What `bartizan install` prints, before a real API server: it is taken, taken again, and takes nothing away from who runs.

What each account may is asked of the API server itself, as that account; and the issuer's first start and the injector's word about
`caBundle` go by these rights and no others.
"""

import base64
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from certs import files
from certs.first_start import make_authority
from certs.kubernetes import Api, ApiError
from certs.roots_map import RootsMap
from certs.secret_store import MEMORY, SecretAuthority, SecretStore
from certs.trust import Follower
from injector.ca_bundle import GROUP, KINDS, CaBundle
from injector.cli import uninstall, upgrade
from injector.cli.installed import Stays
from injector.manifests import manifests
from injector.manifests.plan import Plan, read_plan
from injector.trust import TrustWatch
from injector.yaml_out import write_yaml
from sidecar.model.errors import ConfigError
from sidecar.net.clock import wall_clock
from sidecar.net.dial import Dialer
from tests.injector.manifests.support import PLANS

from .cluster import ISSUER, SYSTEM, Cluster, running
from .kubectl import Kubectl

NAME = "bartizan-injector"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One of this file's own: others have objects of the same names."""
    with running(tmp_path_factory.mktemp("install")) as made:
        for name in ("shop", "billing", "bank"):
            Kubectl(made.kubeconfig)("create", "namespace", name)
        yield made


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster) -> Kubectl:
    return Kubectl(cluster.kubeconfig)


@pytest.fixture
def verbs(kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch) -> None:
    """For our own verbs, which call kubectl by its name."""
    monkeypatch.setenv("PATH", f"{kubectl.program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("KUBECONFIG", str(kubectl.kubeconfig))


def apply(kubectl: Kubectl, plan: Plan, *options: str) -> str:
    return kubectl("apply", "--server-side", "--validate=strict", *options, "-f", "-", stdin=write_yaml(manifests(plan)))


@pytest.fixture(scope="module")
def installed(cluster: Cluster, kubectl: Kubectl) -> Cluster:
    apply(kubectl, read_plan(sets=["secretNamespaces=[shop]"]))
    return cluster


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_the_api_server_takes_all_of_it(installed: Cluster, kubectl: Kubectl, plan: Plan) -> None:
    """Strictly: an unknown field, a wrong type or a value out of bounds would be an error. As a new one, where nothing stands yet."""
    for made in manifests(plan):
        if made["kind"] == "GatewayClass":      # the Gateway API is not this API server's
            continue
        if made["kind"] != "Namespace" and made["kind"] != "CustomResourceDefinition":
            made = {**made, "metadata": {**made["metadata"], "name": f"{made['metadata']['name']}-tried"}}
        kubectl("apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", "-", stdin=json.dumps(made))


def test_a_second_time_changes_nothing(installed: Cluster, kubectl: Kubectl) -> None:
    plan = read_plan(sets=["secretNamespaces=[shop]"])

    def versions() -> dict[str, str]:
        listed = json.loads(kubectl("get", "-o", "json", "-f", "-", stdin=write_yaml(manifests(plan))))["items"]
        return {f"{one['kind']} {one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in listed}

    before = versions()
    apply(kubectl, plan)
    assert versions() == before


async def token(cluster: Cluster, account: str) -> Api:
    return cluster.api(await cluster.token(SYSTEM, account, audience=ISSUER))


async def allowed(api: Api, verb: str, group: str, resource: str, namespace: str = "", name: str = "") -> bool:
    of, _, subresource = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": of, "subresource": subresource, "namespace": namespace, "name": name}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
    answer = await api.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review, dict)
    return bool(answer["status"]["allowed"])


ADMISSION = "admissionregistration.k8s.io"
MAY: list[tuple[str, tuple[str, ...]]] = [
    ("bartizan-issuer", ("create", "authentication.k8s.io", "tokenreviews")),
    ("bartizan-issuer", ("get", "", "pods", "shop")),
    ("bartizan-issuer", ("patch", "", "secrets", SYSTEM, "bartizan-authority")),
    ("bartizan-issuer", ("patch", "", "configmaps", SYSTEM, "bartizan-roots")),
    (NAME, ("watch", "", "pods")), (NAME, ("watch", "bartizan.dev", "egresspolicies")), (NAME, ("create", "", "events", "shop")),
    (NAME, ("watch", "", "secrets", "shop")), (NAME, ("patch", ADMISSION, "mutatingwebhookconfigurations", "", NAME)),
    (NAME, ("patch", "coordination.k8s.io", "leases", SYSTEM, NAME)),
]
MAY_NOT: list[tuple[str, tuple[str, ...]]] = [
    ("bartizan-issuer", ("get", "", "secrets", SYSTEM, "another")), ("bartizan-issuer", ("list", "", "secrets", SYSTEM)),
    ("bartizan-issuer", ("delete", "", "secrets", SYSTEM, "bartizan-authority")), ("bartizan-issuer", ("list", "", "pods", "shop")),
    ("bartizan-issuer", ("create", "", "secrets", SYSTEM)), ("bartizan-issuer", ("create", "", "configmaps", SYSTEM, "another")),
    ("bartizan-issuer", ("sign", "certificates.k8s.io", "signers")),
    (NAME, ("get", "", "secrets", SYSTEM, "bartizan-authority")), (NAME, ("get", "", "secrets", "billing")),
    (NAME, ("list", "", "secrets")),
    (NAME, ("patch", "", "pods", "shop")), (NAME, ("create", "", "pods", "shop")), (NAME, ("create", "", "pods/exec", "shop")),
    (NAME, ("patch", ADMISSION, "mutatingwebhookconfigurations", "", "another")),
    (NAME, ("delete", ADMISSION, "mutatingwebhookconfigurations", "", NAME)), (NAME, ("create", "", "serviceaccounts/token", "shop")),
    (NAME, ("create", "authentication.k8s.io", "tokenreviews")), (NAME, ("patch", "", "configmaps", SYSTEM, "bartizan-roots")),
]


async def test_what_each_account_may(installed: Cluster) -> None:
    for rights, expected in ((MAY, True), (MAY_NOT, False)):
        for account, right in rights:
            assert await allowed(await token(installed, account), *right) is expected, (account, right)


def authority(cluster: Cluster, api_token: str, copy: Path) -> SecretAuthority:
    where = cluster.server_for(api_token)
    return SecretAuthority(server=where.server, ca_file=where.ca_file, token_file=where.token_file, namespace=SYSTEM,
                           name="bartizan-authority", copy=str(copy), roots="bartizan-roots")


async def test_the_first_start_of_two_issuers(installed: Cluster) -> None:
    """At once, with the issuer's own rights: one authority, which both begin with, its roots published, and never a second one."""
    issuers = await installed.token(SYSTEM, "bartizan-issuer", audience=ISSUER)
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        configs = [authority(installed, issuers, Path(folder) / name) for name in ("one", "two")]
        async with trio.open_nursery() as nursery:
            for config in configs:
                nursery.start_soon(make_authority, config, "example.org", wall_clock)
        for config in configs:
            await SecretStore(config).begin()
        one, two = (files.load(Path(config.copy)) for config in configs)
        assert one.roots == two.roots
        assert one.trust_domain == "example.org"
        trust = Follower(Path(configs[0].copy), wall_clock).standing.current.trust
        for config in configs:
            await RootsMap(config).publish(trust.roots, trust.version)
        found = await installed.admin.get(f"/api/v1/namespaces/{SYSTEM}/configmaps/bartizan-roots", dict)
        assert found["data"]["roots.pem"] == trust.roots
        await installed.delete(f"/api/v1/namespaces/{SYSTEM}/secrets/bartizan-authority", 0)
        with pytest.raises(ConfigError, match="restore the Secret"):
            await make_authority(configs[0], "example.org", wall_clock)


def bundles(made: dict[str, Any]) -> set[str]:
    return {base64.b64decode(webhook["clientConfig"].get("caBundle", "")).decode() for webhook in made["webhooks"]}


async def test_who_applies_again_keeps_what_the_leader_wrote(installed: Cluster, kubectl: Kubectl, tmp_path: Path) -> None:
    """With kubectl's server-side apply, and with the other one."""
    pem = installed.ca_file.read_text()
    (tmp_path / "roots.pem").write_text(pem)
    trust = TrustWatch("https://issuer.test", tmp_path, str(tmp_path / "roots.pem"), Dialer())
    ca = CaBundle(await token(installed, NAME), NAME, trust, lambda: True)
    assert not await ca.look()
    assert await ca.look()
    paths = [f"{GROUP}/{kind}/{NAME}" for kind in KINDS]
    for again in (["apply", "--server-side", "-f", "-"], ["apply", "-f", "-"]):
        kubectl(*again, stdin=write_yaml(made for made in manifests(Plan()) if made["kind"].endswith("WebhookConfiguration")))
        assert await ca.look()
        for path in paths:
            assert bundles(await installed.admin.get(path, dict)) == {pem}
    await installed.admin.patch(paths[0], {"webhooks": []}, dict)
    apply(kubectl, Plan(), "--force-conflicts")
    assert not await ca.look()
    assert await ca.look()


async def test_the_leader_of_one_revision_cannot_touch_another(installed: Cluster, kubectl: Kubectl, tmp_path: Path) -> None:
    apply(kubectl, PLANS["revision"], "--force-conflicts")
    (tmp_path / "roots.pem").write_text(installed.ca_file.read_text())
    trust = TrustWatch("https://issuer.test", tmp_path, str(tmp_path / "roots.pem"), Dialer())
    with pytest.raises(ApiError, match="403"):
        await CaBundle(await token(installed, f"{NAME}-v2"), NAME, trust, lambda: True).look()


@pytest.mark.usefixtures("verbs")
def test_upgrade_and_uninstall(installed: Cluster, kubectl: Kubectl, capsys: pytest.CaptureFixture[str]) -> None:
    apply(kubectl, PLANS["revision"], "--force-conflicts")
    assert upgrade.main(["--set", "image=bartizan:2", "--set", "secretNamespaces=[shop]"]) == 0
    with pytest.raises(Stays, match="trust domain"):
        upgrade.main(["--set", "trustDomain=other.example"])
    for kind in KINDS:      # no injector answers here, so no label of the mesh could be set
        kubectl("delete", kind, "--all")
    kubectl("label", "namespace", "bank", "bartizan.dev/injection=enabled", "bartizan.dev/rev=v2")
    for argv in ([], ["--revision", "v2"]):
        with pytest.raises(Stays, match=": bank"):
            uninstall.main(argv)
    kubectl("label", "namespace", "bank", "bartizan.dev/rev-", "bartizan.dev/injection-")
    assert uninstall.main(["--revision", "v2"]) == 0
    capsys.readouterr()
    assert uninstall.main([]) == 0
    removed = capsys.readouterr().out
    assert f"StatefulSet {SYSTEM}/bartizan-issuer removed" in removed
    left = kubectl("get", "mutatingwebhookconfigurations,clusterroles,statefulsets,services,serviceaccounts", "-A", "-o", "name",
                   "-l", "app.kubernetes.io/part-of=bartizan")
    assert left == ""
    assert "bartizan-system" in kubectl("get", "namespace", SYSTEM, "-o", "name")
    assert "meshpolicies.bartizan.dev" in kubectl("get", "crds", "-o", "name")
