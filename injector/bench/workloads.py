"""What is measured. A workload is a function that serves one job and returns numbers; one entry in WORKLOADS adds one."""

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trio

from sidecar.model.errors import MeshError

from .control import rows as control
from .errors import NotAvailable
from .issuance import Issuance
from .layout import BULK_PATH, LARGE_BYTES, LARGE_PATH, ORIGINATOR_NEW, RPC_PATH, STORE_PATH, Job
from .measures import FEW_HOSTS, FEW_ROUTES, MANY_HOSTS, MANY_ROUTES, OPEN, Numbers
from .proxies import OURS, Proxy
from .summary import medians
from .under_load import CONNECTIONS, WARM_UP_S, Ask, at_full_load_and_paced, h2load, measured, paced, wrk
from .world import FOLDER, Serving, World, download, open_connections

STREAMS = 100
FEW_PER_S = 300      # where there are less, it takes longer: of a hundred the 99th percentile is chance
RPC = ("content-type: application/grpc", "te: trailers")
STARTS = 3


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


def http1(world: World, proxy: Proxy, seconds: float) -> Numbers:
    with world.serving(proxy, Job("http1")) as serving:
        return at_full_load_and_paced(serving, seconds)


def http1_mtls(world: World, proxy: Proxy, seconds: float) -> Numbers:
    with world.serving(proxy, Job("http1-mtls")) as serving:
        return at_full_load_and_paced(serving, seconds)


def call(per_s: int) -> Callable[[World, Proxy, float], Numbers]:
    """Two proxies with mTLS between, at a rate; latency beyond that of the way without them, measured just before."""
    def run(world: World, proxy: Proxy, seconds: float) -> Numbers:
        seconds *= max(1.0, FEW_PER_S / per_s)
        with world.serving(proxy, Job("call")) as serving, world.direct() as direct:
            bare = paced(direct, per_s)(seconds)
            numbers = measured(serving, paced(serving, per_s), seconds)
        direct_ms = {"p50_ms": bare.p50_us / 1e3, "p99_ms": bare.p99_us / 1e3}
        return numbers | {name: numbers[name] - value for name, value in direct_ms.items()} | {
            f"direct_{name}": value for name, value in direct_ms.items()}

    return run


def http2(connections: int, streams: int) -> Callable[[World, Proxy, float], Numbers]:
    """Half of the time GET, half of it gRPC."""
    def run(world: World, proxy: Proxy, seconds: float) -> Numbers:
        with world.serving(proxy, Job("http2")) as serving:
            numbers = measured(serving, h2load(serving, connections, streams), seconds / 2)
            rpc = measured(serving, h2load(serving, connections, streams, path=RPC_PATH, fields=RPC, body=str(world.rpc)), seconds / 2)
        return numbers | {"grpc_cpu_us": rpc["cpu_us"], "grpc_p99_ms": rpc["p99_ms"]}

    return run


def mtls_new(world: World, proxy: Proxy, seconds: float) -> Numbers:
    with world.serving(proxy, Job("http1-mtls")) as serving:
        return measured(serving, wrk(serving, 8, serving.url(ORIGINATOR_NEW)), seconds)


def bulk(kind: Literal["tcp", "tcp-mtls"]) -> Callable[[World, Proxy, float], Numbers]:
    def run(world: World, proxy: Proxy, seconds: float) -> Numbers:
        with world.serving(proxy, Job(kind)) as serving:
            download(serving.host, serving.port, BULK_PATH, min(WARM_UP_S, seconds / 2))
            before, started = serving.cpu_s(), time.monotonic()
            count = download(serving.host, serving.port, BULK_PATH, seconds)
            took = time.monotonic() - started
            used = serving.cpu_s() - before
            resident, unshared = serving.memory_mb()
        return {"cpu_s_per_gb": used / count * 1e9, "mb_per_s": count / took / 1e6, "rss_mb": resident, "unshared_mb": unshared}

    return run


def large(world: World, proxy: Proxy, seconds: float) -> Numbers:
    """Half of the time down, half of it up."""
    with world.serving(proxy, Job("http1")) as serving:
        ways = {
            "down": measured(serving, h2load(serving, 4, 1, path=LARGE_PATH, is_http1=True), seconds / 2),
            "up": measured(serving, h2load(serving, 4, 1, path=STORE_PATH, is_http1=True, fields=[":method: PUT"], body=str(world.large)),
                           seconds / 2),
        }
    both = {name: statistics.mean(way[name] for way in ways.values()) for name in ("cpu_us", "kernel_us", "p50_ms", "p99_ms")}
    return ways["up"] | both | {f"{name}_cpu_s_per_gb": way["cpu_us"] / LARGE_BYTES * 1e3 for name, way in ways.items()}


def start(world: World, proxy: Proxy, seconds: float) -> Numbers:
    """The median of some; one if time is short."""
    found = []
    for _ in range(STARTS if seconds >= STARTS else 1):
        with world.serving(proxy, Job("http1")) as serving:
            resident, unshared = serving.memory_mb()
            found.append({"ready_s": serving.ready_s, "cpu_us": serving.cpu_s() * 1e6, "rss_mb": resident, "unshared_mb": unshared})
    return medians(found)


def idle(world: World, proxy: Proxy, _: float) -> Numbers:
    with world.serving(proxy, Job("http1")) as serving:
        before = serving.memory_mb()
        opened = open_connections(serving.host, serving.port, serving.path, OPEN)
        try:
            resident, unshared = serving.memory_mb()
        finally:
            for sock in opened:
                sock.close()
    return {"rss_mb": resident, "unshared_mb": unshared, "idle_mb": before[0], "idle_unshared_mb": before[1]}


