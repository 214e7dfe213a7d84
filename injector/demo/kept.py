"""A world that goes on after the command has returned: where it is remembered, how it is found, entered and ended.

The first process is remembered with the time that it started at, so that a PID used again is never taken for it.
"""

import json
import os
import select
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

START_TIME_FIELD = 19   # of what follows the command's name in /proc/PID/stat; proc(5): (22) starttime
GONE_WITHIN_S = 5.0
RELEASED = b"k"   # what the command says to the world that is to go on without it


@dataclass(frozen=True, slots=True)
class Kept:
    pid: int
    started: int
    mode: str

    def inside(self, path: Path) -> Path:
        """A path of the world, whose file system is its own, as it is seen from outside."""
        return Path("/proc", str(self.pid), "root", str(path).lstrip("/"))


def state_file() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "bartizan" if runtime and os.access(runtime, os.W_OK) else Path.home() / ".cache" / "bartizan"
    return folder / "demo.json"


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if there is none, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[START_TIME_FIELD])


def remember(file: Path, pid: int, mode: str) -> None:
    started = start_time(pid)
    if started is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".tmp")
    fresh.write_text(json.dumps(asdict(Kept(pid, started, mode))))
    fresh.replace(file)


def recall(file: Path) -> Kept | None:
    """The world that is still there; a record of one that is gone is forgotten."""
    try:
        kept = Kept(**json.loads(file.read_text()))
        if start_time(kept.pid) == kept.started:
            return kept
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        pass   # not a record of ours, or half of one
    file.unlink(missing_ok=True)
    return None


def end(file: Path) -> bool:
    """End the world that is there. Returns whether there was one."""
    kept = recall(file)
    if kept is None:
        return False
    try:
        handle = os.pidfd_open(kept.pid)
    except ProcessLookupError:
        return False
    try:
        if start_time(kept.pid) == kept.started:   # asked again: from here on the handle cannot mean another process
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], GONE_WITHIN_S)
    finally:
        os.close(handle)
    file.unlink(missing_ok=True)
    return True


def enter_argv(kept: Kept) -> list[str]:
    """nsenter with options for the world's namespaces; an ordinary user's credentials are already the right ones there."""
    user = [] if kept.mode == "root" else ["--user", "--preserve-credentials"]
    return ["nsenter", f"--target={kept.pid}", *user, "--mount", "--pid", "--net"]
