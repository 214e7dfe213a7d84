"""For every test: property tests draw the same examples each time, so that a red run means a change. Searching anew is a campaign of
its own: `HYPOTHESIS_PROFILE=search python -m pytest`. What is about HTTP is tried twice: with the prompt way, and without it.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers.runtime import WAY

TWICE = frozenset({
    *(f"tests.proxy.test_{name}" for name in (
        "authorizer", "edge", "egress", "entrance", "forward", "gateway", "http", "http2", "inbound", "mesh_call", "mirror", "upgrade",
        "via_gateway")),
    *(f"tests.threats.test_{name}" for name in (
        "disguise", "downgrade", "http2", "leftovers", "limits", "responses", "translation", "withdrawal")),
    *(f"tests.conformance.test_{name}" for name in ("egress_policy", "grpc", "versions")),
})

# A busy machine draws slowly: that says nothing of the code.
settings.register_profile(
    "same", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="module")
def http_way(request: pytest.FixtureRequest) -> Iterator[None]:
    WAY.is_prompt = request.param == "prompt"
    yield
    WAY.is_prompt = True


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__ in TWICE:
        metafunc.fixturenames.insert(0, "http_way")
        metafunc.parametrize("http_way", ["prompt", "general"], indirect=True, scope="module")
