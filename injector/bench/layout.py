"""Where everything is, and what a proxy is asked to be: the values that configurations are rendered from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sidecar.model import ports

Kind = Literal["http1", "http1-mtls", "http2", "tcp", "tcp-mtls", "call", "origination", "gateway"]

TRUST_DOMAIN = "bench.bartizan.test"
SERVER = f"spiffe://{TRUST_DOMAIN}/ns/bench/sa/server"
CLIENT = f"spiffe://{TRUST_DOMAIN}/ns/bench/sa/client"
ALPN, ALPN_TCP = "bartizan/h1", "bartizan/tcp"

ADDRESS = {"mesh": "10.9.1.2", "plain": "10.9.2.2", "client": "10.9.3.2"}
GATEWAY = {"mesh": "10.9.1.1", "plain": "10.9.2.1", "client": "10.9.3.1"}
UID = 1337              # of every proxy: the packet rules exempt it
# The origin's ports, of which one speaks HTTP/2 and one is declared opaque; and of the host outside, which speaks TLS.
ORIGIN: dict[Kind, int] = {
    "http1": 8080, "http1-mtls": 8080, "call": 8080, "http2": 8082, "tcp": 8081, "tcp-mtls": 8081, "origination": 443}
OUTSIDE = "203.0.113.80"
SERVICE = "10.96.0.9"   # by which the pod `client` knows the pod `mesh`; an address of nobody's
PLAIN_PORT = 80         # of both, to which applications speak plaintext
ENDPOINT = GATEWAY["plain"]     # of a pod behind a gateway
CLIENT_PORT = 443               # of a gateway's listener, as clients know it
DOMAIN = "bench.example"
LISTEN = 9000           # of a gateway, which has no packet rules
ORIGINATOR = 7000       # speaks TLS for the load generator, keeping connections
ORIGINATOR_NEW = 7001   # the same with a new connection for each request
ORIGINATOR_TCP = 7002   # the same for what is no HTTP

ANSWER_BYTES = 1024
BULK_BYTES = 64 << 20
BULK_PATH = "/bulk"
LARGE_BYTES = 10_000_000
LARGE_PATH = "/large"       # GET answers so much
STORE_PATH = "/store/one"   # PUT takes so much
RPC_PATH = "/bench.Echo/Unary"


def host_name(number: int) -> str:
    return f"h{number:06}.{DOMAIN}"


@dataclass(frozen=True, slots=True)
class Job:
    """
    Args:
        kind: what it serves; the origin speaks the same, without TLS. Two lead out of the pod what an application there says in HTTP/1.1:
            `call` with mTLS to a pod of the mesh, behind whose packet rules a proxy of the same sort serves `http1-mtls`; `origination`
            with TLS to a host outside. `gateway` leads clients in: TLS on both sides, see `edges.py`.
        routes: how many prefixes are let through, each by a rule of its own; 0: one rule for everything.
        hosts: how many are approved, or have a rule at the gateway.
        workers: of a gateway: processes, or threads.
    """

    kind: Kind
    routes: int = 0
    hosts: int = 1
    workers: int = 1

    @property
    def pod(self) -> str:
        return {"call": "client", "gateway": "plain"}.get(self.kind, "mesh")

    @property
    def listen(self) -> int:
        """The port that the packet rules lead to."""
        return {"call": ports.OUTBOUND, "origination": ports.OUTBOUND, "gateway": LISTEN}.get(self.kind, ports.INBOUND)

    @property
    def has_mtls(self) -> bool:
        """Whether it terminates that of a sidecar."""
        return self.kind in ("http1-mtls", "tcp-mtls")

    @property
    def is_tcp(self) -> bool:
        return self.kind in ("tcp", "tcp-mtls")

    @property
    def asked_at(self) -> tuple[str, int]:
        """The address that an application or a client knows; it meets the packet rules, if any, on its way there."""
        if self.kind == "call":
            return SERVICE, PLAIN_PORT
        if self.kind == "origination":
            return OUTSIDE, PLAIN_PORT
        return ADDRESS[self.pod], LISTEN if self.kind == "gateway" else ORIGIN[self.kind]

    @property
    def prefixes(self) -> list[str]:
        """All of one length, so that no proxy can tell the last from the others but by looking."""
        return [f"/r/{number:06}" for number in range(self.routes)]

    @property
    def names(self) -> list[str]:
        """Of the hosts, all of one length; the last is asked for."""
        return [host_name(number) for number in range(self.hosts)]

    @property
    def path(self) -> str:
        """What to ask for: what the last rule lets through."""
        return f"{self.prefixes[-1]}/item" if self.routes else "/"


@dataclass(frozen=True, slots=True)
class Place:
    """
    Args:
        folder: for the files of one process; exists, and is nobody else's.
        address: of the pod, where its origin listens too.
        certificates: the folder that `certificates.py` filled.
    """

    folder: Path
    address: str
    certificates: Path

    def write(self, name: str, text: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)
