import json
from typing import Any

from injector.bench.report import document, text
from injector.bench.workloads import WORKLOADS

HTTP1 = WORKLOADS[0]


def result(**of_http1: Any) -> dict[str, Any]:
    results = {
        "http1": {"bartizan": ([{"cpu_us": 50.0, "per_s": 9000.0}, {"cpu_us": 54.0, "per_s": 9100.0}], ""),
                  "envoy": ([{"cpu_us": 25.0, "per_s": 30000.0}, {"cpu_us": 27.0, "per_s": 29000.0}], ""), **of_http1},
    }
    machine = {"cpu": "C", "cores": 2, "shared_core": True, "memory_mb": 8000, "kernel": "6.1", "load_average": [0.0]}
    return document([HTTP1], results, machine=machine, versions={"bartizan": "0.1.0", "envoy": ""}, rounds=2, seconds=5)


def test_the_document_is_json_with_stable_keys() -> None:
    made = json.loads(json.dumps(result()))
    assert list(made) == ["schema", "machine", "versions", "settings", "fairness", "workloads", "targets"]
    row = made["workloads"]["http1"]["proxies"]["bartizan"]
    assert list(row) == ["available", "why", "rounds", "medians", "ratios", "spread"]
    assert row["medians"] == {"cpu_us": 52.0, "per_s": 9050.0}
    assert row["ratios"] == {"cpu_us": 2.0}     # more requests are no ratio to be read the other way round


def test_the_table_shows_figures_and_ratios() -> None:
    lines = text(result()).splitlines()
    assert lines[0] == f"http1: {HTTP1.title}"
    assert [line.split() for line in lines[1:4]] == [
        ["CPU", "us", "per", "s"], ["bartizan", "52.0", "(x2.00)", "9,050"], ["envoy", "26.0", "(x1.00)", "29,500"]]
    assert "C, 2 cores (two threads of one core were used), 8000 MB, Linux 6.1, load before 0.0" in lines
    assert "bartizan 0.1.0, envoy not installed" in lines
    assert "MISSED        CPU per request, HTTP/1.1 plaintext: at most 1 of envoy's: 2.00" in lines
    assert "NOT MEASURED  CPU per new mTLS connection: at most 2 of envoy's, then 1.5" in lines


def test_what_is_not_available_says_why_and_has_no_figure() -> None:
    made = result(haproxy=([{"cpu_us": 1.0, "per_s": 1.0}], "no answer"))
    assert made["workloads"]["http1"]["proxies"]["haproxy"]["medians"] == {}
    assert "  haproxy: not available: no answer" in text(made).splitlines()


def test_without_the_reference_there_is_no_ratio() -> None:
    made = result(envoy=([], "not installed"))
    assert made["workloads"]["http1"]["proxies"]["bartizan"]["ratios"] == {}
    assert made["targets"][0]["verdict"] == "not measured"


def test_rounds_that_differ_much_say_so() -> None:
    made = result(bartizan=([{"cpu_us": 40.0, "per_s": 9000.0}, {"cpu_us": 60.0, "per_s": 9000.0}], ""))
    assert "50.0 ±20% (x" in text(made)


def test_nothing_at_all_is_available() -> None:
    made = result(bartizan=([], "a"), envoy=([], "b"))
    assert text(made).splitlines()[1:3] == ["  bartizan: not available: a", "  envoy: not available: b"]
