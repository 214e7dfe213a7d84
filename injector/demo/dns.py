"""The demo's name server, where kube-dns would be: UDP and TCP on port 53.

Runs in the namespace `kube-dns`: `python -m injector.demo.dns ADDRESS TABLE EVIDENCE`. TABLE is a JSON file, name ->
addresses, read again when it changes; every query is a line of JSON in EVIDENCE.
"""

import json
import os
import socketserver
import struct
import sys
import threading
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

TTL_S = 5
TYPES = {dns.rdatatype.A: ".", dns.rdatatype.AAAA: ":"}   # by the character that tells their addresses apart


class Zone:
    def __init__(self, table: Path, evidence: Path) -> None:
        self._table = table
        self._stamp: tuple[int, int] | None = None
        self._names: dict[str, list[str]] = {}
        self._evidence = evidence.open("a", buffering=1)
        self._lock = threading.Lock()

    def answer(self, wire: bytes, client: str) -> bytes | None:
        """The answer to a query, or None if it is not even one."""
        try:
            query = dns.message.from_wire(wire)
            question = query.question[0]
        except (dns.exception.DNSException, IndexError):
            return None
        name = question.name.to_text(omit_final_dot=True).lower()
        response = dns.message.make_response(query, recursion_available=True)
        response.flags |= dns.flags.AA
        kind = dns.rdatatype.to_text(question.rdtype)
        with self._lock:
            self._evidence.write(json.dumps({"name": name, "type": kind, "client": client}) + "\n")
            addresses = self._current().get(name)
        if addresses is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif found := [item for item in addresses if TYPES.get(question.rdtype, "?") in item]:
            response.answer.append(dns.rrset.from_text(question.name, TTL_S, "IN", kind, *found))
        return response.to_wire()

    def close(self) -> None:
        self._evidence.close()

    def _current(self) -> dict[str, list[str]]:
        found = os.stat(self._table)
        stamp = (found.st_ino, found.st_mtime_ns)
        if stamp != self._stamp:
            self._names = json.loads(self._table.read_text())
            self._stamp = stamp
        return self._names


class UdpHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        wire, socket = self.request
        if (answer := self.server.zone.answer(wire, self.client_address[0])) is not None:   # type: ignore[attr-defined]
            socket.sendto(answer, self.client_address)


class TcpHandler(socketserver.StreamRequestHandler):
    timeout = 10

    def handle(self) -> None:
        while len(prefix := self.rfile.read(2)) == 2:
            wire = self.rfile.read(struct.unpack("!H", prefix)[0])
            answer = self.server.zone.answer(wire, self.client_address[0])   # type: ignore[attr-defined]
            if answer is None:
                return
            self.wfile.write(struct.pack("!H", len(answer)) + answer)


class TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main(argv: list[str]) -> int:
    address, zone = argv[0], Zone(Path(argv[1]), Path(argv[2]))
    servers: tuple[Any, ...] = (socketserver.ThreadingUDPServer((address, 53), UdpHandler), TcpServer((address, 53), TcpHandler))
    for server in servers:
        server.zone = zone
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
