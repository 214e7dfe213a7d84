"""The trust bundle as a ConfigMap, for who starts before it can ask the issuer: kept what the issuer publishes, whoever changes it.

Several issuers keep the same one, and do not hear of a change at the same moment: beside the roots stands the version of the trust
that they are of, and nobody replaces a newer one.
"""

import sys

import msgspec
import trio

from sidecar.net.watched import Watched

from .files import ROOTS
from .kubernetes import CONFLICT, NOT_FOUND, Api, ApiError
from .secret_store import SecretAuthority
from .trust import Standing

LOOK_EVERY_S = 10.0
RETRY_S = 2.0
VERSION = "trust-version"   # beside the roots


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str


class _Map(msgspec.Struct, frozen=True):
    metadata: _Metadata
    data: dict[str, str] = {}

    @property
    def version(self) -> int:
        text = self.data.get(VERSION, "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


class RootsMap:
    def __init__(self, config: SecretAuthority, *, retry_s: float = RETRY_S) -> None:
        self._api = Api(config)
        self._retry_s = retry_s
        self._path = f"/api/v1/namespaces/{config.namespace}/configmaps/{config.roots}"
        self._where = config.namespace, config.roots

    async def run(self, standing: Watched[Standing]) -> None:
        """For ever. What fails is told once, and tried again."""
        told = ""
        while True:
            current = standing.current
            try:
                await self.publish(current.trust.roots, current.trust.version)
            except ApiError as exc:
                if exc.status != CONFLICT and str(exc) != told:     # after a conflict: what the other one wrote is looked at
                    told, where = str(exc), "/".join(self._where)
                    print(f"bartizan: the roots are not published in ConfigMap {where}: {told}", file=sys.stderr, flush=True)
                await trio.sleep(self._retry_s)
            else:
                told = ""
                with trio.move_on_after(LOOK_EVERY_S):
                    await standing.wait_change(current)

    async def publish(self, roots: str, version: int) -> None:
        """Write them unless they are there already, or those of a newer trust. Raises: ApiError."""
        namespace, name = self._where
        path, data = self._path, {ROOTS: roots, VERSION: str(version)}
        try:
            found = await self._api.get(path, _Map)
        except ApiError as exc:
            if exc.status != NOT_FOUND:
                raise
            labels = {"app.kubernetes.io/part-of": "bartizan"}
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name, "labels": labels}}
            await self._api.apply(path, {**made, "data": data}, _Map, manager="bartizan-issuer")
            return
        if found.version > version or {key: found.data.get(key) for key in data} == data:
            return
        await self._api.patch(path, {"metadata": {"resourceVersion": found.metadata.resource_version}, "data": data}, _Map)
