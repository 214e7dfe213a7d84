"""The outside world: hosts that are approved, hosts that are not, and one that collects whatever reaches it.

Runs as one process in the namespace `outside`: `python -m injector.demo.outside FOLDER`, with certificates from `paper.py` in
FOLDER. Everything that arrives is a line of JSON in FOLDER/evidence.jsonl, written before it is answered: `connect`, `tls` or
`tls-failed`, `request`, `bytes`, `datagram`; and `ended`, when HTTP's client has gone. A check that says "nothing was sent" has
looked here.
"""

import json
import socket
import ssl
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer, ThreadingUDPServer
from typing import Any, Literal

from .network import Addresses

QUIET_AFTER_S = 30.0                # by itself no host ends a connection that a check still looks at
COLLECTED_TCP = (80, 443, 8443, 53)
COLLECTED_UDP = (53, 443, 4000)
DATABASE_PORT = 5432
TLS_REQUEST = bytes.fromhex("0000000804d2162f")     # PostgreSQL's SSLRequest
STREAM, STREAM_S, STREAM_EVERY_S = "/stream", 25.0, 0.05
PIECE_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Host:
    """
    Args:
        number: last part of its addresses.
        certificate: the host name that its certificate is for; empty: it collects raw bytes.
        demands_client: whether it takes only clients with a certificate.
        is_expired: of its certificate.
        database: it speaks PostgreSQL, and this is its answer to who asks for TLS; empty: it speaks HTTP.
    """

    name: str
    number: int
    certificate: str
    demands_client: bool = False
    is_expired: bool = False
    database: Literal["", "S", "N"] = ""

    @property
    def addresses(self) -> Addresses:
        return Addresses(f"203.0.113.{self.number}", f"2001:db8:1::{self.number}")


HOSTS = {host.name: host for host in (
    Host("api.partner.example", 10, "api.partner.example"),
    Host("mutual.partner.example", 11, "mutual.partner.example", demands_client=True),
    Host("wrongcert.partner.example", 12, "somebody-else.example"),
    Host("nosecret.partner.example", 13, "nosecret.partner.example", demands_client=True),
    Host("gated.partner.example", 14, "gated.partner.example"),
    Host("invoices.partner.example", 20, "invoices.partner.example"),
    Host("uploads.partner.example", 21, "uploads.partner.example"),
    Host("withdrawn.partner.example", 22, "withdrawn.partner.example"),
    Host("expired.partner.example", 23, "expired.partner.example", is_expired=True),
    Host("waived.partner.example", 24, "waived.partner.example", is_expired=True),
    Host("pinned.partner.example", 25, "pinned.partner.example"),
    Host("db.partner.example", 26, "db.partner.example", database="S"),
    Host("open-db.partner.example", 27, "open-db.partner.example", database="N"),
    Host("vendor.example", 30, "vendor.example"),
    Host("other-vendor.example", 31, "other-vendor.example"),
    Host("unapproved.example", 66, "unapproved.example"),
    Host("collector.example", 99, ""),
)}


class Evidence:
    """What arrived, in order, across threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)
        self._lock = threading.Lock()

    def write(self, host: Host, port: int, client: str, event: str, **details: Any) -> None:
        line = json.dumps({"at": time.time(), "host": host.name, "port": port, "client": client, "event": event, **details})
        with self._lock:
            self._file.write(line + "\n")


class TcpServer(ThreadingTCPServer):
    """One host, one address, one port.

    Args:
        tls: None for plain HTTP.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: Host, address: str, port: int, tls: ssl.SSLContext | None, evidence: Evidence) -> None:
        self.host, self.port, self.tls, self.evidence = host, port, tls, evidence
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), handler_of(host))

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Accept TLS, if the port speaks it, then serve; in the connection's own thread."""
        request.settimeout(QUIET_AFTER_S)
        self.note(client_address, "connect")
        if self.tls is None or self.host.database:
            return super().finish_request(request, client_address)
        stream = self.accept_tls(self.tls, request, client_address)
        return super().finish_request(stream, client_address) if stream is not None else None

    def accept_tls(self, tls: ssl.SSLContext, request: Any, client_address: Any) -> ssl.SSLSocket | None:
        """None if it does not come about, which is noted."""
        stream = tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        try:
            stream.do_handshake()
        except OSError as exc:   # ssl.SSLError is one
            self.note(client_address, "tls-failed", error=str(exc), sni=getattr(stream, "sni", None))
            return None
        self.note(client_address, "tls", version=stream.version(), sni=getattr(stream, "sni", None), subject=subject(stream))
        return stream

    def note(self, client: Any, event: str, **details: Any) -> None:
        self.evidence.write(self.host, self.port, client[0], event, **details)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of the outside world's."""
        self.note(client_address, "broken", error=str(sys.exc_info()[1]))


