"""The namespaces and the processes in them. Run inside namespaces of one's own; nothing needs to be taken down."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .certificates import write_certificates
from .control.rows import Desk
from .edges import SNAPSHOT, endpoint_config, gateway_snapshot
from .errors import BenchError, NotAvailable
from .haproxy import originator_config
from .layout import (
    ADDRESS,
    ANSWER_BYTES,
    BULK_BYTES,
    BULK_PATH,
    GATEWAY,
    LARGE_BYTES,
    LARGE_PATH,
    ORIGIN,
    ORIGINATOR,
    ORIGINATOR_TCP,
    OUTSIDE,
    RPC_PATH,
    SERVICE,
    UID,
    Job,
    Place,
    host_name,
)
from .load import h2load_once_argv
from .measures import FEW_HOSTS, MANY_HOSTS
from .nginx import origin_config, outside_config
from .proxies import Proxy
from .usage import cpu_s, kernel_s, memory_mb

HOST_COUNTS = (1, FEW_HOSTS, MANY_HOSTS)      # the last of each has a name in certificates and for the resolver
READY_WITHIN_S = 30.0
ASK_EVERY_S = 0.002
FOLDER = Path("/run/bartizan-bench")
BEHIND_RULES = ("mesh", "client")
# The interpreter may lie in somebody's home.
AS_PROXY = (
    "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")


class World:
    """
    Args:
        proxy_core, load_core: one for the proxy alone, one for all else.
    """

    def __init__(self, proxy_core: int, load_core: int) -> None:
        self._proxy_core, self._load_core = proxy_core, load_core
        self._folders = 0
        self.certificates = FOLDER / "certificates"
        self.certificates.mkdir(parents=True)
        write_certificates(self.certificates, time.time(), [host_name(count - 1) for count in HOST_COUNTS])
        for file in self.certificates.iterdir():
            os.chown(file, UID, UID)
        self.rpc, self.large = FOLDER / "rpc", FOLDER / "large"      # what load generators send
        self.rpc.write_bytes(rpc_message())
        self.large.write_bytes(bytes(LARGE_BYTES))
        os.sched_setaffinity(0, {load_core})    # what is started inherits it

    def up(self) -> None:
        """The pods with their origins, the packet rules in two of them."""
        # New connections by the thousand leave their ports in TIME_WAIT; none of them may be one that is listened on.
        for name, value in (("ip_local_port_range", "10000 65535"), ("tcp_tw_reuse", "1"), ("ip_forward", "1")):
            Path("/proc/sys/net/ipv4", name).write_text(value)
        run(["ip", "link", "set", "lo", "up"])
        for pod, address in ADDRESS.items():
            for words in (f"netns add {pod}", f"link add {pod} type veth peer name eth0 netns {pod}", f"link set {pod} up",
                          f"addr add {GATEWAY[pod]}/24 dev {pod}", f"-n {pod} link set lo up", f"-n {pod} link set eth0 up",
                          f"-n {pod} addr add {address}/24 dev eth0", f"-n {pod} route add default via {GATEWAY[pod]}"):
                run(["ip", *words.split()])
            self._up_origin(pod, self.place(address))
            if pod in BEHIND_RULES:
                run([*in_pod(pod), sys.executable, "-m", "injector.cli.main", "intercept", "--exempt-uid", str(UID)])
        self._up_outside()

    def _up_origin(self, pod: str, place: Place) -> None:
        for path, size in ((BULK_PATH, BULK_BYTES), (LARGE_PATH, LARGE_BYTES)):
            with open(place.folder / path[1:], "wb") as file:
                file.truncate(size)
        message = place.folder / RPC_PATH[1:]
        message.parent.mkdir()
        message.write_bytes(rpc_message())
        self.start(["nginx", "-p", str(place.folder), "-e", "stderr", "-c", place.write("nginx.conf", origin_config(place))], pod)
        wait_answer(ORIGIN["tcp"], place.address)

    def _up_outside(self) -> None:
        """The host that is approved, by all its names, and the resolver that the mesh names."""
        run(["ip", "addr", "add", f"{OUTSIDE}/32", "dev", "lo"])
        place = self.place(OUTSIDE)
        self.start(["nginx", "-p", str(place.folder), "-e", "stderr", "-c", place.write("nginx.conf", outside_config(place))])
        names = json.dumps({host_name(count - 1): [OUTSIDE] for count in HOST_COUNTS})
        self.start([sys.executable, "-m", "injector.demo.dns", GATEWAY["mesh"], place.write("names.json", names), "/dev/null"])

    def place(self, address: str) -> Place:
        """A new folder for one process of the pod at `address`."""
        self._folders += 1
        folder = FOLDER / str(self._folders)
        folder.mkdir()
        os.chown(folder, UID, UID)
        return Place(folder, address, self.certificates)

    def desk(self) -> Desk:
        """A new one for a row of the control plane, which has the proxy's core."""
        self._folders += 1
        folder = FOLDER / str(self._folders)
        folder.mkdir()
        return Desk(folder, ("taskset", "-c", str(self._proxy_core)))

    def start(self, argv: list[str], pod: str | None = None) -> "subprocess.Popen[bytes]":
        # In a session of its own, so that it can be ended with its children. What it logs goes nowhere, as with all of them.
        return subprocess.Popen([*(in_pod(pod) if pod else []), *argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=sys.stderr, start_new_session=True)

    @contextlib.contextmanager
    def _run(self, argv: list[str], pod: str | None = None) -> "Iterator[subprocess.Popen[bytes]]":
        process = self.start(argv, pod)
        try:
            yield process
        finally:
            end(process)

    def _proxy(self, proxy: Proxy, job: Job, place: Place) -> "contextlib.AbstractContextManager[subprocess.Popen[bytes]]":
        cores = f"{self._proxy_core},{self._load_core}" if job.workers > 1 else str(self._proxy_core)
        return self._run(["taskset", "-c", cores, *AS_PROXY, *proxy.set_up(proxy.program(), job, place)], job.pod)

    def _beside(self, job: Job, place: Place) -> "contextlib.AbstractContextManager[subprocess.Popen[bytes]] | None":
        """Who speaks mTLS with the proxy, if anybody must: for the load generator, or in the pod's place."""
        if job.has_mtls:
            text = originator_config(*job.asked_at, place)
        elif job.kind == "gateway":
            text = endpoint_config(place)
        else:
            return None
        return self._run(["haproxy", "-q", "-f", place.write("haproxy.cfg", text)])

    @contextlib.contextmanager
    def serving(self, proxy: Proxy, job: Job) -> Iterator["Serving"]:
        """The proxy, ready for the job, and where to ask it. NotAvailable if it cannot do it."""
        place = self.place(ADDRESS[job.pod])
        with contextlib.ExitStack() as stack:
            others = []
            beside = self._beside(job, self.place(place.address))
            if beside is not None:
                others.append(stack.enter_context(beside))
            before = time.monotonic()
            processes = [stack.enter_context(self._proxy(proxy, job, place))]
            if job.kind == "call":
                processes.append(stack.enter_context(self._proxy(proxy, Job("http1-mtls"), self.place(ADDRESS["mesh"]))))
            serving = Serving([process.pid for process in processes], job, place, is_forward=proxy.is_forward)
            serving.wait_ready([*processes, *others])
            serving.ready_s = time.monotonic() - before
            yield serving

    @contextlib.contextmanager
    def direct(self) -> Iterator["Serving"]:
        """The way of a call without proxies: from the same pod, by the exempted user, to an application that has no rules before it."""
        yield Serving([], Job("http1"), Place(FOLDER, ADDRESS["plain"], self.certificates), where=(*in_pod("client"), *AS_PROXY))


class Serving:
    """A proxy, or two, that are ready.

    Args:
        pids: of the proxies.
        place: with the files of the first.
        where: begins the command that asks it.
        is_forward: it is to be asked by absolute URL.

    Attributes:
        host, port: where a load generator asks; another one than the proxy if that speaks TLS.
        ready_s: how long it took from the start to the first answer.
    """

    def __init__(self, pids: list[int], job: Job, place: Place, where: Sequence[str] = (), *, is_forward: bool = False) -> None:
        self.pids, self.job, self.path, self.place, self.is_forward = pids, job, job.path, place, is_forward
        self.where = list(where) or (in_pod(job.pod) if job.kind in ("call", "origination") else [])
        self._name = job.names[-1] if job.kind == "gateway" else ""
        self.host, self.port = job.asked_at if pids else (place.address, ORIGIN[job.kind])
        if job.has_mtls:
            self.host, self.port = "127.0.0.1", ORIGINATOR_TCP if job.is_tcp else ORIGINATOR
        self.ready_s = 0.0

    @property
    def authority(self) -> str:
        """What Host says, where that is not the URL's."""
        if self.is_forward:
            return "{}:{}".format(*self.job.asked_at)
        return self.job.names[-1] if self.job.kind == "origination" else ""

    def url(self, port: int | None = None, path: str = "") -> str:
        return f"https://{self._name}{self.path}" if self._name else f"http://{self.host}:{port or self.port}{path or self.path}"

    @property
    def target(self) -> str:
        """The request's: of a forward proxy the whole URL, which names the application."""
        return f"http://{self.authority}{self.path}" if self.is_forward else self.path

    @property
    def connect_to(self) -> str:
        """Where the host of the URL is; empty: it is that."""
        return f"{self.host}:{self.port}" if self._name else ""

    def cpu_s(self) -> float:
        return sum(map(cpu_s, self.pids))

    def kernel_s(self) -> float:
        return sum(map(kernel_s, self.pids))

    def memory_mb(self) -> tuple[float, float]:
        """(resident, unshared)"""
        resident, unshared = zip(*map(memory_mb, self.pids), strict=True)
        return sum(resident), sum(unshared)

    def wait_ready(self, processes: "Sequence[subprocess.Popen[bytes]]") -> None:
        kind = self.job.kind
        if kind == "gateway":
            once = h2load_once_argv(self.url(), connect_to=self.connect_to)
            wait_h2load(once, processes, "it leads to no pod", READY_WITHIN_S)
        elif kind == "http2":
            wait_h2load(h2load_once_argv(self.url()), processes, "it does not answer HTTP/2 with prior knowledge")
        elif self.where:
            once = [*self.where, *h2load_once_argv(self.url(), self.authority or SERVICE)]
            wait_h2load(once, processes, "it leads nowhere", READY_WITHIN_S)
        else:
            wait_answer(self.port, self.host, self.target, processes)

    def in_force_s(self, job: Job) -> float:
        """How long from another snapshot's coming until its last rule is in force, of a gateway of ours.

        Args:
            job: with more hosts.
        """
        text = gateway_snapshot(job, self.place)
        before = time.monotonic()
        os.replace(self.place.write("next.json", text), self.place.folder / SNAPSHOT)
        once = h2load_once_argv(f"https://{job.names[-1]}/", connect_to=self.connect_to)
        wait_h2load(once, (), "its new rules are not in force", READY_WITHIN_S)
        return time.monotonic() - before


def rpc_message() -> bytes:
    """Of gRPC: not compressed, its length, protobuf of one field."""
    field = b"\x0a" + bytes([ANSWER_BYTES & 0x7F | 0x80, ANSWER_BYTES >> 7]) + b"x" * ANSWER_BYTES
    return b"\0" + len(field).to_bytes(4, "big") + field


def in_pod(pod: str) -> list[str]:
    return ["nsenter", f"--net=/run/netns/{pod}"]


def run(argv: list[str]) -> str:
    """A program that must succeed; its standard output."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"`{' '.join(argv)}` failed: {done.stderr.strip() or done.returncode}")
    return done.stdout


def end(process: "subprocess.Popen[bytes]") -> None:
    """With its children, at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _until_ready(processes: "Sequence[subprocess.Popen[bytes]]", within_s: float) -> Iterator[None]:
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        yield
        for process in processes:
            if process.poll() is not None:
                raise NotAvailable(f"ended at once, exit status {process.returncode}: {process.args!r}")
        time.sleep(ASK_EVERY_S)


def wait_answer(port: int, host: str, path: str = "/", processes: "Sequence[subprocess.Popen[bytes]]" = ()) -> None:
    """Until a GET is answered with 200."""
    last = "nothing"
    for _ in _until_ready(processes, READY_WITHIN_S):
        connection = http.client.HTTPConnection(host, port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status == 200:
                return
            last = f"{answer.status} {answer.getheader('x-bartizan-reason', '')}".strip()
        except (OSError, http.client.HTTPException) as exc:
            last = str(exc) or type(exc).__name__
        finally:
            connection.close()
    raise NotAvailable(f"no answer within {READY_WITHIN_S:g} s; the last was: {last}")


def wait_h2load(argv: list[str], processes: "Sequence[subprocess.Popen[bytes]]", words: str, within_s: float = 5.0) -> None:
    """Until the one request of `argv` succeeds. NotAvailable, with `words`, if none does."""
    for _ in _until_ready(processes, within_s):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if ", 1 succeeded," in done.stdout and "1 2xx" in done.stdout:
            return
    raise NotAvailable(words)


def open_connections(host: str, port: int, path: str, count: int) -> list[socket.socket]:
    """As many keep-alive connections that each have had one answer."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    opened = []
    for _ in range(count):
        sock = socket.create_connection((host, port), timeout=10)
        opened.append(sock)
        sock.sendall(request)
        if not sock.recv(65536).startswith(b"HTTP/1.1 200"):
            raise NotAvailable(f"connection {len(opened)} was not answered with 200")
    return opened


def download(host: str, port: int, path: str, seconds: float) -> int:
    """Bytes that one connection brought in that time, the same file again and again."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    buffer = bytearray(1 << 20)
    total = left = 0
    with socket.create_connection((host, port), timeout=10) as sock:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not left:
                sock.sendall(request)
                head = sock.recv(4096, socket.MSG_PEEK)
                sock.recv(head.index(b"\r\n\r\n") + 4)     # nginx sends a head whole
                left = BULK_BYTES
            count = sock.recv_into(buffer, min(left, len(buffer)))
            if not count:
                raise NotAvailable("the connection ended in the middle")
            left -= count
            total += count
    return total
