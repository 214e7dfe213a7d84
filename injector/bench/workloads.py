"""What is measured. A workload is a function that serves one job and returns numbers; one entry in WORKLOADS adds one."""

import contextlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from sidecar.model.errors import MeshError

from .control import rows as control
from .errors import NotAvailable
from .issuance import Issuance
from .layout import BULK_PATH, ORIGINATOR_NEW, Job
from .load import Load, h2load_argv, read_h2load, read_wrk, wrk_argv
from .measures import FEW_HOSTS, FEW_ROUTES, MANY_HOSTS, MANY_ROUTES, OPEN, Numbers
from .proxies import OURS, Proxy
from .usage import cpu_s, memory_mb
from .world import FOLDER, Serving, World, download, open_connections

WARM_UP_S = 1.0
CONNECTIONS = 32
PACED_CONNECTIONS, PACED_PER_S = 8, 1000

@dataclass(frozen=True, slots=True)
class Workload:
    """
    Args:
        unit: what CPU and `per s` are counted by.
        run: serves with the proxy for about so many seconds. Raises NotAvailable.
    """

    name: str
    title: str
    unit: str
    run: Callable[[World, Proxy, float], Numbers]


def _measured(serving: Serving, ask: Callable[[float], Load], seconds: float) -> Numbers:
    """A short run to warm up, then one that counts."""
    ask(WARM_UP_S)
    before = cpu_s(serving.pid)
    load = ask(seconds)
    used = cpu_s(serving.pid) - before
    return {"cpu_us": used / load.requests * 1e6, "p50_us": load.p50_us, "p99_us": load.p99_us, "per_s": load.per_s,
            "resident_mb": memory_mb(serving.pid)[0]}


