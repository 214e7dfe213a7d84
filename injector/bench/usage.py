"""What a process and all its descendants have used, from /proc."""

from pathlib import Path

from .errors import BenchError

PROC = Path("/proc")
TICKS_PER_S = 100     # USER_HZ, of every architecture that we run on


def tree(pid: int, proc: Path = PROC) -> list[int]:
    """`pid` and its descendants."""
    found = [pid]
    for one in found:   # grows while it is walked
        for children in (proc / str(one) / "task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def cpu_s(pid: int, proc: Path = PROC) -> float:
    """Seconds on a CPU, of every thread that is still there. The scheduler's own count: `stat` has ticks of 10 ms."""
    total = 0
    for one in tree(pid, proc):
        for schedstat in (proc / str(one) / "task").glob("*/schedstat"):
            total += int(schedstat.read_text().split()[0])
    if not total:
        raise BenchError(f"process {pid} has ended, or this kernel has no /proc/PID/schedstat")
    return total / 1e9


def kernel_s(pid: int, proc: Path = PROC) -> float:
    """Of `cpu_s` what was spent in the kernel, in ticks of 10 ms: sampled, and so no finer than a run is long."""
    ticks = 0
    for one in tree(pid, proc):
        for stat in (proc / str(one) / "task").glob("*/stat"):
            ticks += int(stat.read_text().rpartition(")")[2].split()[12])
    return ticks / TICKS_PER_S


def memory_mb(pid: int, proc: Path = PROC) -> tuple[float, float]:
    """(resident, unshared) in 10^6 bytes, the whole tree; pages that two of its processes share count once for each."""
    resident = unshared = 0
    for one in tree(pid, proc):
        values = smaps(proc / str(one) / "smaps_rollup")
        resident += values["Rss"]
        unshared += values["Private_Clean"] + values["Private_Dirty"]
    return resident * 1024 / 1e6, unshared * 1024 / 1e6


def smaps(rollup: Path) -> dict[str, int]:
    """KiB by name."""
    rows = (line.split() for line in rollup.read_text().splitlines()[1:])
    return {row[0].rstrip(":"): int(row[1]) for row in rows}
