import pytest

from injector.bench.measures import MEASURES
from injector.bench.proxies import PROXIES
from injector.bench.summary import Rounds
from injector.bench.targets import TARGETS, Target, verdicts
from injector.bench.workloads import WORKLOADS

RATIO = Target("cpu", "a", "cpu_us", 1.0)
OF_ANOTHER = Target("cpu", "a", "cpu_us", 0.1, of="mitmproxy")
PLAIN = Target("growth", "a", "cpu_us", 60.0, of="")
RESULTS = {"a": {"bartizan": [{"cpu_us": 60.0}, {"cpu_us": 40.0}], "envoy": [{"cpu_us": 50.0}, {"cpu_us": 40.0}],
                 "mitmproxy": [{"cpu_us": 1200.0}, {"cpu_us": 1000.0}]}}


def test_ratios_of_the_same_round_and_plain_figures() -> None:
    found = verdicts(RESULTS, (RATIO, OF_ANOTHER, PLAIN))
    assert [(round(one["value"], 3), one["verdict"]) for one in found] == [(1.1, "missed"), (0.045, "met"), (50.0, "met")]


@pytest.mark.parametrize("results", [
    {}, {"a": {}}, {"a": {"bartizan": [], "envoy": [{"cpu_us": 1.0}]}}, {"a": {"bartizan": [{"cpu_us": 1.0}]}},
])
def test_what_was_not_measured_is_neither_met_nor_missed(results: dict[str, dict[str, Rounds]]) -> None:
    assert [one["verdict"] for one in verdicts(results, (RATIO,))] == ["not measured"]


def test_targets_are_about_what_there_is() -> None:
    assert {target.workload for target in TARGETS} <= {workload.name for workload in WORKLOADS}
    assert {target.measure for target in TARGETS} <= set(MEASURES)
    assert {target.of for target in TARGETS} <= {"", *(proxy.name for proxy in PROXIES)}
    assert all(MEASURES[target.measure].has_ratio for target in TARGETS if target.of)
