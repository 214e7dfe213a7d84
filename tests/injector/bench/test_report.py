import json

from injector.bench.report import text
from injector.bench.workloads import WORKLOADS
from tests.injector.bench.support import result


def test_the_document_is_json_with_stable_keys() -> None:
    made = json.loads(json.dumps(result()))
    assert list(made) == ["schema", "machine", "date", "versions", "settings", "workloads", "rows", "ratios", "targets", "fairness"]
    row = made["rows"][0]
    assert list(row) == ["workload", "subject", "available", "cpu_us", "p50_ms", "p99_ms", "spread", "ratios", "rounds"]
    assert (row["workload"], row["subject"], row["cpu_us"]) == ("a", "bartizan", 52.0)
    assert row["ratios"] == {"cpu_us": 2.0, "p50_ms": 0.5, "p99_ms": 0.5}


def test_ratios_are_ours_to_the_references() -> None:
    assert result()["ratios"]["a"] == {"cpu": 2.0, "p99": 0.5, "memory": None}
    assert list(result()["ratios"]) == ["a", "c_100", "c_1000"]


def test_of_bulk_cpu_is_by_the_gigabyte() -> None:
    bulk = result(bartizan=([{"cpu_s_per_gb": 1.0, "rss_mb": 30.0}], ""), envoy=([{"cpu_s_per_gb": 2.0, "rss_mb": 60.0}], ""))
    assert bulk["ratios"]["a"] == {"cpu": 0.5, "p99": None, "memory": 0.5}


def test_the_table_shows_figures_and_ratios() -> None:
    lines = text(result()).splitlines()
    assert lines[0] == f"a: {WORKLOADS[0].title}"
    assert [line.split() for line in lines[1:4]] == [
        ["CPU", "us", "p50", "ms", "p99", "ms"], ["bartizan", "52.0", "(x2.00)", "0.100", "(x0.50)", "0.200", "(x0.50)"],
        ["envoy", "26.0", "(x1.00)", "0.200", "(x1.00)", "0.400", "(x1.00)"]]
    assert "2026-01-02T03:04+00:00; C, 2 cores (two threads of one core were used), 8000 MB, Linux 6.1, load before 0.0" in lines
    assert "bartizan 0.1.0, envoy not installed" in lines
    assert "MISSED        CPU per request, HTTP/1.1 plaintext: at most 1 of envoy's: 2.00" in lines
    assert "MET           p99, HTTP/1.1 plaintext: at most 1 of envoy's: 0.50" in lines
    assert "NOT MEASURED  CPU per new mTLS connection: at most 2 of envoy's, then 1.5" in lines
    assert "NOT MEASURED  ready, s: at most 0.5, then 0.3" in lines


def test_one_round_judges_nothing() -> None:
    made = result() | {"settings": {"rounds": 1, "seconds": 1, "reference": "envoy"}}
    assert not [line for line in text(made).splitlines() if line.startswith(("MET", "MISSED", "NOT MEASURED"))]
    assert text(made).splitlines()[-1] == "One round shows that it runs; targets are judged by more."


def test_what_is_not_available_says_why_and_has_no_figure() -> None:
    made = result(haproxy=([{"cpu_us": 1.0, "per_s": 1.0}], "no answer"))
    assert {"workload": "a", "subject": "haproxy", "available": False, "why": "no answer"} in made["rows"]
    assert "  haproxy: not available: no answer" in text(made).splitlines()


def test_without_the_reference_there_is_no_ratio() -> None:
    made = result(envoy=([], "not installed"))
    assert made["ratios"]["a"] == {"cpu": None, "p99": None, "memory": None}
    assert made["targets"][0]["verdict"] == "not measured"


def test_without_ours_there_is_none_either() -> None:
    assert result(bartizan=([], "it fell"))["ratios"]["a"] == {"cpu": None, "p99": None, "memory": None}


def test_rounds_that_differ_much_say_so() -> None:
    made = result(bartizan=([{"cpu_us": 40.0}, {"cpu_us": 60.0}], ""))
    assert "50.0 ±20% (x" in text(made)


def test_nothing_at_all_is_available() -> None:
    made = result(bartizan=([], "a"), envoy=([], "b"))
    assert text(made).splitlines()[1:3] == ["  bartizan: not available: a", "  envoy: not available: b"]
