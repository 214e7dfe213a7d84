"""Latency against rate, as SVG: what two sidecars add to the way without them. Written by hand of the figures, no library."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log10
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 400, 60, 50, 40
COLOURS = {"bartizan": "#0b6e4f", "envoy": "#b5179e", "haproxy": "#b0752a"}
DASHES = {"p50_ms": "", "p99_ms": ' stroke-dasharray="6 4"'}


@dataclass(frozen=True, slots=True)
class Line:
    """
    Args:
        points: (requests a second, ms), by rate.
    """

    subject: str
    measure: str
    points: Sequence[tuple[int, float]]


def lines(result: Mapping[str, Any]) -> list[Line]:
    """Of the workloads `c_RATE`, by whoever is available at all of them."""
    rates = sorted(int(name[2:]) for name in result["workloads"] if name.startswith("c_"))
    found = []
    for subject in COLOURS:
        rows = {int(one["workload"][2:]): one for one in result["rows"]
                if one["workload"].startswith("c_") and one["subject"] == subject and one["available"]}
        if rates and len(rows) == len(rates):
            found += [Line(subject, measure, [(rate, rows[rate][measure]) for rate in rates]) for measure in DASHES]
    return found


def plot(result: Mapping[str, Any]) -> str:
    """The picture; rates by their logarithm. Without lines it has axes only."""
    drawn = lines(result)
    rates = sorted({rate for line in drawn for rate, _ in line.points}) or [1]
    most = max([ms for line in drawn for _, ms in line.points], default=1.0)
    step = next(unit for unit in (size * 10.0**power for power in range(-3, 6) for size in (1, 2, 5)) if most / unit <= 6)
    top = step * max(1, ceil(most / step))
    span = log10(rates[-1] / rates[0]) or 1.0

    def x(rate: int) -> float:
        return LEFT + (WIDTH - LEFT - 150) * log10(rate / rates[0]) / span

    def y(ms: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * max(ms, 0.0) / top

    parts = [f'<text x="{LEFT}" y="20">added latency, ms, of two sidecars with mTLS between</text>',
             f'<text x="{x(rates[-1]):.0f}" y="{HEIGHT - 10}" text-anchor="end">requests a second</text>']
    for number in range(round(top / step) + 1):
        ms = number * step
        parts.append(f'<path d="M{LEFT} {y(ms):.1f}H{x(rates[-1]):.0f}" stroke="#ddd"/>'
                     f'<text x="{LEFT - 8}" y="{y(ms) + 4:.1f}" text-anchor="end">{ms:g}</text>')
    parts += [f'<text x="{x(rate):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{rate:,}</text>' for rate in rates]
    for row, line in enumerate(drawn):
        colour = COLOURS[line.subject]
        path = "L".join(f"{x(rate):.1f} {y(ms):.1f}" for rate, ms in line.points)
        parts.append(f'<path d="M{path}" stroke="{colour}" stroke-width="2" fill="none"{DASHES[line.measure]}/>')
        parts += [f'<circle cx="{x(rate):.1f}" cy="{y(ms):.1f}" r="3" fill="{colour}"/>' for rate, ms in line.points]
        place = TOP + 20 * row
        parts.append(f'<path d="M{WIDTH - 130} {place}h28" stroke="{colour}" stroke-width="2"{DASHES[line.measure]}/>'
                     f'<text x="{WIDTH - 96}" y="{place + 4}">{line.subject} {line.measure.removesuffix("_ms")}</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">\n'
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n")
