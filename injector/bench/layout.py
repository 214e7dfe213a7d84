"""Where everything is, and what a proxy is asked to be: the values that configurations are rendered from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["http1", "http1-mtls", "http2", "tcp", "origination", "gateway"]

TRUST_DOMAIN = "bench.bartizan.test"
SERVER = f"spiffe://{TRUST_DOMAIN}/ns/bench/sa/server"
CLIENT = f"spiffe://{TRUST_DOMAIN}/ns/bench/sa/client"
ALPN = "bartizan/h1"

ADDRESS = {"mesh": "10.9.1.2", "plain": "10.9.2.2"}
GATEWAY = {"mesh": "10.9.1.1", "plain": "10.9.2.1"}
# The origin's ports, of which one speaks HTTP/2 and one is declared opaque; and of the host outside, which speaks TLS.
ORIGIN: dict[Kind, int] = {"http1": 8080, "http1-mtls": 8080, "http2": 8082, "tcp": 8081, "origination": 443}
OUTSIDE = "203.0.113.80"
ENDPOINT = GATEWAY["plain"]     # of a pod behind a gateway
CLIENT_PORT = 443               # of a gateway's listener, as clients know it
DOMAIN = "bench.example"
LISTEN = 9000           # of a proxy without redirect
ORIGINATOR = 7000       # speaks TLS for the load generator, keeping connections
ORIGINATOR_NEW = 7001   # the same with a new connection for each request
BYPASS_MARK = 0xBA27

ANSWER_BYTES = 1024
BULK_BYTES = 64 << 20
BULK_PATH = "/bulk"


def host_name(number: int) -> str:
    return f"h{number:06}.{DOMAIN}"


@dataclass(frozen=True, slots=True)
class Job:
    """
    Args:
        kind: what it serves; the origin speaks the same, `http1-mtls` without TLS. `origination` leads out of the pod: HTTP/1.1 of an
            application in the proxy's pod, TLS to a host outside. `gateway` leads clients in: TLS on both sides, see `edges.py`.
        routes: how many prefixes are let through, each by a rule of its own; 0: one rule for everything.
        hosts: how many are approved, or have a rule at the gateway.
        workers: of a gateway: processes, or threads.
    """

    kind: Kind
    routes: int = 0
    hosts: int = 1
    workers: int = 1

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