def _says(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotAvailable(f"{argv[0]} failed: {(done.stderr or done.stdout).strip()[-200:]}")
    return done.stdout


def _wrk(url: str, connections: int) -> Callable[[float], Load]:
    return lambda seconds: read_wrk(_says(wrk_argv(url, connections, seconds)))


def _h2load(
    url: str, connections: int, streams: int, *, is_http1: bool = False, per_s: float | None = None, connect_to: str = ""
) -> Callable[[float], Load]:
    def ask(seconds: float) -> Load:
        log = FOLDER / "h2load.log"
        log.unlink(missing_ok=True)
        text = _says(h2load_argv(url, connections=connections, streams=streams, seconds=seconds, log=str(log), is_http1=is_http1,
                                 per_s=per_s, connect_to=connect_to))
        with open(log) as lines:
            return read_h2load(text, lines)

    return ask


def http1(world: World, proxy: Proxy, seconds: float) -> Numbers:
    with world.serving(proxy, Job("http1")) as serving:
        return _measured(serving, _wrk(serving.url(), CONNECTIONS), seconds)


def http1_paced(world: World, proxy: Proxy, seconds: float) -> Numbers:
    with world.serving(proxy, Job("http1")) as serving:
        ask = _h2load(serving.url(), PACED_CONNECTIONS, 1, is_http1=True, per_s=PACED_PER_S / PACED_CONNECTIONS)
        return _measured(serving, ask, seconds)


def http1_mtls(world: World, proxy: Proxy, seconds: float) -> Numbers:
    with world.serving(proxy, Job("http1-mtls")) as serving:
        return _measured(serving, _wrk(serving.url(), CONNECTIONS), seconds)


def mtls_new(world: World, proxy: Proxy, seconds: float) -> Numbers:
    with world.serving(proxy, Job("http1-mtls")) as serving:
        return _measured(serving, _wrk(serving.url(ORIGINATOR_NEW), 8), seconds)


def http2_one(world: World, proxy: Proxy, seconds: float) -> Numbers:
    with world.serving(proxy, Job("http2")) as serving:
        return _measured(serving, _h2load(serving.url(), 1, 1), seconds)


def http2_many(world: World, proxy: Proxy, seconds: float) -> Numbers:
    with world.serving(proxy, Job("http2")) as serving:
        return _measured(serving, _h2load(serving.url(), 4, 32), seconds)


def tcp_bulk(world: World, proxy: Proxy, seconds: float) -> Numbers:
    with world.serving(proxy, Job("tcp")) as serving:
        download(serving.host, serving.port, BULK_PATH, WARM_UP_S)
        before, started = cpu_s(serving.pid), time.monotonic()
        count = download(serving.host, serving.port, BULK_PATH, seconds)
        took = time.monotonic() - started
        return {"cpu_s_per_gb": (cpu_s(serving.pid) - before) / count * 1e9, "mb_per_s": count / took / 1e6,
                "resident_mb": memory_mb(serving.pid)[0]}


def start(world: World, proxy: Proxy, _: float) -> Numbers:
    with world.serving(proxy, Job("http1")) as serving:
        return {"ready_s": serving.ready_s}


def memory(world: World, proxy: Proxy, _: float) -> Numbers:
    with world.serving(proxy, Job("http1-mtls")) as serving:
        idle, unshared = memory_mb(serving.pid)
    with world.serving(proxy, Job("http1")) as serving:
        opened = open_connections(serving.host, serving.port, serving.path, OPEN)
        try:
            return {"idle_mb": idle, "idle_unshared_mb": unshared, "open_mb": memory_mb(serving.pid)[0]}
        finally:
            for sock in opened:
                sock.close()


def routes(world: World, proxy: Proxy, seconds: float) -> Numbers:
    cpu = []
    for count in (FEW_ROUTES, MANY_ROUTES):
        with world.serving(proxy, Job("http1", routes=count)) as serving:
            cpu.append(_measured(serving, _wrk(serving.url(), CONNECTIONS), seconds / 2)["cpu_us"])
    return {"few_cpu_us": cpu[0], "many_cpu_us": cpu[1], "growth": cpu[1] / cpu[0]}


def origination(world: World, proxy: Proxy, seconds: float) -> Numbers:
    return _originated(world, proxy, Job("origination"), seconds)


def egress_hosts(world: World, proxy: Proxy, seconds: float) -> Numbers:
    cpu = [_originated(world, proxy, Job("origination", hosts=count), seconds / 2)["cpu_us"] for count in (FEW_HOSTS, MANY_HOSTS)]
    return {"few_hosts_cpu_us": cpu[0], "many_hosts_cpu_us": cpu[1], "growth": cpu[1] / cpu[0]}


def _originated(world: World, proxy: Proxy, job: Job, seconds: float) -> Numbers:
    with world.serving(proxy, job) as serving:
        def ask(for_s: float) -> Load:
            return read_wrk(_says([*serving.where, *wrk_argv(serving.url(), CONNECTIONS, for_s, job.names[-1])]))

        return _measured(serving, ask, seconds)


def gateway_tls(world: World, proxy: Proxy, seconds: float, workers: int = 1) -> Numbers:
    with world.serving(proxy, Job("gateway", hosts=FEW_HOSTS, workers=workers)) as serving:
        numbers = _measured(serving, _at_gateway(serving, is_http1=True), seconds)
        return numbers | {"http2_cpu_us": _measured(serving, _at_gateway(serving), seconds)["cpu_us"]}


def gateway_tls_2(world: World, proxy: Proxy, seconds: float) -> Numbers:
    return gateway_tls(world, proxy, seconds, workers=2)


def _at_gateway(serving: Serving, *, is_http1: bool = False) -> Callable[[float], Load]:
    connections, streams = (CONNECTIONS, 1) if is_http1 else (4, 32)
    return _h2load(serving.url(), connections, streams, is_http1=is_http1, connect_to=serving.connect_to)


def ingress_rules(world: World, proxy: Proxy, seconds: float) -> Numbers:
    cpu, numbers = [], {}
    for count in (FEW_HOSTS, MANY_HOSTS):
        with world.serving(proxy, Job("gateway", hosts=count)) as serving:
            cpu.append(_measured(serving, _at_gateway(serving, is_http1=True), seconds / 2)["cpu_us"])
    with contextlib.ExitStack() as stack:
        if proxy.name == OURS:
            few, many = Job("gateway", hosts=FEW_HOSTS), Job("gateway", hosts=MANY_HOSTS)
            numbers["in_force_s"] = stack.enter_context(world.serving(proxy, few)).in_force_s(many)
    return {"few_rules_cpu_us": cpu[0], "many_rules_cpu_us": cpu[1], "growth": cpu[1] / cpu[0], **numbers}


def issuance(_: World, proxy: Proxy, seconds: float) -> Numbers:
    if proxy.name != OURS:
        raise NotAvailable("it issues nothing")
    made = Issuance(Path(tempfile.mkdtemp(dir=FOLDER)) / "authority", time.time())
    issued: list[float] = []
    bare: list[float] = []
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end or not issued:
            requests = made.requests()
            issued.append(made.issued_us(requests))
            bare.append(made.bare_us(requests))
    finally:
        made.close()
    found = statistics.median(issued), statistics.median(bare)
    return {"issued_cpu_us": found[0], "bare_cpu_us": found[1], "over_bare": found[0] / found[1]}


def of_control(row: Callable[[control.Desk, float], Numbers]) -> Callable[[World, Proxy, float], Numbers]:
    """A row of the control plane."""
    def run(world: World, proxy: Proxy, seconds: float) -> Numbers:
        if proxy.name != OURS:
            raise NotAvailable("a proxy has no control plane")
        try:
            return row(world.desk(), seconds)
        except (MeshError, trio.TooSlowError, ExceptionGroup) as exc:
            raise NotAvailable(_first(exc)) from exc

    return run


def _first(exc: Exception) -> str:
    """In words; of several that came together the first."""
    while isinstance(exc, ExceptionGroup):
        exc = exc.exceptions[0]
    return str(exc) or type(exc).__name__


WORKLOADS = (
    Workload("http1", "HTTP/1.1 plaintext, 1 KiB answers, 32 keep-alive connections, as fast as they are answered", "request", http1),
    Workload("http1-paced", "the same at 1,000 requests a second on 8 connections: latency without a queue", "request", http1_paced),
    Workload("http1-mtls", "HTTP/1.1 with mTLS terminated, client certificate verified, 32 keep-alive connections", "request", http1_mtls),
    Workload("mtls-new", "a new mTLS connection for each request, 8 at a time", "connection with its request", mtls_new),
    Workload("http2-one", "HTTP/2 in and out, plaintext, one connection, one request at a time", "request", http2_one),
    Workload("http2-many", "HTTP/2 in and out, plaintext, 4 connections, 32 requests at a time on each", "request", http2_many),
    Workload("tcp-bulk", "opaque TCP, one connection downloads", "GB", tcp_bulk),
    Workload("start", "from the start of the process to the first answer through it", "start", start),
    Workload("memory", "resident: idle with mTLS set up; plaintext with 1,000 open connections", "process", memory),
    Workload("issuance", "an SVID from token and request, beside the bare key work of `cryptography` in it", "SVID", issuance),
    Workload("origination", "HTTP/1.1 of an application in the pod, TLS originated to a host outside, 32 keep-alive connections", "request",
             origination),
    Workload("egress-hosts", "the same, to the last of 10 and of 10,000 approved hosts", "request", egress_hosts),
    Workload("gateway-tls", "a gateway: TLS 1.3 with clients, one of 10 hosts, mTLS to a pod; HTTP/1.1 on 32 keep-alive connections, then "
             "HTTP/2 on 4 connections, 32 requests at a time on each", "request", gateway_tls),
    Workload("gateway-tls-2", "the same with two workers, which have both cores and share them with load and pod: their CPU per request "
             "is what counts", "request", gateway_tls_2),
    Workload("ingress-rules", "the gateway with a rule for each of 10 and of 10,000 hosts, the last is asked for; from 10 to 10,000 until "
             "they are in force", "request", ingress_rules),
    Workload("admission", "AdmissionReviews of annotated pods at 100 a second, among 50 namespaces, 1,000 Services, 2,000 pods and 100 "
             "EgressPolicies", "review", of_control(control.admission)),
    Workload("propagation", "from the API server's word for a change to the sidecar that took it, 500 of them: of one workload; of a "
             "policy for all", "change", of_control(control.propagation)),
    Workload("scale", "1,000 Services and 2,000 sidecars: each its first snapshot, nothing new for half a minute, endpoints that change; "
             "growth from half as many namespaces", "change", of_control(control.scale)),
    Workload("routes", "HTTP/1.1 plaintext, the last of 10 and of 10,000 routes matches", "request", routes),
)
