"""What the figures depend on: the machine, and the version of everything."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .proxies import PROXIES, version_in

LIBRARIES = ("trio", "h11", "h2", "pyopenssl", "cryptography", "msgspec")
GENERATORS = {"wrk": "-v", "h2load": "--version"}


def cpu_model(cpuinfo: str) -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1] if found else platform.machine()


def two_cores(available: Iterable[int], topology: Path = Path("/sys/devices/system/cpu")) -> tuple[int, int, bool]:
    """(for the proxy, for the load, whether they are two threads of one core, which slow each other down: only if need be)"""
    first, *others = sorted(available)
    for other in others:
        if other not in _siblings(topology / f"cpu{first}" / "topology" / "thread_siblings_list"):
            return first, other, False
    return first, others[0], True


def _siblings(file: Path) -> set[int]:
    """`0,4` or `0-1`"""
    if not file.exists():
        return set()
    ranges = (part.partition("-") for part in file.read_text().strip().split(","))
    return {number for low, _, high in ranges for number in range(int(low), int(high or low) + 1)}


def machine(are_siblings: bool) -> dict[str, Any]:
    """
    Args:
        are_siblings: the two cores that are used are one, really.
    """
    return {
        "shared_core": are_siblings,
        "cpu": cpu_model(Path("/proc/cpuinfo").read_text()),
        "cores": os.cpu_count(),
        "memory_mb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6),
        "kernel": platform.release(),
        "load_average": [round(value, 2) for value in os.getloadavg()],     # before: the machine should have been quiet
    }


def versions() -> dict[str, str]:
    """By name; "" for what is not installed."""
    found = {proxy.name: proxy.version() for proxy in PROXIES}
    found |= {name: _says(name, flag) for name, flag in GENERATORS.items()}
    return found | {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def _says(name: str, flag: str) -> str:
    if shutil.which(name) is None:
        return ""
    done = subprocess.run([name, flag], capture_output=True, text=True, check=False)
    return version_in(done.stdout + done.stderr)
