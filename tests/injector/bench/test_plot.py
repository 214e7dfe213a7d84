import xml.etree.ElementTree as ElementTree

from injector.bench.plot import LEFT, TOP, lines, plot
from tests.injector.bench.support import result


def test_lines_are_latency_by_rate() -> None:
    found = {(line.subject, line.measure): list(line.points) for line in lines(result())}
    assert set(found) == {(subject, measure) for subject in ("bartizan", "envoy") for measure in ("p50_ms", "p99_ms")}
    assert found["bartizan", "p99_ms"] == [(100, 0.6), (1000, 0.6)]


def test_the_picture_is_well_formed_and_its_points_lie_in_it() -> None:
    root = ElementTree.fromstring(plot(result()))
    circles = [(float(one.get("cx", "")), float(one.get("cy", ""))) for one in root.iter("{http://www.w3.org/2000/svg}circle")]
    assert len(circles) == 8
    assert all(LEFT <= x <= 720 and TOP <= y <= 350 for x, y in circles)
    assert min(circles, key=lambda one: one[1])[1] == TOP       # Envoy's p99, 1 ms: the greatest


def test_without_figures_there_are_axes_only() -> None:
    alone = result()
    del alone["rows"][:]
    assert "circle" not in plot(alone)
    ElementTree.fromstring(plot(alone))
