"""The injector's manifests and its configuration, read as the injector reads it."""

import msgspec
import pytest

from injector.config import InjectorConfig, parse_config
from injector.manifests.injector import STREAM_PORT, WEBHOOK_PORT, injector
from injector.manifests.plan import Plan
from injector.settings import Settings

from .support import PLANS, one, pod


def config(plan: Plan) -> InjectorConfig:
    return parse_config(one(injector(plan), "ConfigMap")["data"]["config.json"].encode())


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_it_reads_what_it_is_given(plan: Plan) -> None:
    found = config(plan)
    assert (found.revision, found.trust_domain, found.image, found.net_raw) == (plan.revision, plan.trust_domain, plan.image, plan.net_raw)
    assert found.resources == msgspec.to_builtins(plan.resources.sidecar)
    assert found.kubernetes is not None


def test_sidecars_get_what_the_settings_mean_by_default() -> None:
    found, settings = config(Plan()), Settings()
    assert (found.issuer_url, found.stream_url) == (settings.issuer_url, settings.stream_url)
    assert (found.resources, found.image_pull_policy) == (settings.resources, settings.image_pull_policy)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_the_webhook_is_where_the_api_server_asks_and_the_stream_where_sidecars_do(plan: Plan) -> None:
    ports = {port["port"]: port["targetPort"] for port in one(injector(plan), "Service", plan.injector)["spec"]["ports"]}
    assert ports == {443: WEBHOOK_PORT, 9444: STREAM_PORT}
    assert config(plan).stream_url == f"https://{plan.injector}.bartizan-system.svc:9444"


def test_it_waits_for_the_roots_and_proves_itself_by_a_token_for_the_mesh() -> None:
    volumes = {volume["name"]: volume for volume in pod(injector(Plan()))["spec"]["volumes"]}
    assert volumes["roots"]["configMap"] == {"name": "bartizan-roots", "items": [{"key": "roots.pem", "path": "roots.pem"}]}
    assert volumes["token"]["projected"]["sources"][0]["serviceAccountToken"]["audience"] == "bartizan"
