"""The authority in a Kubernetes Secret: that is where it is kept, and a directory in memory holds it for the issuer and the verbs.

Every file of the directory but the issuance log is one entry of the Secret. `step` makes the two the same: what changed on one side
since they were the same goes to the other, all of it in one write that the API server takes only if nobody changed the Secret
meanwhile; if somebody did, it is read again. Where both sides changed the same file, the Secret's counts, and that is told. So
several issuers can share a Secret, and a verb in one of them (`kubectl exec ... bartizan certs revoke DIR`) reaches the others.

Trust: who can read the Secret can be anybody in the mesh; let nobody but the issuer's account. The directory has to lie in memory, so
that no key gets onto a disk. Attacked by tests/certs/test_secret_store.py and tests/e2e/kubernetes.
Spec: Kubernetes API conventions, concurrency control; core/v1 Secret.
"""

import base64
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import trio

from sidecar.model.errors import ConfigError
from sidecar.model.identity import NAMESPACE, SERVICE_ACCOUNT
from sidecar.model.value import Name

from . import files
from .ca import HTTPS_DOMAINS
from .kubernetes import CONFLICT, NOT_FOUND, Api, ApiError, ApiServer

MEMORY = "/dev/shm"     # a file system in memory, in every Linux process and container
LOOK_EVERY_S = 0.25     # at the directory
ASK_EVERY_S = 10.0      # what the Secret is
RETRY_S = 2.0
TRIES = 5
_FILE = re.compile(r"[a-z0-9][a-z0-9.-]*", re.ASCII)    # no path, and no temporary file

Files = Mapping[str, bytes]


class SecretAuthority(ApiServer, frozen=True, kw_only=True, tag_field="source", tag="secret"):
    """The authority is kept in a Secret.

    Args:
        copy: the directory that holds it; give this one to the verbs.
        roots: a ConfigMap beside the Secret, where the trust bundle is published (`roots_map`); with it an authority that never was
            is made (`first_start`). Empty: neither.
        https_domains: of an authority that is made, where the mesh's own servers may have names.
    """

    namespace: Name
    name: Name
    copy: Name = f"{MEMORY}/bartizan-authority"
    roots: str = ""
    https_domains: tuple[Name, ...] = HTTPS_DOMAINS


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str


class _Secret(msgspec.Struct, frozen=True):
    metadata: _Metadata
    data: dict[str, bytes] = {}     # msgspec reads base64 into bytes


