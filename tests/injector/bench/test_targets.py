import pytest

from injector.bench.measures import MEASURES
from injector.bench.targets import TARGETS, Target, verdicts
from injector.bench.workloads import WORKLOADS

RATIO = Target("cpu", "http1", "cpu_us", 1.0)
PLAIN = Target("growth", "http1", "cpu_us", 50.0, is_ratio=False)
ROW = {"http1": {"proxies": {"bartizan": {"medians": {"cpu_us": 50.0}, "ratios": {"cpu_us": 1.2}}}}}


def test_ratios_and_plain_figures() -> None:
    assert [(one["value"], one["verdict"]) for one in verdicts(ROW, (RATIO, PLAIN))] == [(1.2, "missed"), (50.0, "met")]


@pytest.mark.parametrize("workloads", [
    {}, {"http1": {"proxies": {}}}, {"http1": {"proxies": {"bartizan": {"medians": {}, "ratios": {}}}}},
])
def test_what_was_not_measured_is_neither_met_nor_missed(workloads: dict[str, object]) -> None:
    assert [one["verdict"] for one in verdicts(workloads, (RATIO,))] == ["not measured"]


def test_targets_are_about_what_there_is() -> None:
    workloads = {workload.name for workload in WORKLOADS}
    measured = [target for target in TARGETS if target.workload]
    assert {target.workload for target in measured} <= workloads
    assert {target.measure for target in measured} <= set(MEASURES)
    assert all(MEASURES[target.measure].has_ratio for target in measured if target.is_ratio)
