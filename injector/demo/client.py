"""A small client that the checks run inside pods. One JSON object on standard output; a failure is an answer too: `error`.

    http METHOD URL [--to ADDRESS:PORT] [--header K:V] [--body TEXT]    {status, headers, body, certificate, error}
    load URL --per-second N --seconds S                                 {sent, statuses, failures}
    until URL --status N --seconds S                                    {at, statuses}; `at`: when it was first answered so
    websocket URL --body TEXT                                           {status, received, error}: the text that came back
    stay URL --seconds S                                                {bytes, at, error}: of an endless answer; `at`: when it ended
    hold URL --seconds S                                                {echoes, at, error}: a WebSocket in use; `at`: when it broke
    tcp ADDRESS PORT [--send TEXT]                                      {connected, received, error}; `connected`: the address
    udp ADDRESS PORT [--send TEXT]                                      {sent, received, error}
    dns ADDRESS PORT --send NAME                                        {sent, received, error}, `received` is the answer's code

`--to` connects somewhere else than the URL says: the Host header and the TLS name stay those of the URL, as a cheat's.
TLS here verifies nothing; `certificate` tells who answered.
"""

import argparse
import base64
import json
import os
import socket
import ssl
import struct
import sys
import time
from collections import Counter
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse, parse_headers
from typing import Any
from urllib.parse import urlsplit

from . import websocket

Report = dict[str, Any]
POLL_S = 0.05


def endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


class Client:
    """One connection to where a URL leads, or to `address` instead."""

    def __init__(self, url: str, address: tuple[str, int] | None, timeout_s: float) -> None:
        parts = urlsplit(url)
        is_tls = parts.scheme == "https"
        self.target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._connection = HTTPConnection(parts.hostname or "", parts.port or (443 if is_tls else 80), timeout=timeout_s)
        address = address or (self._connection.host, self._connection.port)
        raw = socket.create_connection(address, timeout_s)
        self._connection.sock = _wrap(raw, self._connection.host) if is_tls else raw
        self._connection.auto_open = 0   # a connection that is lost must show
        self._connection.default_port = 443 if is_tls else 80

    def request(self, method: str, headers: dict[str, str], body: str | None) -> tuple[HTTPResponse, bytes]:
        response = self.begin(method, headers, body)
        return response, response.read()

    def begin(self, method: str, headers: dict[str, str] | None = None, body: str | None = None) -> HTTPResponse:
        """The answer's head; its body is to be read."""
        self._connection.request(method, self.target, body, headers or {})
        return self._connection.getresponse()

    def certificate(self) -> list[str]:
        """The DNS names of the server's certificate; empty without TLS."""
        stream = self._connection.sock
        der = stream.getpeercert(binary_form=True) if isinstance(stream, ssl.SSLSocket) else None
        if not der:
            return []
        from cryptography import x509  # only this needs it, and it takes 60 ms

        names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return names.value.get_values_for_type(x509.DNSName)

    def close(self) -> None:
        self._connection.close()


def _wrap(raw: socket.socket, name: str) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(raw, server_hostname=name)


def ask(options: argparse.Namespace) -> Report:
    headers = dict(item.split(":", 1) for item in options.header)
    report: Report = {"status": 0, "headers": {}, "body": "", "certificate": [], "error": ""}
    try:
        with closing(Client(options.url, options.to, options.timeout)) as client:
            report["certificate"] = client.certificate()
            response, body = client.request(options.method, headers, options.body)
        report |= {"status": response.status, "headers": {key.lower(): value for key, value in response.getheaders()},
                   "body": body.decode("utf-8", "replace")}
    except (OSError, HTTPException) as exc:
        report["error"] = f"{type(exc).__name__}: {exc}"
    return report


def upgrade(options: argparse.Namespace) -> Report:
    """Ask for a WebSocket, and send one text through it."""
    report: Report = {"status": 0, "received": "", "error": ""}
    try:
        with closing(WebSocket(options.url, options.timeout)) as opened:
            report["status"] = opened.status
            if opened.is_open:
                report["received"] = opened.echo(options.body)
    except (OSError, HTTPException, IndexError, ValueError) as exc:
        report["error"] = f"{type(exc).__name__}: {exc}"
    return report


def stay(options: argparse.Namespace) -> Report:
    """Read an answer for as long as it goes on."""
    report: Report = {"bytes": 0, "at": None, "error": ""}
    end = time.monotonic() + options.seconds
    try:
        with closing(Client(options.url, None, options.timeout)) as client:
            response = client.begin("GET")
            while time.monotonic() < end:
                piece = response.read1()
                report["bytes"] += len(piece)
                if not piece:
                    report["at"] = time.time()
                    break
    except (OSError, HTTPException) as exc:
        report |= {"at": time.time(), "error": f"{type(exc).__name__}: {exc}"}
    return report


def hold(options: argparse.Namespace) -> Report:
    """Keep a WebSocket in use."""
    report: Report = {"echoes": 0, "at": None, "error": ""}
    end = time.monotonic() + options.seconds
    try:
        with closing(WebSocket(options.url, options.timeout)) as opened:
            while time.monotonic() < end:
                opened.echo(str(report["echoes"]))
                report["echoes"] += 1
                time.sleep(POLL_S)
    except (OSError, HTTPException, IndexError, ValueError) as exc:
        report |= {"at": time.time(), "error": f"{type(exc).__name__}: {exc}"}
    return report