class SecretStore:
    """
    Args:
        directory: where the issuer finds the authority.
    """

    def __init__(self, config: SecretAuthority) -> None:
        self._api = Api(config)
        self._where = place_of(f"{config.namespace}/{config.name}")
        self._path = "/api/v1/namespaces/{}/secrets/{}".format(*self._where)
        self._same: Files = {}      # what both sides held when they were the same
        self.directory = Path(config.copy)

    async def begin(self) -> None:
        """Lay out what the Secret holds, and nothing else. ConfigError if that cannot be."""
        files.make_directory(self.directory)
        if self.directory.stat().st_mode & 0o077 or not is_in_memory(self.directory):
            raise ConfigError("authority.copy", f"{self.directory} is open to others, or not on a file system in memory; keys would get "
                                                "onto a disk. Choose one below an emptyDir with `medium: Memory`, or below /dev/shm")
        try:
            secret = await self._api.get(self._path, _Secret)
        except ApiError as exc:
            if exc.status == NOT_FOUND:
                where = "/".join(self._where)
                raise ConfigError("authority", f"there is no Secret {where}; make one: bartizan certs init --secret {where} "
                                               "--trust-domain NAME | kubectl create -f -") from exc
            raise ConfigError("authority", str(exc)) from exc
        with files.locked(self.directory):
            self._same = _ours(secret.data)
            _lay_out(self.directory, read_files(self.directory), self._same)

    async def run(self) -> None:
        """Keep the two the same, for ever. What fails is told once, and tried again."""
        asked, told = trio.current_time(), ""
        while True:
            await trio.sleep(LOOK_EVERY_S)
            if read_files(self.directory) == self._same and trio.current_time() < asked + ASK_EVERY_S:
                continue
            try:
                await self.step()
                asked, told = trio.current_time(), ""
            except files.Busy:
                pass    # whoever it is will be done by the next look
            except (ApiError, ConfigError) as exc:
                if str(exc) != told:
                    told = str(exc)
                    where = "/".join(self._where)
                    print(f"bartizan: the authority and its Secret {where} differ for now: {told}", file=sys.stderr, flush=True)
                await trio.sleep(RETRY_S)

    async def step(self) -> None:
        """Make the two the same now.

        Raises:
            ApiError: the Secret is not what the directory is; the directory stays as it is.
            files.Busy: somebody is changing the directory.
        """
        for _ in range(TRIES):
            secret = await self._api.get(self._path, _Secret)
            theirs = _ours(secret.data)
            with files.locked(self.directory, wait=False):
                found = read_files(self.directory)
                both, lost = merged(self._same, found, theirs)
                _lay_out(self.directory, found, both)
                self._same = theirs
            for name in lost:
                print(f"bartizan: {name} was changed here and in the Secret {'/'.join(self._where)}; the Secret's counts", file=sys.stderr)
            if both == theirs:
                return
            try:
                await self._write(secret.metadata.resource_version, theirs, both)
            except ApiError as exc:
                if exc.status != CONFLICT:
                    raise
            else:
                self._same = both
                return
        raise ApiError(CONFLICT, f"somebody else changed it {TRIES} times meanwhile")

    async def _write(self, version: str, old: Files, new: Files) -> None:
        changed = {name: _base64(data) for name, data in new.items() if old.get(name) != data}
        gone = dict.fromkeys(old.keys() - new.keys())
        await self._api.patch(self._path, {"metadata": {"resourceVersion": version}, "data": changed | gone}, _Secret)


def merged(base: Files, ours: Files, theirs: Files) -> tuple[Files, list[str]]:
    """What both sides shall hold, and the names of the files where our change is lost to theirs."""
    both: dict[str, bytes] = {}
    lost: list[str] = []
    for name in sorted(base.keys() | ours.keys() | theirs.keys()):
        was, here, there = base.get(name), ours.get(name), theirs.get(name)
        chosen = here if there == was else there
        if chosen != here and here != was:
            lost.append(name)
        if chosen is not None:
            both[name] = chosen
    return both, lost


def read_files(directory: Path) -> Files:
    """What of the directory belongs into the Secret. The issuance log does not: it would outgrow it."""
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if _belongs(path.name) and path.is_file()}


def manifest(namespace: str, name: str, content: Files) -> str:
    """JSON, which kubectl takes as it takes YAML."""
    data = {file: _base64(content[file]) for file in sorted(content)}
    made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name}, "type": "Opaque", "data": data}
    return msgspec.json.format(msgspec.json.encode(made)).decode()


def place_of(text: str) -> tuple[str, str]:
    """(namespace, name) of `NAMESPACE/NAME`, or ConfigError."""
    namespace, _, name = text.partition("/")
    if NAMESPACE.fullmatch(namespace) is None or SERVICE_ACCOUNT.fullmatch(name) is None or len(name) > 253:
        raise ConfigError("secret", f"{text!r} is not NAMESPACE/NAME as Kubernetes has them")
    return namespace, name


def is_in_memory(path: Path) -> bool:
    """Whether the file system is one that has no disk."""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, kind = line.partition(" - ")
        if mount.split()[2] == number:
            return kind.split()[0] in ("tmpfs", "ramfs")
    return False


def _lay_out(directory: Path, found: Files, wanted: Files) -> None:
    """Called under `files.locked`: nobody who changes or publishes anything looks in between."""
    for name, data in wanted.items():
        if found.get(name) != data:
            files.write(directory / name, data, replace=True)
    for name in found.keys() - wanted.keys():
        (directory / name).unlink()


def _ours(data: Files) -> Files:
    return {name: content for name, content in data.items() if _belongs(name)}


def _belongs(name: str) -> bool:
    return _FILE.fullmatch(name) is not None and not name.startswith(files.LOG)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
