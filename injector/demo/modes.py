"""What kind of namespaces this machine and this user allow, tried in the order of how much they show.

    root          real UIDs; the packet rules exempt the sidecar by UID
    user-mapped   an ordinary user with a range of sub-UIDs (newuidmap, /etc/subuid): the same rules
    user-single   an ordinary user, one UID for everything: the rules exempt the sidecar by packet mark

Every process of the world is a descendant of the first one in a new PID namespace. When that one dies, in whatever way, the
kernel kills the rest, and with them go the network and mount namespaces: nothing is left to clean up.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import DemoError

SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")   # not on an ordinary user's PATH on Debian
TOOLS = {
    "ip": "iproute2", "iptables-restore": "iptables", "ip6tables-restore": "iptables",
    "unshare": "util-linux", "nsenter": "util-linux", "setpriv": "util-linux", "mount": "mount",
}
NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
HIGHEST_UID = 64999   # of those that admission gives to sidecars


@dataclass(frozen=True, slots=True)
class Mode:
    """
    Args:
        unshare: options that make the world's namespaces.
        has_uids: whether a container can run as the UID that its pod names.
    """

    name: str
    says: str
    unshare: tuple[str, ...]
    has_uids: bool


ROOT = Mode("root", "root: real UIDs, rules by UID", NAMESPACES, True)
USER_MAPPED = Mode("user-mapped", "ordinary user with mapped sub-UIDs: rules by UID",
                   ("--user", "--map-root-user", "--map-auto", *NAMESPACES), True)
USER_SINGLE = Mode("user-single", "ordinary user with a single UID: rules by packet mark, runAsUser cannot be honoured",
                   ("--user", "--map-root-user", *NAMESPACES), False)
BY_NAME = {mode.name: mode for mode in (ROOT, USER_MAPPED, USER_SINGLE)}


def search_path() -> str:
    present = os.environ.get("PATH", os.defpath).split(":")
    return ":".join([*present, *(folder for folder in SBIN if folder not in present)])


def require_tools() -> None:
    missing = sorted(tool for tool in TOOLS if shutil.which(tool, path=search_path()) is None)
    if missing:
        packages = sorted({TOOLS[tool] for tool in missing})
        sudo = "" if os.geteuid() == 0 else "sudo "
        raise DemoError(f"missing {', '.join(missing)}; install with: {sudo}apt-get install -y {' '.join(packages)}")


def _try(mode: Mode) -> str:
    """Why the namespaces of `mode` cannot be made; empty if they can."""
    test = "mount -t tmpfs t /run && ip link set lo up"
    if mode.has_uids:
        test += f" && setpriv --reuid {HIGHEST_UID} --regid {HIGHEST_UID} --clear-groups true"
    done = subprocess.run(["unshare", *mode.unshare, "sh", "-c", test], capture_output=True, text=True, check=False,
                          env={**os.environ, "PATH": search_path()})
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]


def detect(is_root: bool, attempt: Callable[[Mode], str] = _try, proc: Path = Path("/proc")) -> Mode:
    """The first mode that works here, or DemoError with the cure."""
    why = ""
    for mode in (ROOT, USER_SINGLE) if is_root else (USER_MAPPED, USER_SINGLE):
        why = attempt(mode)
        if not why:
            return mode
    raise DemoError(f"network namespaces are refused here ({why}); {_cure(is_root, proc)}")


def _cure(is_root: bool, proc: Path) -> str:
    def reads(name: str) -> str:
        try:
            return (proc / "sys" / name).read_text().strip()
        except OSError:
            return ""

    if not is_root:
        if reads("kernel/apparmor_restrict_unprivileged_userns") == "1":
            return "run as root, or allow them: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        if reads("kernel/unprivileged_userns_clone") == "0":
            return "run as root, or allow them: sudo sysctl -w kernel.unprivileged_userns_clone=1"
        if reads("user/max_user_namespaces") == "0":
            return "run as root, or allow them: sudo sysctl -w user.max_user_namespaces=15000"
    return "in a container, start it with --privileged; otherwise use a virtual machine"
