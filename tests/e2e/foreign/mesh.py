"""The mesh of these tests: which pods there are, what runs in them, and how one talks to them.

    web      clients; allowed by every route of orders
    orders   one server of each kind; `second` is its second endpoint, for the Service `pair`
    archive  speaks HTTP/1.0 as server and as client, and takes plaintext until a date, by which it serves other protocols, too
    paths    servers that read paths each in their own way, with something private; takes plaintext until a date
    edge     an ingress gateway before paths, at the same ports, and with TLS at another; no packet rules
    legacy   no sidecar, no packet rules
    leaving  the first endpoint of a Service `shrinking`, started by the test that ends it; `staying` is the second
    outside  beyond the router: an approved HTTPS host, one that nobody approved, and what is reached by TCP (`DATABASES`)
"""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sidecar.model.config import Config, FileIdentity, Listen, Probe, SnapshotFile
from sidecar.model.edge import Edge, EdgeListener, EdgeRoute, TlsHost
from sidecar.model.egress import EgressHost, Origination, Outbound, StartTls
from sidecar.model.ports import HEALTH
from sidecar.model.route import Caller, Match, PathMatch, Route
from sidecar.model.service import Backend, Endpoint, Protocol, Service
from sidecar.model.snapshot import Inbound, Snapshot, Workload, render_snapshot
from tests.helpers import pki
from tests.helpers.pki import DOMAIN, ORDERS, WEB
from tests.helpers.pods import BARTIZAN, NODE, ROOT, ROUTER, SIDECAR_UID, MeshedPod, Pod, node, wait_until

APPS = Path(__file__).parent / "apps"
VENV = ROOT / ".venv-e2e" / "bin"
GO, PYTHON = VENV / "foreign-go", VENV / "python"
ARCHIVE = f"spiffe://{DOMAIN}/ns/shop/sa/archive"
EDGE = f"spiffe://{DOMAIN}/ns/bartizan-system/sa/bartizan-gateway"
PATHS = f"spiffe://{DOMAIN}/ns/shop/sa/paths"
YEAR_2096 = 4_000_000_000.0
PARTNER, STRANGER = "partner.example", "stranger.example"       # where databases are; no certificate is for those of the second
APPROVED, UNAPPROVED, MISNAMED = "api.partner.example", "elsewhere.example", "misnamed.partner.example"

# What orders serves, by name; the protocol is the one declared for the port.
PORTS: dict[str, tuple[int, Protocol]] = {
    "go": (8001, "http"), "node": (8002, "http"), "aiohttp": (8003, "http"), "nginx": (8004, "http"), "uvicorn": (8005, "http"),
    "websockets": (8006, "http"), "node-h2": (8007, "http2"), "grpc": (8008, "http2"), "go-h1": (8009, "http1"),
    "redis": (6379, "opaque"), "postgres": (5432, "opaque"), "banner": (2525, "opaque"), "sort": (7001, "opaque"),
    "app-tls": (8443, "app-tls"),
}
HTTP10_PORT = 8010
PATH_SERVERS = {"nginx": 8021, "apache": 8022, "tomcat": 8023}      # of paths
PUBLIC, TLS_PORT = "paths.demo.example", 8443       # by which strangers reach `go` of paths, through edge
IN_PLAINTEXT = ("grpc", "websockets", "redis", "banner", "app-tls")    # of archive
# What outside serves that is no HTTP, by name: how TLS is asked for, where it is spoken, and where another server does not offer it.
DATABASES: dict[str, tuple[StartTls | None, int, int]] = {
    "postgres": ("postgres", 5432, 5433), "mysql": ("mysql", 3306, 3307), "mail": ("smtp", 2525, 2526), "cache": (None, 6380, 3307),
}
ADDRESSES = {"web": "10.44.0.10", "orders": "10.44.0.20", "second": "10.44.0.21", "archive": "10.44.0.22", "paths": "10.44.0.23",
             "edge": "10.44.0.24", "legacy": "10.44.0.30",
             "leaving1": "10.44.0.40", "staying1": "10.44.0.41", "leaving2": "10.44.0.42", "staying2": "10.44.0.43"}
VIPS = {"orders": "10.96.0.20", "pair": "10.96.0.21", "archive": "10.96.0.22", "paths": "10.96.0.25",
        "shrinking1": "10.96.0.23", "shrinking2": "10.96.0.24"}
OUTSIDE = "203.0.113.10"
NAMES = {**{f"{name}.shop.svc.cluster.local": vip for name, vip in VIPS.items()},
         **dict.fromkeys((APPROVED, UNAPPROVED, MISNAMED), OUTSIDE), PUBLIC: ADDRESSES["edge"],
         **{f"{name}.{domain}": OUTSIDE for name in DATABASES for domain in (PARTNER, STRANGER)}}
