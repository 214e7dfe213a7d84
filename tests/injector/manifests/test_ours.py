"""The shape of the configuration, which CEL compares by a pattern. That the sentences hold is for a real API server to say."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.containers import sidecar
from injector.manifests.injector import rendered_by
from injector.manifests.ours import _pattern, part_demands
from injector.manifests.plan import Plan
from injector.settings import Settings
from sidecar.model.config import Probe, ProbeHeader

SETTINGS = rendered_by(Plan())
PATTERN = re.compile(_pattern(SETTINGS, api=False))
PROBE = {"/app-health/app/readyz": Probe(8080, "http", "/ready")}


def _config(probes: dict[str, Probe], *, api: bool = False) -> str:
    text: str = sidecar(SETTINGS, 50001, probes, workload_api=api)["env"][2]["value"]
    return text


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=8)
probes = st.dictionaries(texts, st.builds(
    Probe, st.integers(1, 65535), st.sampled_from(["http", "tcp", "grpc"]), texts,
    st.lists(st.builds(ProbeHeader, st.just("x-y"), texts), max_size=2).map(tuple), texts, st.floats(0.1, 3600), texts,
    st.none() | st.just("a" * 32),
), max_size=3)


@given(probes)
def test_what_is_rendered_is_of_the_shape(found: dict[str, Probe]) -> None:
    assert PATTERN.search(_config(found))


@pytest.mark.parametrize(("old", "new"), [
    ('"probes":{', '"probes":{},"x":{'), ('"probes":{', '"x":1,"probes":{'), ("}}", '}},"x":{"y":{}}'), ('"/ready"', '"/ready}'),
    ('"/ready"', '"/$(HOME)"'), ('"/ready"', '"/\\"'), ('"/ready"', '"/"}},"x":{"y":{"z":"'), ("8080", "8080}}"),
    ("bartizan-injector.", "evil."), ("8080", "\n8080"),
])
def test_what_breaks_out_of_the_probes_is_not(old: str, new: str) -> None:
    text = _config(PROBE)
    assert PATTERN.search(text)
    assert old in text
    assert not PATTERN.search(text.replace(old, new, 1))


def test_the_workload_api_has_a_configuration_of_its_own() -> None:
    assert not PATTERN.search(_config({}, api=True))
    assert re.search(_pattern(SETTINGS, api=True), _config(PROBE, api=True))


def test_every_field_that_is_rendered_is_demanded() -> None:
    sentences = [demand.demand for demand in part_demands(SETTINGS)]
    for field in sidecar(SETTINGS, 50001, {}):
        assert any(f"variables.sidecar.?{field}" in one or f"variables.sidecar.{field}" in one for one in sentences), field
    assert all(demand.message for demand in part_demands(SETTINGS))


def test_other_settings_demand_something_else() -> None:
    one, other = (" ".join(demand.demand for demand in part_demands(settings)) for settings in (SETTINGS, Settings(image="another")))
    assert 'optional.of("another")' in other
    assert 'optional.of("another")' not in one
