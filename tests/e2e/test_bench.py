"""The benchmark runs: every peer does the first workload, two sidecars call each other through packet rules, and a change reaches 500.
Nothing is judged.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from injector.bench.proxies import PROXIES
from injector.bench.readme import BEGIN, END, PLOT
from tests.architecture.sources import ROOT

pytestmark = [pytest.mark.foreign, pytest.mark.netns]


def test_a_quick_one_measures_everybody_and_writes_the_table(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    done = subprocess.run(
        [sys.executable, "-m", "injector.cli.main", "bench", "--quick", "--json", "--only", "a", "--only", "c_100",
         "--readme", str(readme)],
        cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [(row["workload"], row["subject"]) for row in result["rows"]] == [
        *(("a", proxy.name) for proxy in PROXIES), ("c_100", "bartizan"), ("c_100", "envoy")]
    assert [row["why"] for row in result["rows"] if not row["available"]] == []
    assert all(row["cpu_us"] > 0 and row["rss_mb"] > 0 for row in result["rows"])
    assert all(result["ratios"]["a"].values())
    assert result["ratios"]["c_100"]["cpu"]     # what two add to p99 may be less than nothing on a busy machine, and has no ratio then
    assert "**c_100**" in readme.read_text()
    assert (tmp_path / PLOT).read_text().count("<circle") == 4


def test_a_row_of_the_control_plane_has_its_api_server() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "injector.cli.main", "bench", "--quick", "--json", "--only", "propagation"],
        cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    ours = json.loads(done.stdout)["rows"][0]
    assert (ours["subject"], ours.get("why", "")) == ("bartizan", "")
    assert 0 < ours["p50_ms"] <= ours["p99_ms"]
