"""Requests as no client would write them: each target of the JSON list on standard input byte for byte, on a connection of its own.

    raw.py HOST PORT NAME       prints a JSON list of [status, body]; NAME is what Host says; targets are Latin-1. Status 0: no answer
"""

import json
import socket
import sys


def ask(address: tuple[str, int], name: str, target: str) -> tuple[int, str]:
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode("latin-1"))
        answer = b""
        try:
            while piece := sock.recv(65536):
                answer += piece
        except ConnectionResetError:    # behind an answer to what was not read to its end
            pass
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head.startswith(b"HTTP/1.1 ") else 0, body.decode("latin-1")


host, port, name = sys.argv[1:]
print(json.dumps([ask((host, int(port)), name, target) for target in json.load(sys.stdin)]))
