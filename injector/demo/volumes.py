"""A pod's volumes as folders: emptyDir, projected, downwardAPI, configMap, secret; and what the kubelet itself lays into a pod.

`make` creates them, `refresh` writes again what may have changed: tokens when 80 % of their life is over, fields when the
stored pod changes. A file is replaced whole, so that a reader sees the old one or the new one.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from .container import Lookup, Mount, Object, contents, field
from .errors import DemoError
from .network import CLUSTER_DNS, Addresses, command
from .tokens import DEFAULT_LIFETIME_S, RENEW_AT, TokenSigner

Files = Iterator[tuple[str, bytes]]


class Volumes:
    """The volumes of one pod.

    Args:
        folder: of this pod alone; made here.
    """

    def __init__(self, folder: Path, addresses: Addresses, signer: TokenSigner, lookup: Lookup) -> None:
        self._folder = folder
        self._addresses = addresses
        self._signer = signer
        self._lookup = lookup
        self._renew_at: dict[tuple[str, str], float] = {}

    async def make(self, pod: Object, now: float) -> dict[str, str]:
        """Create all of them. Returns their folders by name."""
        paths = {}
        for volume in pod["spec"].get("volumes") or ():
            name = volume["name"]
            path = self._folder / "volumes" / name
            path.mkdir(parents=True)
            paths[name] = str(path)
            if (empty := volume.get("emptyDir")) is not None:
                if empty.get("medium") == "Memory":
                    size = f"size={byte_count(empty['sizeLimit'])}," if "sizeLimit" in empty else ""
                    await command(["mount", "-t", "tmpfs", "-o", f"{size}mode=777,nosuid,nodev", "memory", str(path)])
                path.chmod(0o777)
        self._lay_system_files(pod)
        self.refresh(pod, now)
        return paths

    def refresh(self, pod: Object, now: float) -> float:
        """Write what the pod's fields, the stored objects and the clock say now. Returns when a token is next due."""
        for volume in pod["spec"].get("volumes") or ():
            for name, data in self._files(pod, volume, now):
                _replace(self._folder / "volumes" / volume["name"] / name, data)
        return min(self._renew_at.values(), default=now + DEFAULT_LIFETIME_S)

    def system_mounts(self) -> tuple[Mount, ...]:
        return tuple(Mount(str(self._folder / "etc" / name), f"/etc/{name}", True) for name in ("resolv.conf", "hosts"))

    def _lay_system_files(self, pod: Object) -> None:
        etc, metadata = self._folder / "etc", pod["metadata"]
        etc.mkdir(parents=True)
        search = " ".join((f"{metadata['namespace']}.svc.cluster.local", "svc.cluster.local", "cluster.local"))
        _replace(etc / "resolv.conf", f"nameserver {CLUSTER_DNS}\nsearch {search}\noptions ndots:5\n".encode())
        own = "".join(f"{address}\t{metadata['name']}\n" for address in self._addresses.both())
        more = "".join(f"{alias['ip']}\t{' '.join(alias['hostnames'])}\n" for alias in pod["spec"].get("hostAliases") or ())
        _replace(etc / "hosts", f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{own}{more}".encode())

    def _files(self, pod: Object, volume: Object, now: float) -> Files:
        name = volume["name"]
        kinds = [kind for kind in volume if kind != "name"]
        if kinds == ["emptyDir"]:
            return
        if kinds == ["projected"]:
            for source in volume["projected"]["sources"]:
                yield from self._source(pod, name, source, now)
        elif kinds in (["downwardAPI"], ["configMap"]):
            yield from self._source(pod, name, {kinds[0]: volume[kinds[0]]}, now)
        elif kinds == ["secret"]:
            secret = volume["secret"]
            yield from self._source(pod, name, {"secret": {**secret, "name": secret["secretName"]}}, now)
        else:
            raise DemoError(f"volume {name}: the demo knows no {' or '.join(kinds) or 'volume without a kind'}")

    def _source(self, pod: Object, volume: str, source: Object, now: float) -> Files:
        ((kind, what),) = source.items()
        if kind == "serviceAccountToken":
            key = (volume, what["path"])
            if now >= self._renew_at.get(key, 0.0):
                lifetime_s = what.get("expirationSeconds", DEFAULT_LIFETIME_S)
                self._renew_at[key] = now + lifetime_s * RENEW_AT
                yield what["path"], self._token(pod, what.get("audience", ""), lifetime_s, now)
        elif kind == "downwardAPI":
            for item in what["items"]:
                yield item["path"], field_file(pod, item["fieldRef"]["fieldPath"], self._addresses)
        elif kind in ("configMap", "secret"):
            stored = self._lookup("ConfigMap" if kind == "configMap" else "Secret", pod["metadata"]["namespace"], what["name"])
            if stored is None and not what.get("optional"):
                raise DemoError(f"volume {volume}: there is no {kind} {what['name']!r} in the pod's namespace; create it first")
            data = contents(stored) if stored else {}
            names = {item["key"]: item["path"] for item in what["items"]} if "items" in what else {key: key for key in data}
            yield from ((path, data[key]) for key, path in names.items() if key in data)
        else:
            raise DemoError(f"volume {volume}: the demo cannot project {kind}")

    def _token(self, pod: Object, audience: str, lifetime_s: int, now: float) -> bytes:
        namespace, account = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
        stored = self._lookup("ServiceAccount", namespace, account)
        if stored is None:
            raise DemoError(f"pod {pod['metadata']['name']}: no ServiceAccount {account!r} in namespace {namespace}")
        return self._signer.token(pod, stored["metadata"]["uid"], audience, lifetime_s, now).encode()


def field_file(pod: Object, path: str, addresses: Addresses) -> bytes:
    """A field as a downward API file holds it; whole maps as sorted lines of key="quoted value"."""
    if path in ("metadata.annotations", "metadata.labels"):
        values = pod["metadata"].get(path.partition(".")[2]) or {}
        return "\n".join(f"{key}={json.dumps(values[key], ensure_ascii=False)}" for key in sorted(values)).encode()
    return field(pod, path, addresses).encode()


_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9, "": 1}


def byte_count(quantity: str | int) -> int:
    """A resource quantity in bytes."""
    text = str(quantity)
    number = text.rstrip("KMGki")
    if text[len(number):] not in _UNITS or not number.isdecimal():
        raise DemoError(f"{text!r} is no size that the demo understands; write for example 4Mi")
    return int(number) * _UNITS[text[len(number):]]


def _replace(path: Path, data: bytes) -> None:
    if path.exists() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(data)
    fresh.chmod(0o644)
    os.replace(fresh, path)
