"""Connected pairs of real sockets, closed when the test leaves."""

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """(client, server), non-blocking, on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    client.setblocking(False)
    server.setblocking(False)
    return client, server


@contextmanager
def tcp() -> Iterator[tuple[socket.socket, socket.socket]]:
    client, server = tcp_pair()
    with client, server:
        yield client, server


def free_ports(count: int) -> list[int]:
    """That nobody listens at on loopback, and that the kernel gives to no connection before somebody does."""
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            port = random.randrange(1024, end)
            try:
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            found.append(port)
    return found


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    sock.close()
