"""A machine in the machine: processes, network, mounts and a cgroup of their own.

Everything in it ends with its first process, by the kernel's hand, and that one ends when whoever made it does, even by SIGKILL. What
is left then is empty cgroups, a folder and a wire; they go with the room, or when the next one is made.
"""

import errno
import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.pods import wait_until

from .programs import CACHE

CGROUP = "bartizan-e2e"
CGROUPS = Path("/sys/fs/cgroup")
LINK = "bartizan-e2e"       # the interface on this side, towards the room

# What a kubelet would set for the whole machine: it finds these instead, as it wants them.
KERNEL = {"vm/overcommit_memory": 1, "vm/panic_on_oom": 0, "kernel/panic": 10, "kernel/panic_on_oops": 1,
          "kernel/keys/root_maxkeys": 1000000, "kernel/keys/root_maxbytes": 25000000}
# The shell takes over orphans; `cat` ends when the other end of its pipe is closed.
FIRST_PROCESS = """
set -e
for place in /run /var/lib /var/log; do mount -t tmpfs none $place; done
mkdir /run/kernel /run/netns
%s
echo ready
cat >/dev/null
"""


@dataclass(frozen=True)
class Place:
    """Where programs can be run.

    Args:
        enter: the command that runs another one there.
    """

    enter: tuple[str, ...]

    def command(self, *command: str | Path) -> list[str]:
        return [*self.enter, *map(str, command)]

    def run(self, *command: str | Path, stdin: str = "") -> str:
        done = subprocess.run(self.command(*command), input=stdin, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
        return done.stdout

    def is_done(self, *command: str | Path) -> bool:
        return subprocess.run(self.command(*command), capture_output=True).returncode == 0

    def start(self, stack: ExitStack, log: Path, *command: str | Path) -> "subprocess.Popen[bytes]":
        """It ends with the room, or when its input does if it looks."""
        out = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(self.command(*command), stdin=subprocess.PIPE, stdout=out, stderr=out)
        stack.enter_context(process)
        stack.callback(process.kill)
        return process

    def beside(self, name: str) -> "Place":
        """The same, with a network of its own."""
        self.run("sh", "-c", f"touch /run/netns/{name} && unshare --net=/run/netns/{name} ip link set lo up")
        return Place((*self.enter, "nsenter", f"--net=/run/netns/{name}"))


@dataclass(frozen=True)
class Room(Place):
    """
    Args:
        folder: its disk, empty at first; at the same place inside.
        pid: a process of this side whose network is the room's.
    """

    folder: Path
    pid: int


@contextmanager
def room() -> Iterator[Room]:
    """The only one on this machine at a time: another one waits for its end."""
    folder = CACHE / "node"
    folder.parent.mkdir(parents=True, exist_ok=True)
    assert not {"run", "var"} & set(folder.parts), f"{folder} would be hidden in the room; choose another XDG_CACHE_HOME"
    with (CACHE / "node.lock").open("w") as lock, ExitStack() as stack:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _sweep(folder)
        stack.callback(_sweep, folder)
        folder.mkdir()
        for hierarchy in _hierarchies():
            (hierarchy / CGROUP).mkdir()
        pins = "\n".join(f"echo {value} >/run/kernel/{name.replace('/', '.')}; "
                         f"mount --bind /run/kernel/{name.replace('/', '.')} /proc/sys/{name}" for name, value in KERNEL.items())
        first = stack.enter_context(subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", FIRST_PROCESS % pins],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        stack.callback(first.kill)
        assert first.stdout is not None
        assert first.stdout.readline() == b"ready\n"
        spaces = f"/proc/{first.pid}/ns"
        enter = ("nsenter", f"--net={spaces}/net", f"--mount={spaces}/mnt", f"--pid={spaces}/pid_for_children", "--")
        yield Room(enter, folder, first.pid)


def _hierarchies() -> list[Path]:
    """Each controller's own folder, or the one of all of them."""
    if (CGROUPS / "cgroup.controllers").exists():
        controllers = (CGROUPS / "cgroup.controllers").read_text().split()
        (CGROUPS / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
        return [CGROUPS]
    return [path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]


def _sweep(folder: Path) -> None:
    """Remove what a room left. Its processes are ending, if they have not ended.

    A network lives on for as long as a connection in it waits for an answer; the wire into it need not.
    """
    if Path("/sys/class/net", LINK).exists():
        subprocess.run(["ip", "link", "delete", LINK], check=True)
    for hierarchy in _hierarchies():
        for path in sorted((hierarchy / CGROUP).rglob("*"), reverse=True):
            if path.is_dir():
                _remove_cgroup(path)
        if (hierarchy / CGROUP).exists():
            _remove_cgroup(hierarchy / CGROUP)
    if folder.exists():
        shutil.rmtree(folder)


def _remove_cgroup(path: Path) -> None:
    """It cannot be removed before the last of its processes is reaped. Only the attempt tells: one that is ending is listed no more."""
    def is_removed() -> bool:
        try:
            path.rmdir()
        except OSError as exc:
            if exc.errno != errno.EBUSY:
                raise
            return False
        return True

    wait_until(is_removed, lambda: f"{path} still has processes: {(path / 'cgroup.procs').read_text().split()}")
