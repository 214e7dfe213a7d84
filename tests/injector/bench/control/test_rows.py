"""Each row runs: with an injector of its own, a handful of objects, and a directory in the API server's place."""

from pathlib import Path

import pytest

from injector.bench.control import rows
from injector.bench.control.objects import Size
from injector.bench.control.rows import Desk
from injector.bench.control.store import Directory
from injector.bench.errors import NotAvailable
from injector.bench.measures import MEASURES

TINY = Size(2, 2, 2, 2)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_admission(desk: Desk) -> None:
    found = rows.admission(desk, 0.2, TINY, 50)
    assert found.keys() == {"cpu_us", "p50_ms", "p99_ms"}
    assert 0 < found["p50_ms"] <= found["p99_ms"]
    assert found["cpu_us"] > 0


def test_propagation(desk: Desk) -> None:
    found = rows.propagated(desk, desk.certificates(), Directory(desk.folder / "objects"), TINY, changes=1, to_all=1)
    assert found.keys() == {"p50_ms", "p99_ms", "all_p50_ms", "all_p99_ms"}
    assert all(value > 0 for value in found.values())


def test_scale(desk: Desk) -> None:
    found = rows.scaled(desk, desk.certificates(), Directory(desk.folder / "objects"), TINY, changes=1, idle_s=0.2)
    assert found.keys() <= MEASURES.keys()
    assert min(found["rss_mb"], found["first_s"]) > 0
    assert found["rss_mb_growth"] == pytest.approx(1, abs=0.5)


def test_an_injector_that_ends_says_why(desk: Desk) -> None:
    with (
        pytest.raises(NotAvailable, match="nothing to read objects from"),
        rows.plane(desk.place("injector"), desk.certificates().folder, (), {}),
    ):
        pass