HOOK, HOOK_OF_NONE = "/app-health/hook/prestop", "/app-health/hook/poststart"
WORD = "0123456789abcdef" * 2
# What the kubelet asks of every pod: a path on the health port each.
PROBES: dict[str, Probe] = {
    HOOK: Probe(PORTS["go"][0], "http", "/status?code=503", word=WORD), HOOK_OF_NONE: Probe(9, "http", word=WORD),
} | {
    f"/app-health/{name}/livez": probe for name, probe in {
        **{name: Probe(PORTS[name][0], "http", "/hello") for name in ("go", "node", "aiohttp", "nginx", "uvicorn", "go-h1")},
        "http10": Probe(HTTP10_PORT, "http", "/hello"), "app-tls": Probe(PORTS["app-tls"][0], "https", "/hello"),
        "tls-of-none": Probe(PORTS["go"][0], "https", "/hello"),
        "absent": Probe(PORTS["go"][0], "http", "/status?code=404"), "broken": Probe(PORTS["go"][0], "http", "/status?code=500"),
        "redis": Probe(PORTS["redis"][0]), "dead": Probe(9), "dead-http": Probe(9, "http"),
        "grpc": Probe(PORTS["grpc"][0], "grpc"), "grpc-serving": Probe(PORTS["grpc"][0], "grpc", service="foreign.Test"),
        "grpc-ill": Probe(PORTS["grpc"][0], "grpc", service="foreign.Ill"),
        "grpc-unknown": Probe(PORTS["grpc"][0], "grpc", service="foreign.Unknown"),
        "grpc-hangs": Probe(PORTS["grpc"][0], "grpc", service="foreign.Hanging"),
        "grpc-of-none": Probe(PORTS["node-h2"][0], "grpc"), "grpc-of-http1": Probe(PORTS["go-h1"][0], "grpc"),
    }.items()
}


def host(service: str) -> str:
    return f"{service}.shop.svc.cluster.local"


def url(server: str, path: str, service: str = "orders", scheme: str = "http") -> str:
    return f"{scheme}://{host(service)}:{PORTS[server][0]}{path}"


@dataclass(frozen=True)
class Answer:
    """What curl was told; its version is that of the response: 1.0, 1.1, 2."""

    status: int
    version: str
    headers: Mapping[str, list[str]]
    body: bytes


def curl(pod: Pod, *arguments: str | Path, stdin: bytes = b"") -> Answer:
    """One request, which must be answered."""
    said = '%{stderr}[%{response_code},"%{http_version}",%{header_json}]'
    done = pod.call("curl", "-sS", "--max-time", "50", "--write-out", said, *arguments, stdin=stdin)
    status, version, headers = json.loads(done.stderr)
    return Answer(status, version, headers, done.stdout)


def client(pod: Pod, *arguments: str | Path) -> object:
    """What a client of apps/ prints."""
    return json.loads(pod.call(*arguments).stdout)


