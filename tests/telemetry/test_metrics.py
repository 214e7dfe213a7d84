import ast
from pathlib import Path

import pytest

import sidecar
from sidecar.telemetry.metrics import GAUGES, HELP, MAX_SERIES, Metrics

REQUESTS = "bartizan_requests_total"


def test_the_text() -> None:
    metrics = Metrics()
    metrics.count("bartizan_bugs_total")
    metrics.count(REQUESTS, (("code", ""), ("status", "200")))
    metrics.count(REQUESTS, (("code", ""), ("status", "200")), by=2)
    metrics.count(REQUESTS, (("code", "BZ0101"), ("status", "403")))
    assert metrics.render({"bartizan_ready": 1}) == (
        "# HELP bartizan_bugs_total Connections ended by an error in the sidecar itself.\n"
        "# TYPE bartizan_bugs_total counter\n"
        "bartizan_bugs_total 1\n"
        "# HELP bartizan_ready Whether the sidecar is ready.\n"
        "# TYPE bartizan_ready gauge\n"
        "bartizan_ready 1\n"
        "# HELP bartizan_requests_total Requests, by direction, answer and reason.\n"
        "# TYPE bartizan_requests_total counter\n"
        'bartizan_requests_total{code="",status="200"} 3\n'
        'bartizan_requests_total{code="BZ0101",status="403"} 1\n'
    )


@pytest.mark.parametrize("labels", [(), (("status", "200"),)])
def test_every_step_of_a_long_count_shows(labels: tuple[tuple[str, str], ...]) -> None:
    metrics = Metrics()
    metrics.count(REQUESTS, labels, by=123_456_789_012)
    assert metrics.render({}).endswith(" 123456789012\n")


def test_a_label_cannot_end_its_line() -> None:
    metrics = Metrics()
    metrics.count(REQUESTS, (("rule", 'a"b\\c\nd 1'),))
    assert metrics.render({}).splitlines()[-1] == 'bartizan_requests_total{rule="a\\"b\\\\c\\nd 1"} 1'


def test_labels_without_end_do_not_grow_the_memory() -> None:
    metrics = Metrics()
    for i in range(MAX_SERIES + 50):
        metrics.count(REQUESTS, (("rule", str(i)),))
    assert len(metrics.render({}).splitlines()) == MAX_SERIES + 1 + 2
    assert metrics.get(REQUESTS, (("overflow", "true"),)) == 50
    metrics.count(REQUESTS, (("rule", "0"),))
    assert metrics.get(REQUESTS, (("rule", "0"),)) == 2


def test_a_counter_that_is_kept_counts_the_series() -> None:
    metrics, labels = Metrics(), (("code", "x"),)
    kept = metrics.counter(REQUESTS, labels)
    metrics.count(REQUESTS, labels)
    kept.value += 1
    assert metrics.counter(REQUESTS, labels) is kept
    assert metrics.get(REQUESTS, labels) == 2
    assert metrics.get(REQUESTS) == 0


def test_every_metric_that_the_sources_name_is_explained() -> None:
    """A name that HELP does not know would end the rendering with a KeyError."""
    named = {
        node.value
        for path in Path(sidecar.__path__[0]).rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("bartizan_")
    }
    assert named == set(HELP)
    assert set(HELP) > GAUGES.keys()
