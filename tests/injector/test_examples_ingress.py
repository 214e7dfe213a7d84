"""examples/ingress/: admission has nothing to say of them but what is not there, and they do what their README says."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from injector.cli.manifests import manifests_in, read_documents
from injector.cluster import Cluster
from injector.cluster.checked import checked
from injector.cluster.default_classes import with_classes
from injector.cluster.objects import Object
from injector.compile.edge import compile_edge
from injector.documents import EdgeRule
from injector.edge_review import mistakes
from tests.injector.compile.edge_objects import Asked, service, services_of
from tests.injector.compile.edge_secrets import tls_secret

FOLDER = Path(__file__).parents[2] / "examples" / "ingress"
FILES = sorted(FOLDER.glob("*.yaml"))
README = (FOLDER / "README.md").read_text()


def manifests(file: Path) -> list[dict[str, Any]]:
    found = [manifest.data for document in read_documents(str(file)) for manifest in manifests_in(str(file), document)]
    return [checked(one) for one in found]


def cluster_of(*names: str) -> Cluster:
    objects = [one for name in names for one in manifests(FOLDER / name)]
    made = [*services_of(objects), service("cart-v2"), tls_secret("example-tls", "pay.example.com")]
    return Cluster.of(map(dict, with_classes([*made, *objects])))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_admission_accepts_it(file: Path) -> None:
    objects = manifests(file)
    cluster = Cluster.of(map(dict, with_classes(objects)))
    assert [problem for one in objects for problem in mistakes(Object(one), cluster)] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_table_names_it(file: Path) -> None:
    assert f"| [{file.name}]({file.name}) |" in README


def test_every_field_of_the_annotation_is_explained() -> None:
    words = {word for code in re.findall("`([^`\n]+)`", README) for word in re.findall("[A-Za-z0-9_]+", code)}
    assert {field.encode_name for field in msgspec.structs.fields(EdgeRule)} <= words


OURS = ("hosts-and-paths.yaml", "default-backend.yaml", "tls.yaml", "canary.yaml", "limits.yaml")


@pytest.mark.parametrize(("host", "target", "expected"), [
    ("www.example.com", "/", "web"), ("www.example.com", "/api/orders", "api"), ("www.example.com", "/apis", "web"),
    ("www.example.com", "/api/health", "health"), ("www.example.com", "/api/health/", "api"),
    ("blog.example.com", "/2026", "blog"), ("a.tenants.example.com", "/", "tenants"), ("a.b.tenants.example.com", "/", "not-found"),
    ("docs.example.com", "/guide/x", "guide"), ("docs.example.com", "/", "not-found"), ("nobody.example.com", "/", "not-found"),
    ("upload.example.com", "/", "upload"), ("cart.example.com", "/", "cart cart-v2"),
    ("pay.example.com", "/", "pay"), ("account.example.com", "/x", "account"),
])
def test_all_of_them_together(host: str, target: str, expected: str) -> None:
    found = compile_edge(cluster_of(*OURS))
    assert found.problems == {}
    assert Asked(found).to(host, target) == expected


def test_the_redirect_and_the_path_without_it() -> None:
    one = Asked(compile_edge(cluster_of(*OURS)))
    assert one.to("pay.example.com", "/any?q=1", port=80) == 308
    assert one.to("account.example.com", port=80) == 308
    assert one.to("pay.example.com", "/printer-status", port=80) == "pay"


def test_one_certificate_for_both_hosts() -> None:
    (_, listener) = compile_edge(cluster_of(*OURS)).edge.listeners
    assert listener.tls is not None
    assert [(one.name, one.hosts, one.min_version) for one in listener.tls] == [
        ("shop/example-tls", ("pay.example.com", "account.example.com"), "1.3"),
    ]


@pytest.mark.parametrize("headers", [{"x-canary": "always"}, {"cookie": "a=b; canary=always"}])
def test_testers_reach_the_new_version(headers: dict[str, str]) -> None:
    assert Asked(compile_edge(cluster_of(*OURS))).to("cart.example.com", "/x", headers=headers) == "cart-v2"
