"""Secrets of type kubernetes.io/tls."""

import base64
from typing import Any

from tests.helpers import pki
from tests.helpers.pki import Holder


def secret_of(name: str, data: dict[str, str], *, namespace: str = "shop") -> dict[str, Any]:
    encoded = {field: base64.b64encode(text.encode()).decode() for field, text in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": encoded}


def certificate(*hosts: str) -> Holder:
    return pki.issue(pki.authority("public"), *map(pki.host, hosts), purposes=(pki.SERVER,))


def tls_secret(name: str, host: str, *, namespace: str = "shop") -> dict[str, Any]:
    holder = certificate(host)
    return secret_of(name, {"tls.crt": holder.chain_pem, "tls.key": holder.key_pem}, namespace=namespace)
