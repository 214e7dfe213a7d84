"""The demo's applications. They know nothing of a mesh: no TLS, no identities, no library.

    orders [PORT]   an HTTP server that answers with the request as *it* received it, so that a client sees what arrived
    idle            waits; people and checks run their clients in its container
"""

import json
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MEMORY_KEPT = 2**20


class Orders(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), MEMORY_KEPT))
        said = json.dumps({"app": "orders", "peer": self.client_address[0], "method": self.command, "path": self.path,
                           "headers": self.headers.items(), "body": body.decode("latin-1")}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: Any) -> None:
        print(json.dumps({"peer": self.client_address[0], "request": self.requestline}), flush=True)


class DualStack(ThreadingHTTPServer):
    address_family = socket.AF_INET6   # with IPV6_V6ONLY off: every address of the pod, v4 and v6
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def main(argv: list[str]) -> int:
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())   # the first process of a PID namespace has no default action
    match argv:
        case ["orders", *port]:
            server = DualStack(("::", int(port[0]) if port else 8080), Orders)
            threading.Thread(target=server.serve_forever, daemon=True).start()
        case ["idle"]:
            pass
        case _:
            print("usage: apps orders [PORT] | idle", file=sys.stderr)
            return 2
    ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
