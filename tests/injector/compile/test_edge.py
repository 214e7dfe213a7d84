"""Which objects are read, and how often."""

import pytest

from injector.cluster.checked import checked
from injector.compile.edge import EdgeBook
from injector.compile.last_good import LastGood

from .edge_objects import Asked, Item, asked, cluster_of, ingress, path, rule, service
from .edge_secrets import tls_secret


@pytest.mark.parametrize(("name", "annotation", "is_ours"), [
    ("bartizan", None, True), (None, "bartizan", True), (None, None, True), ("nginx", None, False), (None, "nginx", False),
    ("nginx", "bartizan", False), ("ours-too", None, True),
])
def test_whose_class_is_ours(name: str | None, annotation: str | None, is_ours: bool) -> None:
    item = ingress("a", [rule("x.test", path("P", "/", "web"))], **({"ingressClassName": name} if name else {}))
    if annotation:
        item["metadata"]["annotations"] = {"kubernetes.io/ingress.class": annotation}
    classes = [
        {"kind": "IngressClass", "metadata": {"name": name, "annotations": {"ingressclass.kubernetes.io/is-default-class": default}},
         "spec": {"controller": controller}}
        for name, controller, default in (
            ("bartizan", "bartizan.dev/ingress", "true"), ("ours-too", "bartizan.dev/ingress", "false"), ("nginx", "k8s.io/nginx", "false"),
        )
    ]
    assert asked(*classes, item).to("x.test") == ("web" if is_ours else None)


def test_a_class_that_is_no_name_is_nobodys_and_stops_no_other() -> None:
    broken = ingress("a", [rule("x.test", path("P", "/", "web"))], ingressClassName=["bartizan"])
    found = asked(broken, ingress("b", [rule("y.test", path("P", "/", "web"))]))
    assert (found.to("x.test"), found.to("y.test")) == (None, "web")


def test_the_change_of_one_object_is_the_reading_of_one() -> None:
    hosts = [f"h{i}.test" for i in range(200)]
    items = [
        ingress(f"i{i}", [rule(host, path("P", "/", "web"))], tls=[{"hosts": [host], "secretName": f"s{i}"}])
        for i, host in enumerate(hosts)
    ]
    cluster, book = cluster_of(service("web"), *items), EdgeBook(LastGood())
    first = book.of(cluster, {})
    before = dict(book.said)

    def read_anew(*changed: Item) -> set[str]:
        nonlocal before, cluster
        cluster = cluster.having({(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]): checked(one) for one in changed})
        book.of(cluster, {})
        found, before = {ref[2] for ref, said in book.said.items() if before.get(ref) is not said}, dict(book.said)
        return found

    assert book.of(cluster, {}) is first
    assert read_anew({**items[7], "spec": {**items[7]["spec"], "ingressClassName": "bartizan", "tls": []}}) == {"i7"}
    assert read_anew(tls_secret("s9", "h9.test")) == {"i9"}
    assert read_anew(service("another")) == set()
    assert len(read_anew(service("web", ports=[{"port": 81}]))) == 200
    assert Asked(book.of(cluster, {})).to("h7.test", port=80) == "web"
