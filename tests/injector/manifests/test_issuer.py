"""The issuer's manifests and its configuration, read as the issuer reads it."""

import pytest

from certs.ca import HTTPS_DOMAINS
from certs.server import IssuerConfig, parse_config
from certs.servers import Servers
from injector.manifests.injector import injector
from injector.manifests.issuer import PORT, issuer
from injector.manifests.plan import Plan
from injector.settings import Settings
from sidecar.net.service import split_url

from .support import PLANS, one, pod


def config(plan: Plan) -> IssuerConfig:
    return parse_config(one(issuer(plan), "ConfigMap")["data"]["config.json"].encode())


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_it_reads_what_it_is_given(plan: Plan) -> None:
    found = config(plan)
    assert (found.trust_domain, found.lifetime_s) == (plan.trust_domain, plan.lifetime_s)
    assert found.authority is not None
    assert (found.authority.name, found.authority.roots) == ("bartizan-authority", "bartizan-roots")
    mounts = {mount["name"]: mount["mountPath"] for mount in pod(issuer(plan))["spec"]["containers"][0]["volumeMounts"]}
    assert found.authority.copy.startswith(f"{mounts['memory']}/")
    assert found.directory.startswith(f"{mounts['state']}/")


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_the_injector_of_every_revision_gets_the_names_that_it_is_asked_by(plan: Plan) -> None:
    found = config(Plan())
    names = Servers(found.servers).names_of("bartizan-system", plan.injector)
    assert names is not None
    services = [made["metadata"]["name"] for made in injector(plan) if made["kind"] == "Service"]
    assert {f"{service}.bartizan-system.svc" for service in services} <= set(names)
    assert split_url(found.injector_url)[0] in names


def test_sidecars_find_it_by_a_name_that_it_has_and_can_have() -> None:
    found = config(Plan())
    host, port, _ = split_url(Settings().issuer_url)
    assert (host in found.names, port) == (True, PORT)
    assert found.authority is not None
    assert found.authority.https_domains == HTTPS_DOMAINS


def test_the_keys_lie_in_memory() -> None:
    assert {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}} in pod(issuer(Plan()))["spec"]["volumes"]
