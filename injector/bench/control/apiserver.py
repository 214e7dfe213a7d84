"""A real API server with its etcd, as long as a row lasts: no node, so pods are what we say that they are."""

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import trio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from injector.bench.certificates import HERE
from injector.bench.errors import BenchError, NotAvailable
from injector.bench.proxies import INSTALL, SOURCE
from injector.cli.schema import definitions
from injector.cluster.kinds import KINDS
from sidecar.model.errors import MeshError
from sidecar.net.tls_context import load_certificates

from .caller import Caller
from .objects import Object
from .store import Pods

READY_S = 60.0
AT_ONCE = 4     # objects in the making
PORT, ETCD, ETCD_PEER = 6443, 2379, 2380

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bartizan"     # where `.ci/setup` builds it
MODULES = SOURCE / "tests" / "e2e" / "kubernetes" / "go.mod"


def program(modules: Path = MODULES, cache: Path = CACHE) -> str:
    """The API server of the version that the end-to-end tests run with. NotAvailable if it, or etcd, is not there."""
    if shutil.which("etcd") is None:
        raise NotAvailable(f"etcd is not installed; {INSTALL}")
    version = re.search(r"^\t?(?:require )?k8s\.io/kubernetes v(\S+)", modules.read_text() if modules.exists() else "", re.MULTILINE)
    found = cache / f"kubernetes-{version[1]}" / "kube-apiserver" if version else cache
    if not found.is_file():
        raise NotAvailable(f"kube-apiserver is not built; {INSTALL}")
    return str(found)


class ApiServer:
    """A store whose changes are acknowledged by it.

    Args:
        processes: what it is, and where each says why it ended.
    """

    def __init__(
        self, folder: Path, certificates: Path, token: str, processes: "Mapping[Path, subprocess.Popen[bytes]]",
    ) -> None:
        self._processes = processes
        self._roots = certificates / "roots.pem"
        self._token = folder / "token"
        self._token.write_text(token)
        self._url = f"https://{HERE}:{PORT}"

    def source(self) -> Mapping[str, Any]:
        return {"kubernetes": {"server": self._url, "caFile": str(self._roots), "tokenFile": str(self._token)}}

    def caller(self) -> Caller:
        return Caller(self._url, load_certificates(self._roots.read_bytes(), "roots"), self._token.read_text())

    async def begin(self) -> None:
        """Until it is ready, and knows our kinds of objects."""
        caller = self.caller()
        await self._until_found(caller, "/api/v1/namespaces/kube-system")
        for made in definitions()["items"]:
            await _done(caller, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", made)
        for kind in KINDS:
            if not kind.is_optional:
                await self._until_found(caller, f"{kind.prefix}/{kind.plural}?limit=1")
        caller.close()

    async def fill(self, objects: Iterable[Object]) -> Pods:
        """In their order by kind; what is of one kind, some at a time."""
        caller = self.caller()
        limit = trio.CapacityLimiter(AT_ONCE)
        pods: dict[tuple[str, str], str] = {}

        async def make(made: Object) -> None:
            async with limit:
                found = await _done(caller, "POST", _folder(made), made)
                if made["kind"] == "Pod":
                    await _done(caller, "PATCH", f"{_path(made)}/status", {"status": made["status"]})
                    pods[made["metadata"]["namespace"], made["metadata"]["name"]] = found["metadata"]["uid"]

        kinds: dict[str, list[Object]] = {}
        for made in objects:
            kinds.setdefault(made["kind"], []).append(made)
        for of_kind in (kinds.pop("Namespace", []), *kinds.values()):
            async with trio.open_nursery() as nursery:
                for made in of_kind:
                    nursery.start_soon(make, made)
        caller.close()
        return pods

    async def put(self, made: Object) -> None:
        caller = self.caller()
        await _done(caller, "PATCH", _path(made), made)
        caller.close()

    async def _until_found(self, caller: Caller, target: str) -> None:
        with trio.fail_after(READY_S):
            while True:
                try:
                    if (await caller.call("GET", target))[0] == 200:
                        return
                except MeshError:    # it does not listen yet
                    self._require_running()
                await trio.sleep(0.1)

    def _require_running(self) -> None:
        for log, process in self._processes.items():
            if process.poll() is not None:
                says = (log.read_text(errors="replace").strip().splitlines() or ["nothing"])[-1]
                raise NotAvailable(f"{log.stem} has ended; it says: {says[:300]}")


async def _done(caller: Caller, method: str, target: str, body: Object) -> Object:
    """Raises BenchError unless it is."""
    content = b"application/merge-patch+json" if method == "PATCH" else b"application/json"
    status, text = await caller.call(method, target, json.dumps(body).encode(), content)
    if not 200 <= status < 300:
        raise BenchError(f"the API server answers {method} {target} with {status}: {text[:300].decode(errors='replace')}")
    return dict(json.loads(text))


def _folder(made: Object) -> str:
    kind = next(kind for kind in KINDS if kind.name == made["kind"])
    namespace = made["metadata"].get("namespace")
    return f"{kind.prefix}/namespaces/{namespace}/{kind.plural}" if namespace else f"{kind.prefix}/{kind.plural}"


def _path(made: Object) -> str:
    return f"{_folder(made)}/{made['metadata']['name']}"


@contextmanager
def api_server(folder: Path, certificates: Path) -> Iterator[ApiServer]:
    """
    Args:
        folder: for its files; exists.
    """
    executable = program()
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (folder / "accounts.key").write_bytes(key)
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f'{token},bench,1,"system:masters"\n')
    etcd = f"http://127.0.0.1:{ETCD}"
    peer = f"http://127.0.0.1:{ETCD_PEER}"
    with ExitStack() as stack:
        of_etcd, of_server = folder / "etcd.log", folder / "kube-apiserver.log"
        processes = {of_etcd: _start(
            stack, of_etcd, "etcd", "--data-dir", str(folder / "etcd"), "--listen-client-urls", etcd, "--advertise-client-urls", etcd,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}", "--unsafe-no-fsync",
        ), of_server: _start(
            stack, of_server, executable, "--etcd-servers", etcd, "--bind-address=127.0.0.1", f"--secure-port={PORT}",
            f"--tls-cert-file={certificates}/here.pem", f"--tls-private-key-file={certificates}/here.key",
            "--advertise-address=192.0.2.1",    # to nobody: where there is no way out it would find none by itself
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={folder}/accounts.key",
            f"--service-account-signing-key-file={folder}/accounts.key", f"--token-auth-file={folder}/tokens.csv",
            # No controller makes accounts here, and no scheduler priorities.
            "--authorization-mode=RBAC", "--anonymous-auth=false", "--disable-admission-plugins=ServiceAccount",
            "--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none", "--enable-priority-and-fairness=false",
        )}
        made = ApiServer(folder, certificates, token, processes)
        trio.run(made.begin)
        yield made


def _start(stack: ExitStack, log: Path, *command: str) -> "subprocess.Popen[bytes]":
    out = stack.enter_context(log.open("wb"))
    process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out))
    stack.callback(process.kill)
    return process
