"""The programs of Kubernetes that `.ci/setup e2e` built, and where what is too large for each clone to have its own is kept."""

import os
import re
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bartizan"


def program(name: str) -> Path:
    """`kube-apiserver`, `kubectl`, `coredns`."""
    folder, module = (HERE.parent / "coredns", "github.com/coredns/coredns") if name == "coredns" else (HERE, "k8s.io/kubernetes")
    version = re.search(rf"^\t?(?:require )?{re.escape(module)} v(\S+)", (folder / "go.mod").read_text(), re.MULTILINE)
    assert version is not None, module
    found = CACHE / f"{module.rpartition('/')[2]}-{version[1]}" / name
    assert found.exists(), f"{found} is missing: .ci/setup e2e"
    return found
