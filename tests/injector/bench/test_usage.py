from pathlib import Path

import pytest

from injector.bench.errors import BenchError
from injector.bench.usage import TICKS_PER_S, cpu_s, kernel_s, memory_mb, tree

ROLLUP = "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss: 2000 kB\nPss: 500 kB\nPrivate_Clean: 100 kB\nPrivate_Dirty: 400 kB\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """1 has the threads 1 and 11, the second of which made 2; 2 made 3; 9 is a stranger."""
    for pid, thread, children, nanoseconds in ((1, 1, "", 5e8), (1, 11, "2 ", 1e8), (2, 2, "3", 2e8), (3, 3, "", 1e8), (9, 9, "", 7e9)):
        folder = tmp_path / str(pid) / "task" / str(thread)
        folder.mkdir(parents=True)
        (folder / "children").write_text(children)
        (folder / "schedstat").write_text(f"{nanoseconds:.0f} 42 7\n")
        ticks = nanoseconds / 1e9 * TICKS_PER_S
        (folder / "stat").write_text(f"{thread} (a) S 3) R 1 1 1 0 -1 4194560 9 0 0 0 {ticks * 0.6:.0f} {ticks * 0.4:.0f} 0 0 20 0 1 0 5\n")
        (tmp_path / str(pid) / "smaps_rollup").write_text(ROLLUP)
    return tmp_path


def test_descendants_count_and_strangers_do_not(proc: Path) -> None:
    assert tree(1, proc) == [1, 2, 3]
    assert cpu_s(1, proc) == pytest.approx(0.9)
    assert kernel_s(1, proc) == pytest.approx(0.36)
    assert memory_mb(1, proc) == pytest.approx((3 * 2.048, 3 * 0.512))


def test_a_process_that_is_gone_is_an_error(proc: Path) -> None:
    with pytest.raises(BenchError, match="4 has ended"):
        cpu_s(4, proc)