class Mesh:
    """Everything but the servers, which `serve` starts."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.folder, self._stack = folder, stack
        self.root = pki.authority("mesh")
        self.outside_root = pki.authority("web")
        self.public = pki.issue(self.outside_root, pki.host(PUBLIC), purposes=[pki.SERVER])
        self.node = node(stack, folder, NAMES)
        self.legacy = Pod(stack, self.node, folder, "legacy", ADDRESSES["legacy"])
        self.outside = Pod(stack, self.node, folder, "outside", OUTSIDE, ROUTER)
        self.orders = self.meshed("orders", ORDERS, orders_rules())
        self.second = self.meshed("second", ORDERS, orders_rules())
        self.archive = self.meshed("archive", ARCHIVE, archive_rules(), accept_http10=True)
        self.paths = self.meshed("paths", PATHS, paths_rules())
        self.web = self.meshed("web", WEB, Inbound())
        self.edge = self._edge()

    @property
    def meshed_pods(self) -> tuple[MeshedPod, ...]:
        return self.web, self.orders, self.second, self.archive, self.paths

    def meshed(self, name: str, identity: str, inbound: Inbound, *, accept_http10: bool = False,
               stack: ExitStack | None = None) -> MeshedPod:
        """Start a pod with its sidecar; `stack` ends it, if not with the mesh."""
        address = ADDRESSES[name]
        snapshot = Snapshot(Workload(identity, "shop", pod=name, addresses=(address,)), accept_http10=accept_http10, inbound=inbound,
                            outbound=self.outbound())
        return MeshedPod(stack or self._stack, self.node, self.folder, name, self.root, snapshot, probes=PROBES)

    def _edge(self) -> Pod:
        pod = Pod(self._stack, self.node, self.folder, "edge", ADDRESSES["edge"])
        own, holder = pod.folder / "sidecar", pki.issue(self.root, pki.uri(EDGE))
        snapshot = Snapshot(
            Workload(EDGE, "bartizan-system", addresses=(pod.address,)), outbound=self.outbound(), edge=edge_rules(self.public))
        config = Config(
            admin_socket=str(own / "admin.sock"), snapshot=SnapshotFile(str(own / "snapshot.json")),
            listen=Listen(edge={port: port for port in (*PATH_SERVERS.values(), TLS_PORT)}),
            identity=FileIdentity(str(own / "chain.pem"), str(own / "key.pem"), str(own / "roots.pem")))
        for file, text in (("chain.pem", holder.chain_pem), ("key.pem", holder.key_pem), ("roots.pem", pki.pem(self.root.chain)),
                           ("snapshot.json", render_snapshot(snapshot).decode()), ("config.json", msgspec.json.encode(config).decode())):
            (own / file).write_text(text)
        process = pod.start("gateway", *BARTIZAN, "gateway", "--config", own / "config.json", uid=SIDECAR_UID, output=pod.log.path,
                            environment={"PYTHONPATH": str(ROOT)})
        wait_until(lambda: process.poll() is not None or pod.listens(HEALTH), lambda: (pod.folder / "gateway.log").read_text())
        return pod

    def outbound(self) -> Outbound:
        def service(name: str, port: int, protocol: Protocol, identity: str, *pods: str) -> Service:
            endpoints = tuple(Endpoint(ADDRESSES[pod], port, identity) for pod in pods)
            return Service(f"{name}.shop", port, (VIPS[name],), protocol, endpoints)

        roots = pki.pem(self.outside_root.chain)
        return Outbound(
            services=(
                *(service("orders", port, protocol, ORDERS, "orders") for port, protocol in PORTS.values()),
                *(service("pair", port, protocol, ORDERS, "orders", "second") for port, protocol in PORTS.values()),
                service("archive", HTTP10_PORT, "http1", ARCHIVE, "archive"),
                *(service("paths", port, "http", PATHS, "paths") for port in (*PATH_SERVERS.values(), PORTS["go"][0])),
                *(service(f"shrinking{i}", *PORTS["go"], ORDERS, f"leaving{i}", f"staying{i}") for i in (1, 2)),
            ),
            hosts=(
                *(EgressHost(name, f"partners/{name}", tls=Origination(roots=roots)) for name in (APPROVED, MISNAMED)),
                *(EgressHost(f"{name}.{domain}", f"databases/{name}", (), (), ports, Origination(roots=roots, start_tls=start_tls))
                  for name, (start_tls, *ports) in DATABASES.items() for domain in (PARTNER, STRANGER)),
            ),
            resolvers=(NODE,), cluster_ranges=("10.44.0.0/16", "10.96.0.0/16"),
        )


def archive_rules() -> Inbound:
    ports = {HTTP10_PORT: "http1", **{PORTS[name][0]: PORTS[name][1] for name in IN_PLAINTEXT}}
    return Inbound(mode="permissive", permissive_until=YEAR_2096, ports=ports, routes=(Route("all", (Caller(),), upgrades=("websocket",)),))


def edge_rules(public: pki.Holder) -> Edge:
    """As the pod's own, one for each port; and one for strangers.

    Args:
        public: what these are shown.
    """
    def route(name: str, path: str, port: int, *allow: Caller) -> EdgeRoute:
        return EdgeRoute(name=f"{name}-{port}", allow=allow, ports=(port,), matches=(Match(path=PathMatch(path)),), hosts=(host("paths"),),
                         backends=(Backend("paths.shop", port),))

    ports = PATH_SERVERS.values()
    routes = (one for port in ports for one in (route("private", "/private", port), route("public", "/", port, Caller())))
    strangers = EdgeRoute(name="strangers", allow=(Caller(),), ports=(TLS_PORT,), hosts=(PUBLIC,),
                          backends=(Backend("paths.shop", PORTS["go"][0]),))
    tls = EdgeListener(TLS_PORT, (TlsHost("shop/public", (), public.chain_pem, public.key_pem),))
    return Edge((*map(EdgeListener, ports), tls), (*routes, strangers))


def paths_rules() -> Inbound:
    ports = dict.fromkeys((*PATH_SERVERS.values(), PORTS["go"][0]), "http")
    return Inbound(mode="permissive", permissive_until=YEAR_2096, ports=ports, routes=(
        Route("private", (), matches=(Match(path=PathMatch("/private")),)),
        Route("public", (Caller(),)),
    ))


def orders_rules() -> Inbound:
    """What has a path says the port, too: a TCP connection could otherwise carry what that route is to decide."""
    everybody = (Caller(service_account="web"), Caller(service_account="archive"))

    def route(name: str, server: str, path: str, *allow: Caller, is_upgradable: bool = False) -> Route:
        return Route(name, allow, PORTS[server][0], (Match(path=PathMatch(path, "Exact")),),
                     upgrades=("websocket",) if is_upgradable else ())

    return Inbound(
        ports=dict(PORTS.values()),
        routes=(
            Route("all", everybody),
            route("upgradable", "websockets", "/ws", *everybody, is_upgradable=True),
            route("nobody", "go", "/forbidden"),
            route("nobody-by-grpc", "grpc", "/foreign.Test/Forbidden"),
        ),
    )