def routes(world: World, proxy: Proxy, seconds: float) -> Numbers:
    found = []
    for count in (FEW_ROUTES, MANY_ROUTES):
        with world.serving(proxy, Job("http1", routes=count)) as serving:
            found.append(measured(serving, wrk(serving, CONNECTIONS), seconds / 2))
    few, many = found
    return many | {"few_cpu_us": few["cpu_us"], "growth": many["cpu_us"] / few["cpu_us"]}


def origination(world: World, proxy: Proxy, seconds: float) -> Numbers:
    with world.serving(proxy, Job("origination")) as serving:
        return at_full_load_and_paced(serving, seconds)


def egress_hosts(world: World, proxy: Proxy, seconds: float) -> Numbers:
    cpu = []
    for count in (FEW_HOSTS, MANY_HOSTS):
        with world.serving(proxy, Job("origination", hosts=count)) as serving:
            cpu.append(measured(serving, wrk(serving, CONNECTIONS), seconds / 2)["cpu_us"])
    return {"few_hosts_cpu_us": cpu[0], "many_hosts_cpu_us": cpu[1], "growth": cpu[1] / cpu[0]}


def gateway_tls(world: World, proxy: Proxy, seconds: float, workers: int = 1) -> Numbers:
    with world.serving(proxy, Job("gateway", hosts=FEW_HOSTS, workers=workers)) as serving:
        numbers = measured(serving, _at_gateway(serving, is_http1=True), seconds / 2)
        return numbers | {"http2_cpu_us": measured(serving, _at_gateway(serving), seconds / 2)["cpu_us"]}


def gateway_tls_2(world: World, proxy: Proxy, seconds: float) -> Numbers:
    return gateway_tls(world, proxy, seconds, workers=2)


def _at_gateway(serving: Serving, *, is_http1: bool = False) -> Ask:
    connections, streams = (CONNECTIONS, 1) if is_http1 else (4, 32)
    return h2load(serving, connections, streams, is_http1=is_http1)


def ingress_rules(world: World, proxy: Proxy, seconds: float) -> Numbers:
    cpu, numbers = [], {}
    for count in (FEW_HOSTS, MANY_HOSTS):
        with world.serving(proxy, Job("gateway", hosts=count)) as serving:
            cpu.append(measured(serving, _at_gateway(serving, is_http1=True), seconds / 2)["cpu_us"])
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


BESIDE_PEERS = (
    Workload("a", "HTTP/1.1 plaintext, 1 KiB answers: CPU as fast as 32 keep-alive connections are answered, latency at 1,000 requests a "
             "second", "request", http1),
    Workload("b", "the same with mTLS terminated, client certificate verified", "request", http1_mtls),
    Workload("c_100", "two sidecars with mTLS between, 100 requests a second: CPU of both, which is ms a second for 1,000 requests a "
             "second; latency that they add to the way without them", "request", call(100)),
    *(Workload(f"c_{per_s}", f"the same, {per_s:,} requests a second", "request", call(per_s)) for per_s in (1000, 3000)),
    Workload("d_serial", "HTTP/2 in and out, plaintext, and gRPC unary: one connection, one request at a time", "request", http2(1, 1)),
    Workload("d_multi", f"the same: one connection, {STREAMS} requests at a time", "request", http2(1, STREAMS)),
    Workload("e", "HTTP/1.1 of an application in the pod, TLS originated to a host outside, on 32 keep-alive connections; latency at 1,000 "
             "requests a second", "request", origination),
    Workload("f", "a new mTLS connection for each request, 8 at a time", "connection with its request", mtls_new),
    Workload("g_plain", "opaque TCP, one connection downloads", "GB", bulk("tcp")),
    Workload("g_mtls", "the same through mTLS", "GB", bulk("tcp-mtls")),
    Workload("h", "bodies of 10 MB, down and then up, on 4 connections", "body, both ways' mean", large),
    Workload("i", f"memory: {OPEN:,} idle connections, each of which had an answer; before them, idle", "process", idle),
    Workload("j", f"HTTP/1.1 plaintext, the last of {FEW_ROUTES} and of {MANY_ROUTES:,} routes matches", "request", routes),
    Workload("k", "from the start of the process to the first answer through it", "start", start),
    Workload("l", "a gateway with two workers, which have both cores and share them with load and pod: TLS 1.3 with clients, one of 10 "
             "hosts, mTLS to a pod; HTTP/1.1 on 32 keep-alive connections, then HTTP/2 on 4, 32 requests at a time on each", "request",
             gateway_tls_2),
)
WORKLOADS = (
    *BESIDE_PEERS,
    Workload("gateway-tls", "the same gateway with one worker", "request", gateway_tls),
    Workload("ingress-rules", "the gateway with a rule for each of 10 and of 10,000 hosts, the last is asked for; from 10 to 10,000 until "
             "they are in force", "request", ingress_rules),
    Workload("egress-hosts", "origination, to the last of 10 and of 10,000 approved hosts", "request", egress_hosts),
    Workload("issuance", "an SVID from token and request, beside the bare key work of `cryptography` in it", "SVID", issuance),
    Workload("admission", "AdmissionReviews of annotated pods at 100 a second, among 50 namespaces, 1,000 Services, 2,000 pods and 100 "
             "EgressPolicies", "review", of_control(control.admission)),
    Workload("propagation", "from the API server's word for a change to the sidecar that took it, 500 of them: of one workload; of a "
             "policy for all", "change", of_control(control.propagation)),
    Workload("scale", "1,000 Services and 2,000 sidecars: each its first snapshot, nothing new for half a minute, endpoints that change; "
             "growth from half as many namespaces", "change", of_control(control.scale)),
)
