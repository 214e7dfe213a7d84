"""What the figures depend on: the machine, and the version of everything."""

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .proxies import PROXIES, version_in

LIBRARIES = ("trio", "h11", "h2", "pyopenssl", "cryptography", "msgspec")
GENERATORS = {"wrk": "-v", "h2load": "--version"}


def cpu_model(cpuinfo: str) -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1] if found else platform.machine()


def machine() -> dict[str, Any]:
    return {
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
