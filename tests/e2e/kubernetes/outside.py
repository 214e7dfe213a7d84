"""A host that is no part of the cluster, in a network of its own beside the node: what arrives there is written down.

    python outside.py FOLDER    HTTP on 80 and 9000, HTTPS on 443 with FOLDER's certificate, until its input ends; a line of JSON for each
                                connection and request
"""

import json
import socket
import ssl
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PARTNER, STRANGER = "api.partner.example", "stranger.example"
OTHER = 9000


class _Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True

    def __init__(self, port: int, folder: Path, tls: ssl.SSLContext | None) -> None:
        self.tls, self.folder = tls, folder
        super().__init__(("::", port), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        self.note(event="connect", port=self.server_port)
        if self.tls is not None:
            request = self.tls.wrap_socket(request, server_side=True)
        self.RequestHandlerClass(request, client_address, self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.note(event="failed", port=self.server_port)

    def note(self, **what: Any) -> None:
        with (self.folder / "arrived.jsonl").open("a") as file:
            file.write(json.dumps(what) + "\n")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        said = {"event": "request", "port": self.server.server_port, "path": self.path, "host": self.headers["Host"],
                "address": self.connection.getsockname()[0],
                "tls": self.connection.version() if isinstance(self.connection, ssl.SSLSocket) else ""}
        self.server.note(**said)
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@dataclass(frozen=True)
class Outside:
    """
    Args:
        roots: PEM; by which PARTNER is verified. It has no certificate for STRANGER.
    """

    folder: Path
    roots: str

    def arrived(self) -> list[dict[str, Any]]:
        path = self.folder / "arrived.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main(folder: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    for port, context in ((80, None), (OTHER, None), (443, tls)):
        threading.Thread(target=_Server(port, folder, context).serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
