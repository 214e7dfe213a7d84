"""The memory of a process that holds keys is nobody else's: no core dump of it, and no other process of its user may look into it.

Called once, before a key is made or read. What it keeps out: a core file on a disk of the node, and `/proc/PID/mem`, `environ` and ptrace
for whoever runs under the same UID. It does not keep out root.
Spec: prctl(2) PR_SET_DUMPABLE, setrlimit(2) RLIMIT_CORE.
"""

import ctypes  # trio has loaded it already
import os
import resource

from sidecar.model.errors import ConfigError

_PR_SET_DUMPABLE = 4


def keep_memory_private() -> None:
    """ConfigError where the kernel refuses, which no Linux does."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A core that is piped to a program (`core_pattern` with |) knows no limit of size, so that the limit alone is not enough.
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise ConfigError("", f"the memory of this process cannot be made private: {os.strerror(ctypes.get_errno())}")
