"""Which Secrets are named, by each change; by nobody in a namespace without the mesh; and never more than the bound."""

from typing import Any

from injector.cluster import secret_names
from injector.cluster.secret_names import SecretNames


def egress(*secrets: str) -> str:
    return "".join(
        f"- host: {secret}.example\n  tls: {{mode: mutual, clientCertificate: {{secret: {secret}}}}}\n" for secret in secrets) or "[]"


def pod(name: str, *secrets: str, is_meshed: bool = True, namespace: str = "shop", annotation: str | None = None) -> dict[Any, Any]:
    annotations = {"bartizan.dev/egress": egress(*secrets) if annotation is None else annotation}
    containers = [{"name": "bartizan-sidecar"}] if is_meshed else []
    item = {"kind": "Pod", "metadata": {"namespace": namespace, "name": name, "annotations": annotations},
            "spec": {"initContainers": containers}}
    return {("Pod", namespace, name): item}


def deployment(name: str, *secrets: str) -> dict[Any, Any]:
    return {("Deployment", "shop", name): {
        "kind": "Deployment", "metadata": {"namespace": "shop", "name": name, "annotations": {"bartizan.dev/egress": egress(*secrets)}}}}


def policy(secret: str, **subject: Any) -> dict[Any, Any]:
    host = {"host": "api.partner.example", "clientCertificate": {"secret": secret}}
    item = {"apiVersion": "bartizan.dev/v1alpha1", "kind": "EgressPolicy", "metadata": {"name": "p"},
            "spec": {"subjects": [subject], "hosts": [host]}}
    return {("EgressPolicy", "", "p"): item}


class World:
    def __init__(self) -> None:
        self.reports: list[str] = []
        self.names = SecretNames(self.reports.append)

    def take(self, *changes: dict[Any, Any]) -> bool:
        return self.names.take({ref: item for one in changes for ref, item in one.items()})

    @property
    def wanted(self) -> set[str]:
        return {f"{namespace}/{name}" for namespace, name in self.names.wanted()}


def test_pods_and_workloads_name_those_of_their_namespace() -> None:
    world = World()
    assert world.take(pod("a", "stripe"), deployment("web", "partner"))
    assert world.wanted == {"shop/stripe", "shop/partner"}
    assert world.take(deployment("web", "other"))
    assert world.wanted == {"shop/stripe", "shop/other"}
    assert world.take({("Deployment", "shop", "web"): None})
    assert world.wanted == {"shop/stripe"}


def test_another_pod_of_the_same_workload_is_no_news() -> None:
    world = World()
    world.take(pod("a", "stripe"))
    assert not world.take(pod("b", "stripe"))
    assert not world.take({("Pod", "shop", "a"): None})
    assert world.wanted == {"shop/stripe"}
    assert world.take({("Pod", "shop", "b"): None})
    assert world.wanted == set()


def test_without_the_mesh_nobody_names_any() -> None:
    world = World()
    world.take(pod("a", "stripe", is_meshed=False), deployment("web", "partner"), policy("theirs", namespace="shop"))
    assert world.wanted == set()
    assert world.take(pod("b"))
    assert world.wanted == {"shop/partner", "shop/theirs"}


def test_a_policy_names_them_for_the_namespaces_that_it_means() -> None:
    world = World()
    world.take(pod("a"), pod("b", namespace="bank"), policy("theirs", namespaceSelector={"matchLabels": {"tier": "gold"}}))
    assert world.wanted == set()
    assert world.take({("Namespace", "", "bank"): {"kind": "Namespace", "metadata": {"name": "bank", "labels": {"tier": "gold"}}}})
    assert world.wanted == {"bank/theirs"}
    assert world.take(policy("others", namespace="shop"))
    assert world.wanted == {"shop/others"}
    assert world.take({("EgressPolicy", "", "p"): None})
    assert world.wanted == set()
    assert not world.take({("Namespace", "", "bank"): None})


def test_an_annotation_that_cannot_be_read_keeps_what_it_named() -> None:
    """As the last good version of its entries counts."""
    world = World()
    world.take(pod("a", "stripe"))
    assert not world.take(pod("a", annotation="- {host: ["))
    assert world.wanted == {"shop/stripe"}
    world.take(pod("a", annotation=egress("new") + "- {host: 1}\n"))
    assert world.wanted == {"shop/stripe", "shop/new"}
    world.take(pod("a", "new"))
    assert world.wanted == {"shop/new"}


def test_there_is_a_bound_for_each_namespace() -> None:
    world = World()
    many = [f"s{number:03}" for number in range(secret_names.MOST_SECRETS + 5)]
    world.take(pod("a", *many), pod("b", "own", namespace="bank"))
    assert len(world.wanted) == secret_names.MOST_SECRETS + 1
    assert "bank/own" in world.wanted
    assert world.wanted == world.wanted
    assert len(world.reports) == 1
    assert world.reports[0].startswith("egress entries of namespace shop name more than 64 Secrets")


def test_texts_are_read_once_and_not_remembered_for_ever() -> None:
    world = World()
    for number in range(secret_names.MOST_TEXTS + 10):
        world.take(pod("a", f"s{number}"))
    assert len(world.names._texts) <= secret_names.MOST_TEXTS
    assert world.wanted == {f"shop/s{secret_names.MOST_TEXTS + 9}"}