class WebSocket:
    """Asked for at once; `is_open` if it was granted."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts, key = urlsplit(url), base64.b64encode(os.urandom(16)).decode()
        head = (f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n")
        self._raw = socket.create_connection((parts.hostname or "", parts.port or 80), timeout_s)
        self._stream = self._raw.makefile("rb")
        self._raw.sendall(head.encode())
        self.status = int(self._stream.readline().split()[1])
        self.is_open = parse_headers(self._stream).get("Sec-WebSocket-Accept") == websocket.accept(key)

    def echo(self, text: str) -> str:
        self._raw.sendall(websocket.frame(text.encode(), os.urandom(4)))
        kind, received = websocket.read_frame(self._stream)
        if kind != websocket.TEXT:
            raise ConnectionError("the WebSocket was closed")
        return received.decode()

    def close(self) -> None:
        with self._raw, self._stream:
            if self.is_open:
                self._raw.sendall(websocket.frame(b"", os.urandom(4), websocket.CLOSE))


def load(options: argparse.Namespace) -> Report:
    """Requests at a steady pace over one connection that is kept. One that fails is counted and begins another connection."""
    statuses: Counter[str] = Counter()
    failures: list[str] = []
    client: Client | None = None
    began = time.monotonic()
    end = began + options.seconds
    number = 0
    while (due := began + number / options.per_second) < end and time.monotonic() < end:
        time.sleep(max(0.0, due - time.monotonic()))
        number += 1
        try:
            client = client or Client(options.url, None, options.timeout)
            response, _ = client.request("GET", {}, None)
            statuses[str(response.status)] += 1
            is_over = response.will_close
        except (OSError, HTTPException) as exc:
            failures.append(f"{time.monotonic() - began:.2f} s: {type(exc).__name__}: {exc}")
            is_over = True
        if is_over and client is not None:
            client.close()
            client = None
    if client is not None:
        client.close()
    return {"sent": number, "statuses": dict(statuses), "failures": failures}


def until(options: argparse.Namespace) -> Report:
    """Ask again and again until the status is the wanted one."""
    statuses: list[int] = []
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        status = ask(options)["status"]
        if status == options.status:
            return {"at": time.time(), "statuses": [*statuses, status]}
        if statuses[-1:] != [status]:
            statuses.append(status)
        time.sleep(POLL_S)
    return {"at": None, "statuses": statuses}


def tcp(options: argparse.Namespace) -> Report:
    report: Report = {"connected": "", "received": "", "error": ""}
    try:
        with socket.create_connection((options.address, options.port), options.timeout) as stream:
            report["connected"] = stream.getpeername()[0]
            stream.sendall(options.send.encode())
            while data := stream.recv(65536):
                report["received"] += data.decode("latin-1")
    except OSError as exc:
        report["error"] = f"{type(exc).__name__}: {exc}"
    return report


def udp(options: argparse.Namespace) -> Report:
    report: Report = {"sent": 0, "received": "", "error": ""}
    try:
        answer = _exchange(options, options.send.encode(), report)
        report["received"] = answer.decode("latin-1")
    except OSError as exc:
        report["error"] = f"{type(exc).__name__}: {exc}"
    return report


def dns(options: argparse.Namespace) -> Report:
    """Ask for the IPv4 addresses of a name, over UDP."""
    report: Report = {"sent": 0, "received": "", "error": ""}
    name = b"".join(bytes([len(label)]) + label.encode() for label in options.send.split(".")) + b"\0"
    query = struct.pack("!6H", 4711, 0x0100, 1, 0, 0, 0) + name + struct.pack("!2H", 1, 1)   # RD; one question, A IN
    try:
        answer = _exchange(options, query, report)
        report["received"] = f"RCODE {answer[3] & 15}, {int.from_bytes(answer[6:8], 'big')} answers"
    except OSError as exc:
        report["error"] = f"{type(exc).__name__}: {exc}"
    return report


def _exchange(options: argparse.Namespace, data: bytes, report: Report) -> bytes:
    family = socket.AF_INET6 if ":" in options.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as stream:
        stream.settimeout(options.timeout)
        report["sent"] = stream.sendto(data, (options.address, options.port))
        return stream.recv(65536)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="client")
    verbs = parser.add_subparsers(required=True)
    for name, act in (("http", ask), ("load", load), ("until", until), ("websocket", upgrade), ("hold", hold), ("stay", stay),
                      ("tcp", tcp), ("udp", udp), ("dns", dns)):
        verb = verbs.add_parser(name)
        verb.set_defaults(act=act)
        verb.add_argument("--timeout", type=float, default=5.0)
        if name in ("tcp", "udp", "dns"):
            verb.add_argument("address")
            verb.add_argument("port", type=int)
            verb.add_argument("--send", default="GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            continue
        verb.set_defaults(method="GET")
        if name == "http":
            verb.add_argument("method")
        verb.add_argument("url")
        verb.add_argument("--to", type=endpoint)
        verb.add_argument("--header", action="append", default=[])
        verb.add_argument("--body")
        verb.add_argument("--per-second", type=float, default=50)
        verb.add_argument("--seconds", type=float, default=3)
        verb.add_argument("--status", type=int, default=200)
    options = parser.parse_args(argv)
    print(json.dumps(options.act(options)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