def subject(stream: Any) -> str:
    """Common name of the client's certificate; empty without one."""
    certificate: Any = stream.getpeercert() if isinstance(stream, ssl.SSLSocket) else None
    return next((value for names in (certificate or {}).get("subject", ()) for key, value in names if key == "commonName"), "")


class HttpHandler(BaseHTTPRequestHandler):
    """Answers every request with what it was, as JSON; one for STREAM with dots, until its client goes."""

    protocol_version = "HTTP/1.1"
    server: TcpServer

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        wanted = int(self.headers.get("Content-Length") or 0)
        got = self._read_body(wanted)
        self.server.note(self.client_address, "request", line=self.requestline, headers=self.headers.items(), body=got)
        if got < wanted:
            self.close_connection = True
            return None
        if self.path == STREAM:
            return self._stream()
        said = json.dumps({
            "host": self.server.host.name, "line": self.requestline, "headers": self.headers.items(),
            "tls": self.connection.version() if isinstance(self.connection, ssl.SSLSocket) else None,
            "client": subject(self.connection),
        }).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
        return None

    def _read_body(self, wanted: int) -> int:
        """How many bytes of it came, whoever ended it."""
        got = 0
        try:
            while got < wanted and (piece := self.rfile.read1(min(wanted - got, PIECE_BYTES))):
                got += len(piece)
        except OSError:
            pass
        return got

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        end = time.monotonic() + STREAM_S
        while time.monotonic() < end:
            self.wfile.write(b"1\r\n.\r\n")
            time.sleep(STREAM_EVERY_S)
        self.wfile.write(b"0\r\n\r\n")

    def finish(self) -> None:
        self.server.note(self.client_address, "ended")
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """The evidence is enough."""


class CollectingHandler(BaseRequestHandler):
    """Takes whatever comes and answers nothing."""

    server: TcpServer

    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.server.note(self.client_address, "bytes", count=len(data), head=data[:400].decode("latin-1"))


class DatabaseHandler(BaseRequestHandler):
    """Speaks as much of PostgreSQL as comes before its first message: TLS is granted to who asks for it, or declined. What is said
    then, with TLS or without, comes back.
    """

    server: TcpServer

    def handle(self) -> None:
        stream, data = self.request, self.request.recv(PIECE_BYTES)
        if data == TLS_REQUEST:
            stream.sendall(self.server.host.database.encode())
            if self.server.host.database == "S":
                assert self.server.tls is not None
                stream = self.server.accept_tls(self.server.tls, stream, self.client_address)
            data = stream.recv(PIECE_BYTES) if stream is not None else b""
        if data:
            version = stream.version() if isinstance(stream, ssl.SSLSocket) else None
            self.server.note(self.client_address, "bytes", count=len(data), head=data[:400].decode("latin-1"), tls=version)
            stream.sendall(data)


def handler_of(host: Host) -> type[BaseRequestHandler]:
    if host.database:
        return DatabaseHandler
    return HttpHandler if host.certificate else CollectingHandler


class DatagramHandler(BaseRequestHandler):
    server: "UdpServer"

    def handle(self) -> None:
        data = self.request[0]
        self.server.evidence.write(self.server.host, self.server.port, self.client_address[0], "datagram",
                                   count=len(data), head=data[:400].decode("latin-1"))


class UdpServer(ThreadingUDPServer):
    def __init__(self, host: Host, address: str, port: int, evidence: Evidence) -> None:
        self.host, self.port, self.evidence = host, port, evidence
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), DatagramHandler)


def tls_context(host: Host, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{host.certificate}.pem")
    if host.demands_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "roots.pem")

    def remember(stream: Any, name: str | None, _: ssl.SSLContext) -> None:
        stream.sni = name

    context.sni_callback = remember
    return context


def main(argv: list[str]) -> int:
    folder = Path(argv[0])
    evidence = Evidence(folder / "evidence.jsonl")
    servers: list[ThreadingTCPServer | ThreadingUDPServer] = []
    for host in HOSTS.values():
        for address in host.addresses.both():
            if host.database:
                servers.append(TcpServer(host, address, DATABASE_PORT, tls_context(host, folder), evidence))
            elif host.certificate:
                servers.append(TcpServer(host, address, 80, None, evidence))
                servers.append(TcpServer(host, address, 443, tls_context(host, folder), evidence))
            else:
                servers += [TcpServer(host, address, port, None, evidence) for port in COLLECTED_TCP]
                servers += [UdpServer(host, address, port, evidence) for port in COLLECTED_UDP]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
