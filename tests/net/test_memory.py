"""In a process of its own, since it cannot be undone."""

import subprocess
import sys

from tests.architecture.sources import ROOT

ASK = """
import ctypes, resource
from sidecar.net.memory import keep_memory_private
say = lambda: print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))   # PR_GET_DUMPABLE
resource.setrlimit(resource.RLIMIT_CORE, (4096, resource.getrlimit(resource.RLIMIT_CORE)[1]))
say()
keep_memory_private()
say()
"""


def test_no_core_and_no_look_inside() -> None:
    done = subprocess.run([sys.executable, "-c", ASK], cwd=ROOT, capture_output=True, text=True, check=True)
    before, after = done.stdout.splitlines()
    assert before.endswith(" 1")
    assert after == "(0, 0) 0"
