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
from .layout import ADDRESS, BULK_BYTES, BULK_PATH, BYPASS_MARK, GATEWAY, ORIGIN, ORIGINATOR, OUTSIDE, Job, Place, host_name
from .load import h2load_once_argv
from .measures import FEW_HOSTS, MANY_HOSTS
from .nginx import origin_config, outside_config
from .proxies import OURS, Proxy

HOST_COUNTS = (1, FEW_HOSTS, MANY_HOSTS)      # the last of each has a name in certificates and for the resolver
READY_WITHIN_S = 30.0
ASK_EVERY_S = 0.002
FOLDER = Path("/run/bartizan-bench")


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
        os.sched_setaffinity(0, {load_core})    # what is started inherits it

    def up(self) -> None:
        """Both pods with their origins, the packet rules in one of them."""
        # New connections by the thousand leave their ports in TIME_WAIT; none of them may be one that is listened on.
        for name, value in (("ip_local_port_range", "10000 65535"), ("tcp_tw_reuse", "1")):
            Path("/proc/sys/net/ipv4", name).write_text(value)
        run(["ip", "link", "set", "lo", "up"])
        for pod, address in ADDRESS.items():
            for words in (f"netns add {pod}", f"link add {pod} type veth peer name eth0 netns {pod}", f"link set {pod} up",
                          f"addr add {GATEWAY[pod]}/24 dev {pod}", f"-n {pod} link set lo up", f"-n {pod} link set eth0 up",
                          f"-n {pod} addr add {address}/24 dev eth0", f"-n {pod} route add default via {GATEWAY[pod]}"):
                run(["ip", *words.split()])
            place = self.place(address)
            with open(place.folder / BULK_PATH[1:], "wb") as file:
                file.truncate(BULK_BYTES)
            self.start(["nginx", "-p", str(place.folder), "-e", "stderr", "-c", place.write("nginx.conf", origin_config(place))], pod)
            wait_answer(ORIGIN["tcp"], address)
        self._up_outside()
        run([*in_pod("mesh"), sys.executable, "-m", "injector.cli.main", "intercept", "--exempt-mark", str(BYPASS_MARK)])

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
    def serving(self, proxy: Proxy, job: Job) -> Iterator["Serving"]:
        """The proxy, ready for the job, and where to ask it. NotAvailable if it cannot do it."""
        pod = proxy.pod(job)
        place = self.place(ADDRESS[pod])
        cores = f"{self._proxy_core},{self._load_core}" if job.workers > 1 else str(self._proxy_core)
        argv = ["taskset", "-c", cores, *proxy.set_up(proxy.program(), job, place)]
        other = None        # that speaks mTLS, on one side or the other
        host, port = place.address, proxy.port(job)
        beside = self.place(place.address)
        if job.kind == "http1-mtls":
            other = self.start(["haproxy", "-q", "-f", beside.write("haproxy.cfg", originator_config(host, port, beside))])
            host, port = "127.0.0.1", ORIGINATOR
        if job.kind == "gateway":
            other = self.start(["haproxy", "-q", "-f", beside.write("haproxy.cfg", endpoint_config(beside))])
        leaves = job.kind == "origination"
        if leaves and proxy.name == OURS:
            host = OUTSIDE
        before = time.monotonic()
        process = self.start(argv, pod)
        processes = [process, *([other] if other else [])]
        serving = Serving(process.pid, host, port, job, place, in_pod(pod) if leaves else [])
        try:
            url = serving.url()
            if job.kind == "gateway":
                wait_h2load(h2load_once_argv(url, connect_to=serving.connect_to), processes, "it leads to no pod", READY_WITHIN_S)
            elif job.kind == "http2":
                wait_h2load(h2load_once_argv(url), processes, "it does not answer HTTP/2 with prior knowledge")
            elif leaves:
                once = [*serving.where, *h2load_once_argv(url, job.names[-1])]
                wait_h2load(once, processes, "it leads to no host outside", READY_WITHIN_S)
            else:
                wait_answer(port, host, job.path, processes)
            serving.ready_s = time.monotonic() - before
            yield serving
        finally:
            for one in processes:
                end(one)


class Serving:
    """A proxy that is ready.

    Args:
        host, port: where to ask, what `job` says.
        place: with its files.
        where: begins the command that asks it: of an application in its pod.

    Attributes:
        ready_s: how long it took from its start to its first answer.
    """

    def __init__(self, pid: int, host: str, port: int, job: Job, place: Place, where: Sequence[str]) -> None:
        self.pid, self.host, self.port, self.path, self.place, self.where = pid, host, port, job.path, place, where
        self._name = job.names[-1] if job.kind == "gateway" else ""
        self.ready_s = 0.0

    def url(self, port: int | None = None) -> str:
        return f"https://{self._name}{self.path}" if self._name else f"http://{self.host}:{port or self.port}{self.path}"

    @property
    def connect_to(self) -> str:
        """Where the host of the URL is; empty: it is that."""
        return f"{self.host}:{self.port}" if self._name else ""


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
