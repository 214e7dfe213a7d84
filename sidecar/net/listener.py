"""Listening sockets, the accept loop, and the one supervisor of connections.

The supervisor catches what it does not know, as only those of datagrams (`datagram.py`), of copies (`proxy/mirror.py`) and of questions
(`control/questions.py`) do besides: a bug in one connection ends that connection, is counted and printed, and the server lives on.
"""

import errno
import os
import resource
import socket
import sys
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable

import trio
from trio.lowlevel import wait_readable

from sidecar.model.errors import ConfigError, MeshError

from .watched import Watched

BACKLOG = 1024
ACCEPT_AT_ONCE = 64     # then the connections already there get their turn
OUT_OF_FILES_PAUSE_S = 0.1
MOST_FILES = 65536      # a connection costs some 5 KB from its first byte
MOST_SHARES = 2         # what one address may hold is this part of all
MOST_SHARES_AT_THE_EDGE = 8     # strangers have addresses at will; behind one of IPv4 there may be an office, or a load balancer

ConnectionHandler = Callable[[socket.socket], Awaitable[None]]


def listen_tcp(host: str, port: int, mark: int | None = None, *, is_shared: bool = False) -> socket.socket:
    """A listening socket; `::` takes IPv4 too. ConfigError names the port and the cure if it is in use.

    Args:
        mark: SO_MARK, which accepted sockets inherit: without it the packet rules would refuse our own answers to a SYN.
        is_shared: other processes of our user may listen there, too; the kernel deals connections out among them.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if mark is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        if host == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        raise ConfigError("listen", f"cannot listen on {host} port {port}: {why_not(exc)}") from exc
    return sock


def why_not(exc: OSError) -> str:
    """Why a port cannot be had, and the cure where one is known."""
    cure = "; another process has it: is a sidecar running already?" if exc.errno == errno.EADDRINUSE else ""
    return f"{exc.strerror}{cure}"


def listen_unix(path: str, mode: int = 0o600, where: str = "adminSocket") -> socket.socket:
    """A listening Unix socket; a stale one of that name is replaced. ConfigError names `where` the path stands."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o777 & ~mode)
    try:
        if os.path.exists(path):
            os.unlink(path)
        sock.setblocking(False)
        sock.bind(path)
        sock.listen(16)
    except OSError as exc:
        sock.close()
        raise ConfigError(where, f"cannot listen on {path}: {exc.strerror}; its folder must exist and be ours") from exc
    finally:
        os.umask(old)
    return sock


def has_ipv6() -> bool:
    """Whether the kernel speaks IPv6 here at all."""
    return os.path.exists("/proc/net/if_inet6")


class Tally:
    """How many connections are open, and how many ended with an exception that nobody expected (zero in every test)."""

    def __init__(self) -> None:
        self.open = Watched(0)
        self.bugs = 0

    def report(self, exc: BaseException) -> None:
        self.bugs += 1
        traceback.print_exception(exc, file=sys.stderr)


def room_for_connections() -> int:
    """How many connections one listener may hold; raises the soft limit of descriptors to what is allowed.

    A connection and its upstream take two: a quarter of the limit leaves half of it for whatever else this process has to open
    (its own dialling, name resolution, the test of the packet rules) while strangers hold as many as they can.
    """
    soft, hard = (MOST_FILES if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    files = min(hard, MOST_FILES)
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return files // 4


async def serve_listener(
    listener: socket.socket, handler: ConnectionHandler, tally: Tally, most: int | None = None,
    *, accepting: trio.CancelScope | None = None, shares: int = MOST_SHARES, who: Callable[[str], str] = str,
) -> None:
    """Accept for ever; each connection gets a task, and its socket is closed when the task ends, however it ends.

    Cancelling ends the accepting and every connection.

    Args:
        accepting: cancelled, it ends the accepting only; this returns when the last connection has ended.
        most: connections at a time, `room_for_connections` if not given; the next ones wait in the kernel's queue.
        shares: one address holds such a part of them at most, and is shut out beyond: what the others ask must not wait for a stranger's
            silence.
        who: what of an address is counted as one.
    """
    most = room_for_connections() if most is None else most
    room = trio.Semaphore(most)
    held: Counter[str] = Counter()

    async def supervised(sock: socket.socket, source: str) -> None:
        try:
            await _supervise(sock, handler, tally)
        finally:
            held[source] -= 1
            if not held[source]:
                del held[source]
            room.release()

    async def accept(connections: trio.Nursery, most_now: int) -> None:
        """Those that are there."""
        for _ in range(most_now):
            await room.acquire()
            try:
                sock, peer = listener.accept()
            except BlockingIOError:
                room.release()
                break
            except OSError as exc:
                room.release()
                if exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    await trio.sleep(OUT_OF_FILES_PAUSE_S)
                break
            source = who(peer[0]) if peer else ""
            if held[source] >= most / shares:
                room.release()
                sock.close()
                continue
            held[source] += 1
            sock.setblocking(False)
            connections.start_soon(supervised, sock, source)

    try:
        async with trio.open_nursery() as connections:
            with accepting or trio.CancelScope():
                while True:
                    await wait_readable(listener)
                    await accept(connections, ACCEPT_AT_ONCE)
            await accept(connections, BACKLOG)  # who is in the kernel's queue takes itself for connected: closing would reset it
            listener.close()
    finally:
        listener.close()


async def _supervise(sock: socket.socket, handler: ConnectionHandler, tally: Tally) -> None:
    tally.open.set(tally.open.current + 1)
    try:
        await handler(sock)
    # Told where it happened; here it only ends the connection.
    except* (MeshError, OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    except* Exception as group:  # noqa: BLE001 -- the supervisor
        tally.report(group)
    finally:
        tally.open.set(tally.open.current - 1)
        if sock.fileno() >= 0:
            trio.lowlevel.notify_closing(sock)
            sock.close()
