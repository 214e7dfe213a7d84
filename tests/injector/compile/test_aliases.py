"""ExternalName Services as a sidecar is told of them."""

from typing import Any

import pytest

from injector.cluster import Cluster
from injector.compile.aliases import compile_aliases
from sidecar.model.egress import Alias


def service(name: str, external: Any, namespace: str = "shop", kind: str = "ExternalName") -> dict[str, Any]:
    spec = {"type": kind, "externalName": external}
    return {"kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def compiled(*services: dict[str, Any], wanted: tuple[str, ...] | None = ()) -> tuple[Alias, ...]:
    return compile_aliases(Cluster.of(services), "shop", wanted, "cluster.local")


ALL = (service("db", "db.partner.example"), service("pay", "Api.Pay.Example.", "money"), service("mail", "mx.example", "post"),
       service("web", "ignored.example", kind="ClusterIP"))
DB, PAY, MAIL = Alias("db.shop", "db.partner.example"), Alias("pay.money", "api.pay.example"), Alias("mail.post", "mx.example")


@pytest.mark.parametrize(("wanted", "told"), [
    ((), (DB,)), (("pay.money",), (DB, PAY)), (("db.shop", "nobody.money", "10.0.0.1", "pay"), (DB,)), (None, (DB, MAIL, PAY)),
])
def test_of_the_own_namespace_and_those_that_were_asked_for(wanted: tuple[str, ...] | None, told: tuple[Alias, ...]) -> None:
    assert compiled(*ALL, wanted=wanted) == told


@pytest.mark.parametrize(("external", "words"), [
    ("203.0.113.7", "address"), ("2001:db8::1", "address"), ("169.254.169.254", "address"),
    ("orders.shop.svc.cluster.local", "name of the cluster"), ("orders.shop.svc", "name of the cluster"), ("orders", "name of the cluster"),
    ("cluster.local", "name of the cluster"), ("", "no name"), ("*.example.com", "no name"), ("a b.example", "no name"),
    ("x" * 64 + ".example", "no name"), ("db.example\n", "no name"),
])
def test_one_that_leads_nowhere_says_why(external: str, words: str) -> None:
    (alias,) = compiled(service("db", external))
    assert words in alias.problem
