"""What several of these tests need."""

from typing import Any

from injector.demo.images import Images
from injector.demo.network import Addresses

ADDRESSES = Addresses("10.244.0.10", "fd00:244::a")
IMAGES = Images("/usr/bin/python3", (("PATH", "/usr/bin:/bin"), ("HOME", "/tmp")))


def pod(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-x2x4z", "generateName": "web-", "namespace": "shop", "uid": "6f9619ff",
                     "labels": {"app": "web"}, "annotations": {"bartizan.dev/roots": "PEM", "b": 'two\n"lines"'}},
        "spec": {"serviceAccountName": "web", "containers": [], **spec},
    }


def nothing_stored(kind: str, namespace: str, name: str) -> None:
    return None
