"""What runs in the pods of these tests: plain, with no idea of a mesh.

    serve [PORT]    HTTP on 8080 and on that port (the answer is the request as it arrived), lines over TCP on 9000, gRPC health on
                    9090.
                    While /tmp/dead exists it is ill; while /tmp/deaf exists none of the ports is served.
    load URL        requests, one after the other, until there is input: a line at the first answer, and at the end how many had which
                    status, as JSON
"""

import http.client
import json
import os
import select
import signal
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HTTP, TCP, GRPC = 8080, 9000, 9090
PACE_S = 0.01


def is_ill():
    return os.path.exists("/tmp/dead")


class DualStack:
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]


class HttpServer(DualStack, ThreadingHTTPServer):
    pass


class TcpServer(DualStack, socketserver.ThreadingTCPServer):
    pass


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = json.dumps({"pod": socket.gethostname(), "peer": self.client_address[0], "method": self.command, "path": self.path,
                           "headers": self.headers.items(), "body": body.decode("latin-1")}).encode()
        self.send_response(503 if is_ill() and self.path.startswith("/healthz") else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, format, *args):
        pass


class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(socket.gethostname().encode() + b" " + line)


class GrpcHealth(socketserver.BaseRequestHandler):
    """grpc.health.v1.Health/Check: SERVING is 1, NOT_SERVING is 2."""

    def handle(self):
        from h2.config import H2Configuration
        from h2.connection import H2Connection
        from h2.events import StreamEnded

        connection = H2Connection(H2Configuration(client_side=False))
        connection.initiate_connection()
        self.request.sendall(connection.data_to_send())
        while data := self.request.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, StreamEnded):
                    connection.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/grpc")])
                    connection.send_data(event.stream_id, b"\0\0\0\0\2\x08" + (b"\2" if is_ill() else b"\1"))
                    connection.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
            self.request.sendall(connection.data_to_send())


def serve(*more):
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    servers = []
    while not ended.wait(0.1):
        if os.path.exists("/tmp/deaf"):
            for server in servers:
                server.shutdown()
                server.server_close()
            servers = []
        elif not servers:
            servers = [*(HttpServer(("::", port), Http) for port in (HTTP, *more)), TcpServer(("::", TCP), Lines),
                       TcpServer(("::", GRPC), GrpcHealth)]
            for server in servers:
                threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()


def load(url):
    where = urlsplit(url)
    seen = {}
    connection = None
    while not select.select([sys.stdin], [], [], PACE_S)[0]:
        try:
            if connection is None:
                connection = http.client.HTTPConnection(where.hostname, where.port or 80, timeout=10)
            connection.request("GET", where.path or "/")
            response = connection.getresponse()
            body = response.read()
            what = str(response.status) if response.status == 200 else f"{response.status} {body.decode(errors='replace')[:200]}"
        except (OSError, http.client.HTTPException) as exc:
            what, connection = f"{type(exc).__name__}: {exc}", None
        if not seen:
            print("begun", flush=True)
        first = seen.setdefault(what, {"count": 0, "first": time.time()})
        first["count"] += 1
    print(json.dumps(seen))


if __name__ == "__main__":
    load(sys.argv[2]) if sys.argv[1] == "load" else serve(*map(int, sys.argv[2:]))
