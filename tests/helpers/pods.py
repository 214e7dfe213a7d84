"""Pods with real packet rules and real sidecars on one bridge, for clients and servers that know nothing of a mesh.

    node   10.44.0.1, 203.0.113.1    the bridge, the router, and the name server
    pods   10.44.0.0/24              each in its own namespaces; their Services are 10.96.0.0/16
    host   203.0.113.0/24            outside, without a sidecar

Applications run as one ordinary user and sidecars as another; both may read this repository wherever it lies, and nothing more.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from injector.demo.modes import search_path
from sidecar.model.config import Config, FileIdentity, Probe, SnapshotFile
from sidecar.model.ports import HEALTH
from sidecar.model.snapshot import Snapshot, render_snapshot
from tests.helpers import pki
from tests.helpers.netns import Namespace

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
BARTIZAN = (sys.executable, "-m", "injector.cli.main")
APP_UID, SIDECAR_UID = 1000, 1500
NODE = "10.44.0.1"
ROUTER = "203.0.113.1"
BRIDGE = "mesh0"
CALL_WITHIN_S = 60.0
WITHIN_S = 20.0

Record = dict[str, Any]


def wait_until(holds: Callable[[], T], what: Callable[[], str], within_s: float = WITHIN_S) -> T:
    """What `holds` returns once it is true of a program that does not say when: it is looked at again and again."""
    end = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < end, what()
        time.sleep(0.02)
    return found


@dataclass
class AccessLog:
    """What a sidecar wrote down."""

    path: Path

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def since(self, offset: int) -> list[Record]:
        """Whole lines only: the last one may be on its way."""
        with self.path.open("rb") as file:
            file.seek(offset)
            return [json.loads(line) for line in file.read().splitlines(keepends=True) if line.endswith(b"\n")]


class Pod(Namespace):
    """Network and resolv.conf of its own; whatever runs in it is ended with it.

    Args:
        router: where the rest of the world is.
    """

    def __init__(self, stack: ExitStack, node: Namespace, folder: Path, name: str, address: str, router: str = NODE) -> None:
        super().__init__(stack, "--mount")
        self.name, self.address, self.folder = name, address, folder / name
        self._stack = stack
        for path in (self.folder, self.folder / "sidecar", self.folder / "app"):
            path.mkdir()
        _give(self.folder / "sidecar", SIDECAR_UID)
        _give(self.folder / "app", APP_UID)
        self.log = AccessLog(self.folder / "sidecar" / "access.jsonl")
        self.set(ipv6__conf__all__accept_dad="0", ipv6__conf__default__accept_dad="0", ipv4__ip_unprivileged_port_start="0")
        node.run(f"ip link add {name} type veth peer name eth0 netns {self.pid}")
        node.run(f"ip link set {name} master {BRIDGE} up")
        for command in ("link set lo up", "link set eth0 up", f"addr add {address}/24 dev eth0", f"route add default via {router}"):
            self.run(f"ip {command}")
        self._instead_of("/etc/resolv.conf", f"nameserver {NODE}\noptions attempts:2 timeout:3\n")
        # Some programs want their user to have a name; the machine need not know one.
        self._instead_of("/etc/passwd", f"root:x:0:0::/root:/bin/sh\napp:x:{APP_UID}:{APP_UID}::{self.app_folder}:/bin/sh\n")

    def _instead_of(self, path: str, text: str) -> None:
        """What the machine's file says in here."""
        own = self.folder / Path(path).name
        own.write_text(text)
        subprocess.run(["nsenter", f"--target={self.pid}", "--mount", "mount", "--bind", own, path], check=True)

    @property
    def app_folder(self) -> Path:
        """Belongs to the application."""
        return self.folder / "app"

    def argv(self, *command: str | Path, uid: int = APP_UID) -> list[str]:
        """The command line that runs `command` in here as an ordinary user who may read any file."""
        only = "-all,+dac_read_search"
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "setpriv", f"--reuid={uid}", f"--regid={uid}",
                "--clear-groups", f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}", *map(str, command)]

    def start(self, name: str, *command: str | Path, uid: int = APP_UID, output: Path | None = None,
              environment: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
        """Run `command` until the pod ends. What it says is in NAME.log; standard output in `output`, where that is given."""
        with ExitStack() as files:
            log = files.enter_context((self.folder / f"{name}.log").open("ab"))
            out = files.enter_context(output.open("ab")) if output else log
            process = self._stack.enter_context(subprocess.Popen(
                self.argv(*command, uid=uid), stdin=subprocess.DEVNULL, stdout=out, stderr=log,
                env={**_environment(), **(environment or {})}))
        self._stack.callback(process.kill)
        return process

    def serve(self, port: int, name: str, *command: str | Path) -> None:
        """Start a server; returns when it listens on `port`."""
        process = self.start(name, *command)
        log = self.folder / f"{name}.log"
        wait_until(lambda: process.poll() is not None or self.listens(port),
                   lambda: f"{name} does not listen on {port}: {log.read_text()}")
        assert process.poll() is None, f"{name} has ended: {log.read_text()}"

    def listens(self, port: int) -> bool:
        lines = [line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/{self.pid}/net/{kind}").read_text().splitlines()[1:]]
        return any(line[1].endswith(f":{port:04X}") and line[3] == "0A" for line in lines)

    def run_app(self, *command: str | Path, stdin: bytes = b"", within_s: float = CALL_WITHIN_S,
                environment: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[bytes]":
        """Run a client to its end, whatever that is."""
        return subprocess.run(self.argv(*command), input=stdin, capture_output=True, timeout=within_s,
                              env={**_environment(), **(environment or {})})

    def call(self, *command: str | Path, stdin: bytes = b"", within_s: float = CALL_WITHIN_S,
             environment: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[bytes]":
        """Run a client that must succeed."""
        done = self.run_app(*command, stdin=stdin, within_s=within_s, environment=environment)
        line = " ".join(map(str, command))
        assert done.returncode == 0, f"{line[:500]}: status {done.returncode}: {done.stderr[-1000:].decode()}{done.stdout[-1000:]!r}"
        return done


class MeshedPod(Pod):
    """A pod whose packet rules are loaded and whose sidecar is ready."""

    def __init__(self, stack: ExitStack, node: Namespace, folder: Path, name: str, root: pki.Holder, snapshot: Snapshot,
                 drain_s: float = 5.0, probes: Mapping[str, Probe] = MappingProxyType({})) -> None:
        (address,) = snapshot.workload.addresses
        super().__init__(stack, node, folder, name, address)
        self.identity = snapshot.workload.identity
        own = self.folder / "sidecar"
        holder = pki.issue(root, pki.uri(self.identity))
        config = Config(
            admin_socket=str(own / "admin.sock"), snapshot=SnapshotFile(str(own / "snapshot.json")), drain_s=drain_s, probes=dict(probes),
            identity=FileIdentity(str(own / "chain.pem"), str(own / "key.pem"), str(own / "roots.pem")))
        for file, text in (("chain.pem", holder.chain_pem), ("key.pem", holder.key_pem), ("roots.pem", pki.pem(root.chain)),
                           ("snapshot.json", render_snapshot(snapshot).decode()), ("config.json", msgspec.json.encode(config).decode())):
            (own / file).write_text(text)
        self.run(f"{' '.join(BARTIZAN)} intercept --exempt-uid {SIDECAR_UID}")
        self.sidecar = self.start("sidecar", *BARTIZAN, "sidecar", "--config", own / "config.json",
                                  uid=SIDECAR_UID, output=self.log.path, environment={"PYTHONPATH": str(ROOT)})
        ask = ["nsenter", f"--target={node.pid}", "--net", "curl", "-sS", "--max-time", "2", f"http://{address}:{HEALTH}/healthz/ready"]

        def answer() -> bytes:
            return subprocess.run(ask, capture_output=True).stdout

        wait_until(lambda: answer() == b"ready\n", lambda: f"{name}: {answer()!r} {self.complaints()}")

    def complaints(self) -> str:
        """What the sidecar wrote to standard error."""
        return (self.folder / "sidecar.log").read_text()

    @contextmanager
    def grows_at_most(self, more_bytes: int) -> Iterator[None]:
        """The sidecar's memory, at its highest while the block runs."""
        process = Path(f"/proc/{self.sidecar.pid}")

        def peak() -> int:
            """The highest since it was last reset."""
            found = re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
            assert found
            return int(found[1]) * 1024

        (process / "clear_refs").write_text("5")
        before = peak()
        yield
        assert peak() - before <= more_bytes


@dataclass(frozen=True)
class Evidence:
    """What the sidecars wrote down since this was made.

    Args:
        begun: where each log ended then.
    """

    begun: Mapping[Pod, int]

    @staticmethod
    def from_now(pods: Iterable[Pod]) -> "Evidence":
        return Evidence({pod: pod.log.size() for pod in pods})

    def told(self, pod: Pod, **known: object) -> list[Record]:
        """The records with these values; `port` is that of `dst`."""
        port = known.pop("port", None)
        return [record for record in pod.log.since(self.begun[pod])
                if all(record.get(name, "") == value for name, value in known.items())
                and (port is None or record["dst"].endswith(f":{port}"))]

    def wait_told(self, pod: Pod, count: int = 1, **known: object) -> list[Record]:
        """As `told`, once there are so many: a record is written when what it is about has ended."""
        return wait_until(lambda: found if len(found := self.told(pod, **known)) >= count else None,
                          lambda: f"{pod.name} has told less than {count} of {known}: {pod.log.since(self.begun[pod])}") or []

    def carried(self, caller: MeshedPod, server: MeshedPod, count: int = 1, **known: object) -> list[tuple[Record, Record]]:
        """Exactly `count` exchanges that the sidecars of both carried, over mTLS, each knowing who the other is; in pairs."""
        out = self.wait_told(caller, count, direction="outbound", peer=server.identity, **known)
        entered = self.wait_told(server, count, direction="inbound", peer=caller.identity, **known)
        assert [record["security"] for record in (*out, *entered)] == ["mtls"] * 2 * count
        assert {record.get("tls") for record in (*out, *entered)} == {"TLSv1.3"}
        by_id = {record["request_id"]: record for record in entered}
        assert by_id.keys() == {record["request_id"] for record in out}
        return [(record, by_id[record["request_id"]]) for record in out]

    def tunnelled(self, caller: MeshedPod, server: MeshedPod, port: int, count: int = 1) -> list[tuple[Record, Record]]:
        """As `carried`, of opaque connections, which carry nothing by which the two sides' records could be paired but their bytes."""
        out = self.wait_told(caller, count, direction="outbound", peer=server.identity, port=port)
        entered = self.wait_told(server, count, direction="inbound", peer=caller.identity, port=port)
        assert [record["security"] for record in (*out, *entered)] == ["mtls"] * 2 * count
        assert not any(record.get("method") for record in (*out, *entered))

        def by_bytes(record: Record) -> tuple[int, int]:
            return record.get("received", 0), record.get("sent", 0)

        pairs = list(zip(sorted(out, key=by_bytes), sorted(entered, key=by_bytes), strict=True))
        assert all(by_bytes(one) == by_bytes(other) for one, other in pairs), pairs
        return pairs


def node(stack: ExitStack, folder: Path, names: Mapping[str, str]) -> Namespace:
    """The router, and the name server that knows `names`."""
    made = Namespace(stack)
    made.set(ipv4__ip_forward="1", ipv6__conf__all__accept_dad="0", ipv6__conf__default__accept_dad="0")
    # An address of its own: else it takes that of some pod, and another one's when that pod goes.
    for command in ("link set lo up", f"link add {BRIDGE} address 02:00:00:00:00:01 type bridge", f"link set {BRIDGE} up",
                    f"addr add {NODE}/24 dev {BRIDGE}", f"addr add {ROUTER}/24 dev {BRIDGE}"):
        made.run(f"ip {command}")
    with (folder / "names.log").open("ab") as log, made.entered():
        server = stack.enter_context(subprocess.Popen(
            ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=",
             # Both, for a name that has no IPv6 address exists all the same.
             *(option for name, address in names.items() for option in (f"--host-record={name},{address}", f"--local=/{name}/"))],
            stdout=log, stderr=log))
    stack.callback(server.kill)
    return made


def _environment() -> dict[str, str]:
    """Nothing of the machine's proxies, certificates and paths but the path to programs."""
    return {"PATH": search_path(), "LANG": "C.UTF-8", "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}


def _give(path: Path, uid: int) -> None:
    os.chown(path, uid, uid)
