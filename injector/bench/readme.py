"""The table in the README, between two markers, and the plot beside it: written here and never by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import BenchError
from .measures import MEASURES
from .plot import plot
from .proxies import OURS, PROXIES, REFERENCE
from .report import facts, figure, limit, rows_of

BEGIN, END = "<!-- begin: written by bartizan bench -->", "<!-- end: written by bartizan bench -->"
PLOT = "docs/latency.svg"
# What is shown of every workload that has it; of others what has a target.
SHOWN = ("cpu_us", "kernel_us", "p99_ms", "grpc_cpu_us", "cpu_s_per_gb", "down_cpu_s_per_gb", "up_cpu_s_per_gb", "ready_s")


def around(readme: Path) -> tuple[str, str]:
    """What stands before the table and after it. BenchError if there is no place for one."""
    try:
        before, found, rest = readme.read_text().partition(BEGIN)
    except OSError as exc:
        raise BenchError(f"{readme}: {exc.strerror}") from exc
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise BenchError(f"{readme} does not have the lines `{BEGIN}` and `{END}`")
    return before, after


def write_readme(result: Mapping[str, Any], readme: Path) -> None:
    before, after = around(readme)
    picture = readme.parent / PLOT
    picture.parent.mkdir(exist_ok=True)
    picture.write_text(plot(result))
    readme.write_text(f"{before}{BEGIN}\n{table(result)}\n{END}{after}")


def table(result: Mapping[str, Any]) -> str:
    subjects = [proxy.name for proxy in PROXIES if any(one["subject"] == proxy.name and one["available"] for one in result["rows"])]
    lines = ["| workload | figure | " + "".join(f"{name} | " + ("ratio | " if name == REFERENCE else "") for name in subjects) + "target |",
             "|---|---|" + "".join("--:|" + ("--:|" if name == REFERENCE else "") for name in subjects) + "---|"]
    for name, workload in result["workloads"].items():
        rows = {one["subject"]: one for one in rows_of(result, name) if one["available"]}
        targets = [one for one in result["targets"] if one["workload"] == name]
        shown = [measure for measure in MEASURES if any(measure in one for one in rows.values())
                 and (measure in SHOWN or any(one["measure"] == measure for one in targets))]
        for number, measure in enumerate(shown):
            cells = [f"**{name}** {workload['title']}" if not number else "", MEASURES[measure].label]
            for subject in subjects:
                one = rows.get(subject, {})
                cells.append(figure(MEASURES[measure], measure, one) if measure in one else "")
                if subject == REFERENCE:
                    ratio = rows.get(OURS, {}).get("ratios", {}).get(measure)
                    cells.append("" if ratio is None else f"{ratio:.2f}")
            cells.append("; ".join(f"{limit(one)}: {one['verdict']}" for one in targets if one["measure"] == measure))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*(f"{line}\n" for line in facts(result)), *lines, "", f"![Added latency against rate]({PLOT})"])
