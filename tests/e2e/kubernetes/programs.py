"""The programs of Kubernetes that `.ci/setup e2e` built, and where what is too large for each clone to have its own is kept."""

import os
import re
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bartizan"

OTHERS = {"coredns": (HERE.parent / "coredns", "github.com/coredns/coredns"), "helm": (HERE.parent / "helm", "helm.sh/helm/v3")}


def program(name: str) -> Path:
    """`kube-apiserver`, `kubectl`, `coredns`, `helm`."""
    folder, module = OTHERS.get(name, (HERE, "k8s.io/kubernetes"))
    return _kept(name if name in OTHERS else "kubernetes", folder, module) / name


def gateway_api(part: str) -> Path:
    """`standard`: the definitions; `conformance`: what its tests apply."""
    return _kept("gateway-api", HERE.parent / "gateway-api", "sigs.k8s.io/gateway-api") / part


def _kept(name: str, folder: Path, module: str) -> Path:
    version = re.search(rf"^\t?(?:require )?{re.escape(module)} v(\S+)", (folder / "go.mod").read_text(), re.MULTILINE)
    assert version is not None, module
    found = CACHE / f"{name}-{version[1]}"
    assert found.exists(), f"{found} is missing: .ci/setup e2e"
    return found
