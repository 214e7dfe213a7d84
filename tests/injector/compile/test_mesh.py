from datetime import UTC, datetime

from injector.cluster import Cluster
from injector.compile.mesh import MeshSettings, mesh_settings
from injector.documents import Egress
from tests.injector.pods import mesh_policy


def _settings(*policies: dict[str, object], namespace: str = "shop", **labels: str) -> MeshSettings:
    return mesh_settings(Cluster.of(policies).mesh_policies, namespace, labels)


def test_without_a_policy_everything_is_strict() -> None:
    assert _settings() == MeshSettings()
    assert MeshSettings().mtls.mode == "strict"
    assert MeshSettings().opt_out is False


def test_the_most_specific_policy_decides_each_setting_alone() -> None:
    policies = (
        mesh_policy("a-everywhere", withoutRoutes="nothing", resolvers=["10.96.0.10"], clusterRanges=["10.0.0.0/8"]),
        mesh_policy("b-namespace", selector={"namespaces": ["shop"]}, withoutRoutes="mesh"),
        mesh_policy("c-labels", selector={"matchLabels": {"app": "x"}}, optOut=True),
        mesh_policy("d-labels", selector={"matchLabels": {"app": "x", "tier": "y"}}, optOut=False, resolvers=["10.96.0.11"]),
    )
    assert _settings(*policies, namespace="other").without_routes == "nothing"
    assert _settings(*policies).without_routes == "mesh"
    assert _settings(*policies).resolvers == ("10.96.0.10",)
    assert _settings(*policies, app="x").opt_out is True
    settled = _settings(*policies, app="x", tier="y")
    assert (settled.opt_out, settled.resolvers, settled.cluster_ranges) == (False, ("10.96.0.11",), ("10.0.0.0/8",))


def test_of_equals_the_first_by_name_decides() -> None:
    policies = mesh_policy("b", withoutRoutes="nothing"), mesh_policy("a", withoutRoutes="mesh")
    assert _settings(*policies).without_routes == "mesh"


def test_http10_and_token_issuers() -> None:
    def issuers(*names: str) -> list[dict[str, str]]:
        return [{"issuer": name, "jwksUri": "https://a.example/keys"} for name in names]

    policies = mesh_policy("a", acceptHttp10=True, tokenIssuers=issuers("a", "b")), mesh_policy(
        "b", selector={"namespaces": ["shop"]}, tokenIssuers=issuers("c"))
    assert [one.issuer for one in _settings(*policies, namespace="other").token_issuers] == ["a", "b"]
    assert [one.issuer for one in _settings(*policies).token_issuers] == ["c"]
    assert _settings(*policies).accept_http10 is True
    assert MeshSettings().accept_http10 is False


def test_what_egress_and_dns_are() -> None:
    policies = (
        mesh_policy("a", egress={"mode": "observe", "until": "2026-12-31T00:00:00Z"}, dns={"txt": True}),
        mesh_policy("b", selector={"namespaces": ["shop"]}, egress={"mode": "enforce"}, dns={}),
    )
    wide = _settings(*policies, namespace="other")
    assert (wide.egress, wide.dns.txt) == (Egress("observe", datetime(2026, 12, 31, tzinfo=UTC)), True)
    assert _settings(*policies) == MeshSettings()
