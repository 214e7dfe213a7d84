from pathlib import Path

import pytest

from injector.bench.errors import BenchError
from injector.bench.readme import BEGIN, END, PLOT, around, table, write_readme
from injector.bench.workloads import WORKLOADS
from tests.architecture.sources import ROOT
from tests.injector.bench.support import result


def test_only_what_lies_between_the_markers_changes(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_readme(result(), readme)
    once = readme.read_text()
    assert once.startswith(f"before\n{BEGIN}\n2026-01-02T03:04+00:00; C, 2 cores")
    assert once.endswith(f"\n{END}\nafter\n")
    assert "old" not in once
    write_readme(result(), readme)
    assert readme.read_text() == once
    assert (tmp_path / PLOT).read_text().startswith("<svg")


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_without_markers_it_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(BenchError, match="does not have the lines"):
        around(tmp_path / "README.md")
    with pytest.raises(BenchError, match="No such file"):
        around(tmp_path / "nowhere")


def test_a_row_for_each_figure() -> None:
    lines = table(result(mitmproxy=([{"cpu_us": 1200.0}] * 2, ""))).splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    assert rows[0] == ["workload", "figure", "bartizan", "envoy", "ratio", "mitmproxy", "target"]
    assert [cell.strip() for cell in rows[2]] == [
        f"**a** {WORKLOADS[0].title}", "CPU us", "52.0", "26.0", "2.00", "1,200.0",
        "at most 1 of envoy's: missed; at most 0.1 of mitmproxy's: met; at most 0.1 of proxy.py's: not measured"]
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


def test_the_readme_has_a_place_for_it() -> None:
    around(ROOT / "README.md")
