"""The control plane of a row: one `bartizan injector`, a process on a core of its own, ready to be asked."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from injector.bench.certificates import HERE
from injector.bench.errors import NotAvailable
from injector.bench.layout import TRUST_DOMAIN
from injector.bench.usage import cpu_s, memory_mb

READY_WITHIN_S = 120.0
LOOK_EVERY_S = 0.05
_READY = re.compile(r"injector ready: webhook (\d+), stream (\d+)")


@dataclass(frozen=True, slots=True)
class Plane:
    """
    Args:
        webhook, stream: where they are, https://...
    """

    pid: int
    webhook: str
    stream: str

    def cpu_s(self) -> float:
        return cpu_s(self.pid)

    def memory_mb(self) -> tuple[float, float]:
        return memory_mb(self.pid)


@contextmanager
def plane(folder: Path, certificates: Path, on_core: Sequence[str], source: Mapping[str, Any]) -> Iterator[Plane]:
    """
    Args:
        folder: for its files; exists.
        certificates: see `certificates.py`.
        on_core: begins the command.
        source: where it finds its objects, as its configuration says it.
    """
    nowhere = f"https://{HERE}:1"   # nobody issues here: it goes on with the roots that it was given
    config = {
        **source, "trustDomain": TRUST_DOMAIN, "rootsFile": str(certificates / "roots.pem"), "issuerUrl": nowhere, "streamUrl": nowhere,
        "stateDirectory": str(folder / "state"), "chainFile": str(certificates / "here.pem"), "keyFile": str(certificates / "here.key"),
        "webhookPort": 0, "streamPort": 0,
    }
    file, log = folder / "injector.json", folder / "injector.log"
    file.write_text(json.dumps(config))
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*on_core, sys.executable, "-m", "injector.cli.main", "injector", "--config", str(file)],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        webhook, stream = _wait_ready(process, log)
        yield Plane(process.pid, f"https://{HERE}:{webhook}", f"https://{HERE}:{stream}")
    finally:
        process.kill()
        process.wait()


def _wait_ready(process: "subprocess.Popen[bytes]", log: Path) -> tuple[str, str]:
    give_up = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < give_up:
        if found := _READY.search(log.read_text()):
            return found[1], found[2]
        if process.poll() is not None:
            break
        time.sleep(LOOK_EVERY_S)
    says = (log.read_text().strip().splitlines() or ["nothing"])[-1]
    raise NotAvailable(f"the injector is not ready; it says: {says[:300]}")
