"""The demo's applications. They know nothing of a mesh: no TLS, no identities, no library.

    orders [PORT]   an HTTP/1.1 server that answers with the request as *it* received it, so that a client sees what arrived;
                    what is below /flaky is answered 503 the first time, and who asks for a WebSocket gets one that echoes
    idle            waits; people and checks run their clients in its container
"""

import json
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, ClassVar

from . import websocket

MEMORY_KEPT = 2**20


class Orders(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True      # else a body waits 40 ms for the acknowledgement of its head
    flaky_seen: ClassVar[set[str]] = set()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        if self.headers.get("Upgrade", "").lower() == "websocket":
            return self._echo()
        body, trailers = self._read_body()
        said = json.dumps({"app": "orders", "peer": self.client_address[0], "version": self.request_version, "method": self.command,
                           "path": self.path, "headers": self.headers.items(), "body": body.decode("latin-1"),
                           "trailers": trailers}).encode()
        self.send_response(503 if self._is_first_of_flaky() else 200)
        self.send_header("Content-Type", "application/json")
        if "trailers" in self.headers.get("TE", ""):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n0\r\nX-Received-Bytes: %d\r\n\r\n" % (len(said), said, len(body)))
        else:
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)
        return None

    def _read_body(self) -> tuple[bytes, list[tuple[str, str]]]:
        """(the body, the trailer fields)"""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(min(int(self.headers.get("Content-Length") or 0), MEMORY_KEPT)), []
        body, trailers = b"", []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body = (body + self.rfile.read(size))[:MEMORY_KEPT]
            self.rfile.readline()
        while (line := self.rfile.readline().decode("latin-1").strip()):
            name, _, value = line.partition(":")
            trailers.append((name, value.strip()))
        return body, trailers

    def _is_first_of_flaky(self) -> bool:
        if not self.path.startswith("/flaky/") or self.path in self.flaky_seen:
            return False
        self.flaky_seen.add(self.path)
        return True

    def _echo(self) -> None:
        """A WebSocket: every text comes back, until the client closes."""
        self.close_connection = True
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", websocket.accept(self.headers.get("Sec-WebSocket-Key", "")))
        self.end_headers()
        while (found := websocket.read_frame(self.rfile))[0] == websocket.TEXT:
            self.wfile.write(websocket.frame(found[1]))

    def log_message(self, format: str, *args: Any) -> None:
        """In one piece: other threads write, too."""
        print(json.dumps({"peer": self.client_address[0], "request": self.requestline}) + "\n", end="", flush=True)


class DualStack(ThreadingHTTPServer):
    address_family = socket.AF_INET6   # with IPV6_V6ONLY off: every address of the pod, v4 and v6
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # As HTTPServer does, but for asking what our own name is: a kubelet has written that into the pod's hosts file.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]


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
