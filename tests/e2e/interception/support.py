"""A pod whose packet rules are loaded, seen from its sidecar."""

import contextlib
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
import trio

from sidecar import intercept
from sidecar.control.redirect_check import FAMILIES, RedirectVerdict, check_redirect
from sidecar.intercept import Exemption, Line, uid_ranges
from sidecar.model import ports
from sidecar.model.passage import NOTHING, Passage
from sidecar.net.canary import CanaryArrivals
from sidecar.net.original_dst import original_dst
from tests.helpers.netns import DOMAIN, FAR, LOOPBACK, NODE, World, as_user, why_impossible

WHY_IMPOSSIBLE = why_impossible()
NETNS = [pytest.mark.netns, pytest.mark.skipif(bool(WHY_IMPOSSIBLE), reason=WHY_IMPOSSIBLE)]

UIDS = uid_ranges(Path("/proc/self/uid_map").read_text())
HAS_MANY_UIDS = UIDS[-1].last >= 1500
SIDECAR_UID, APP_UID = (1500, 1000) if HAS_MANY_UIDS else (0, 0)
BY_UID, BY_MARK = Exemption("uid", SIDECAR_UID), Exemption("mark", 0xBA27)
EXEMPTIONS = {"uid": BY_UID, "mark": BY_MARK} if HAS_MANY_UIDS else {"mark": BY_MARK}
UDP_PORT, IN_PORT, OUT_PORT = 123, 9100, 5432
PASSAGE = Passage(
    datagrams=tuple((ip_network(FAR[family]), UDP_PORT) for family in (4, 6)),
    inbound_ports=(IN_PORT,), outbound_ports=(OUT_PORT,), outbound_networks=tuple(ip_network(NODE[family]) for family in (4, 6)),
)


def why(line: Line) -> str:
    found = re.search(f'"{intercept.PREFIX}(.*)"', line.spec)
    assert found
    return found[1]


def load(exemption: Exemption, passage: Passage = NOTHING) -> int:
    return intercept.main([f"--exempt-{exemption.kind}", str(exemption.value), *passage.arguments])


class Pod:
    """A pod whose rules are loaded, seen from its sidecar."""

    def __init__(self, where: World, exemption: Exemption, passage: Passage = NOTHING) -> None:
        self.where, self.space = where, where.pod
        self.exemption, self.passage = exemption, passage
        self.mark = exemption.value if exemption.kind == "mark" else None
        self.sidecar_uid = SIDECAR_UID if exemption.kind == "uid" else APP_UID
        self.load()

    def is_asked(self, line: Line) -> bool:
        """What the sidecar cannot ask, control/redirect_check.py says."""
        if why(line) == intercept.SENDING_GUARD:
            (users,) = re.findall(r"--uid-owner (\d+)-(\d+)", line.spec)
            return int(users[0]) <= self.sidecar_uid <= int(users[1])
        unasked = {intercept.INBOUND, intercept.KERNEL_UDP_GUARD, intercept.DNS_UNTRACKED, intercept.ANSWERS_UNTRACKED}
        return why(line) not in unasked and not why(line).startswith(intercept.PASSED)

    def load(self) -> None:
        with self.space.entered():
            assert load(self.exemption, self.passage) == 0

    def saved(self) -> list[str]:
        return [line for name in ("iptables-save", "ip6tables-save") for line in self.space.run(name).splitlines()
                if line.startswith(("*", "-A"))]

    def flush(self) -> None:
        for program in ("iptables", "ip6tables"):
            for table in ("raw", "nat", "filter", "mangle"):
                self.space.run(f"{program} -t {table} -F")

    def delete(self, family: int, line: Line) -> None:
        program = {4: "iptables", 6: "ip6tables"}[family]
        self.space.run(f"{program} -t {line.table} -D {line.chain} {line.spec}")

    def socket(self, family: int, kind: int, *, is_sidecar: bool) -> socket.socket:
        with self.space.entered(), as_user(self.sidecar_uid if is_sidecar else APP_UID):
            sock = socket.socket(DOMAIN[family], kind)
        sock.settimeout(5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_sidecar and self.mark is not None:
            sock.setsockopt(socket.SOL_SOCKET, 36, self.mark)
        return sock

    def left(self) -> list[bytes]:
        """The packets that left the pod so far, up to one that we send now to mark the end."""
        with self.socket(4, socket.SOCK_DGRAM, is_sidecar=True) as sock:
            sock.sendto(b"the end", (NODE[4], 9))
        packets: list[bytes] = []
        while not any(packet.endswith(b"the end") for packet in packets):
            packets += self.where.wire.wait_seen()
        return [packet for packet in packets if not packet.endswith(b"the end")]

    @asynccontextmanager
    async def serving(self, deaf_for: int = 0) -> AsyncIterator[CanaryArrivals]:
        """The sidecar's listener and guard run, and we are the sidecar; each guard misses its first `deaf_for` datagrams."""
        arrivals = CanaryArrivals()

        async def listen(sock: trio.socket.SocketType) -> None:
            while True:
                accepted, peer = await sock.accept()
                with accepted:
                    to = original_dst(accepted._sock)  # type: ignore[attr-defined]
                    assert to is not None
                    assert arrivals.tcp(to, peer[1])

        async def guard(sock: trio.socket.SocketType) -> None:
            missing = deaf_for
            while True:
                payload, _ = await sock.recvfrom(512)
                if missing:
                    missing -= 1
                else:
                    assert arrivals.udp(payload)

        with contextlib.ExitStack() as stack:
            async with trio.open_nursery() as nursery:
                for family in FAMILIES:
                    for kind, port, serve in ((socket.SOCK_STREAM, ports.OUTBOUND, listen), (socket.SOCK_DGRAM, ports.DNS, guard)):
                        plain = self.socket(family, kind, is_sidecar=True)
                        plain.bind((LOOPBACK[family], port))
                        if kind == socket.SOCK_STREAM:
                            plain.listen()
                        nursery.start_soon(serve, stack.enter_context(trio.socket.from_stdlib_socket(plain)))
                with self.space.entered(), as_user(self.sidecar_uid):
                    yield arrivals
                nursery.cancel_scope.cancel()

    async def check(self, *, deaf_for: int = 0) -> RedirectVerdict:
        async with self.serving(deaf_for) as arrivals:
            return await check_redirect(arrivals, within_s=0.2, mark=self.mark)
