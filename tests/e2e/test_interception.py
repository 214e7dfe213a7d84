"""The packet rules at work: the sidecar notices each one that is gone, and nothing but what the sidecar sends leaves the pod."""

import contextlib
import errno
import os
import re
import resource
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_network
from pathlib import Path

import pytest
import trio

from sidecar import intercept
from sidecar.control.redirect_check import FAMILIES, UNTESTED, RedirectVerdict, check_redirect, run_redirect_check
from sidecar.intercept import Exemption, Line, rules, uid_ranges
from sidecar.model import ports
from sidecar.model.passage import NOTHING, Passage
from sidecar.net.canary import CanaryArrivals
from sidecar.net.original_dst import original_dst
from sidecar.net.watched import Watched
from tests.helpers.netns import (
    CAP_NET_ADMIN,
    CAP_NET_RAW,
    DOMAIN,
    FAR,
    LOOPBACK,
    NODE,
    POD,
    POD_NET1,
    Namespace,
    World,
    as_user,
    why_impossible,
    with_uid_map,
    without_capabilities,
    world,
)

WHY_IMPOSSIBLE = why_impossible()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(bool(WHY_IMPOSSIBLE), reason=WHY_IMPOSSIBLE)]

with open("/proc/self/uid_map") as file:
    UIDS = uid_ranges(file.read())
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


@pytest.fixture(scope="module")
def where() -> Iterator[World]:
    with world() as where:
        yield where


@pytest.fixture(params=EXEMPTIONS)
def pod(request: pytest.FixtureRequest, where: World) -> Pod:
    return Pod(where, EXEMPTIONS[request.param])


@pytest.fixture(params=EXEMPTIONS)
def passing(request: pytest.FixtureRequest, where: World) -> Iterator[Pod]:
    """One whose MeshPolicy lets something pass."""
    pod = Pod(where, EXEMPTIONS[request.param], PASSAGE)
    yield pod
    pod.passage = NOTHING
    pod.load()      # with what passes no more taken out


# -- the sidecar's own test


async def test_the_rules_are_found_whole_and_no_canary_leaves(pod: Pod) -> None:
    pod.left()
    assert await pod.check() == RedirectVerdict()
    assert pod.left() == []


async def test_the_canaries_of_the_filter_never_leave(pod: Pod) -> None:
    pod.flush()
    pod.left()
    await pod.check()
    groups = [socket.inet_pton(DOMAIN[family], canary[family]) for family in FAMILIES
              for canary in (ports.FILTER_CANARY, ports.EXEMPT_CANARY)]
    assert not [packet for packet in pod.left() if any(group in packet for group in groups)]


@pytest.mark.parametrize("family", [4, 6])
async def test_each_rule_that_is_gone_is_noticed_and_named(pod: Pod, family: intercept.Family) -> None:
    for line in rules(family, pod.exemption, UIDS):
        pod.delete(family, line)
        expected = (f"IPv{family}: {why(line)}",) if pod.is_asked(line) else ()
        assert (await pod.check()).lost == expected, line
        pod.load()
    assert await pod.check() == RedirectVerdict()


async def test_what_passes_takes_nothing_from_the_test(passing: Pod) -> None:
    """And needs no test itself: a rule that is gone lets less pass."""
    assert await passing.check() == RedirectVerdict()
    for line in rules(4, passing.exemption, UIDS, passing.passage):
        passing.delete(4, line)
        assert (await passing.check()).lost == ((f"IPv4: {why(line)}",) if passing.is_asked(line) else ()), line
        passing.load()


async def test_all_rules_gone(pod: Pod) -> None:
    pod.flush()
    assert (await pod.check()).lost == tuple(f"IPv{family}: {rule}" for family in (4, 6) for rule in (
        intercept.DNS_REDIRECT, intercept.TCP_REDIRECT, intercept.SENDING_GUARD, intercept.LOCAL_GUARD))


async def test_the_verdict_follows_what_happens(pod: Pod) -> None:
    guard = next(line for line in rules(6, pod.exemption, UIDS) if pod.is_asked(line) and why(line) == intercept.SENDING_GUARD)
    verdict = Watched(UNTESTED)
    with trio.fail_after(10):
        async with pod.serving() as arrivals, trio.open_nursery() as nursery:
            nursery.start_soon(partial(run_redirect_check, verdict, arrivals, interval_s=0.01, within_s=1, mark=pod.mark))
            assert await verdict.wait_change(UNTESTED) == RedirectVerdict()
            pod.delete(6, guard)
            lost = await verdict.wait_change(RedirectVerdict())
            assert lost == RedirectVerdict((f"IPv6: {intercept.SENDING_GUARD}",))
            pod.load()
            assert await verdict.wait_change(lost) == RedirectVerdict()
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, limit[1]))
            try:
                failed = await verdict.wait_change(RedirectVerdict())
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            assert failed.lost[0].startswith("the test itself failed: [Errno 24]")
            assert await verdict.wait_change(failed) == RedirectVerdict()
            nursery.cancel_scope.cancel()


async def test_one_late_arrival_is_no_loss(pod: Pod) -> None:
    assert await pod.check(deaf_for=1) == RedirectVerdict()


async def test_without_a_default_route_the_guards_are_still_judged(pod: Pod) -> None:
    guards = [(family, line) for family in FAMILIES for line in rules(family, pod.exemption, UIDS)
              if why(line) == intercept.SENDING_GUARD]
    routes = [(family, f"default via {NODE[family]}") for family in (4, 6)]
    for family, route in routes:
        pod.space.run(f"ip -{family} route del {route}")
    try:
        assert await pod.check() == RedirectVerdict()
        for family, line in guards:
            pod.delete(family, line)
        assert (await pod.check()).lost == tuple(f"IPv{family}: {intercept.SENDING_GUARD}" for family in (4, 6))
    finally:
        for family, route in routes:
            pod.space.run(f"ip -{family} route add {route}")


# -- what the application can do

def attack(family: int) -> dict[str, str]:
    """Send in every way that comes to mind; what the kernel said to each."""
    far, own, loopback = FAR[family], POD[family], LOOPBACK[family]
    tcp, udp = socket.SOCK_STREAM, socket.SOCK_DGRAM
    echo = socket.IPPROTO_ICMP if family == 4 else socket.IPPROTO_ICMPV6
    bound, to_lo = ((socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name) for name in (b"eth0", b"lo"))

    def attempt(kind: int, to: str, port: int, *options: tuple[int, int, bytes], protocol: int = 0) -> str:
        try:
            with socket.socket(DOMAIN[family], kind, protocol) as sock:
                sock.settimeout(0.3)
                for option in options:
                    sock.setsockopt(*option)
                if kind == tcp:
                    sock.connect((to, port))
                else:
                    sock.sendto(bytes([8 if family == 4 else 128]) + bytes(40), (to, port))  # an echo's head, should it be one
            return "passed"
        except TimeoutError:
            return "timeout"
        except OSError as exc:
            return errno.errorcode[exc.errno or 0]

    fates = {
        "udp": attempt(udp, far, 9),
        "udp on the link": attempt(udp, NODE[family], 9),
        "udp bound": attempt(udp, far, 9, bound),
        "group": attempt(udp, "239.1.2.3" if family == 4 else "ff02::1234", 9),
        "echo": attempt(udp, far, 0, protocol=echo),
        "udplite": attempt(udp, far, 9, protocol=136),
        "tcp": attempt(tcp, far, 80),
        "tcp bound": attempt(tcp, far, 80, bound),
        "mptcp": attempt(tcp, far, 80, protocol=262),
        "sctp": attempt(tcp, far, 80, protocol=132),
        "dns bound": attempt(udp, far, 53, bound),
        "loopback bound": attempt(udp, loopback, 9, bound),
        "outbound port bound": attempt(tcp, loopback, ports.OUTBOUND, bound),
        "other interface bound": attempt(udp, POD_NET1[family], 9, bound),
        "udp bound to lo": attempt(udp, far, 9, to_lo),
        "tcp bound to lo": attempt(tcp, far, 80, to_lo),
    }
    if family == 4:
        def through(hop: str) -> tuple[int, int, bytes]:
            return socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([131, 7, 4]) + socket.inet_aton(hop) + bytes(1)

        fates["source route through us"] = attempt(udp, far, 9, through(loopback))
        fates["source route back to us"] = attempt(udp, own, 9, through(far))
    return fates


@pytest.mark.parametrize("family", [4, 6])
def test_nothing_of_the_applications_leaves_by_itself(pod: Pod, family: int) -> None:
    pod.left()
    with pod.space.entered():
        fates = without_capabilities(partial(attack, family), APP_UID)
    assert pod.left() == []
    # Redirected, to ports on which nobody listens here.
    assert {fates.pop("tcp"), fates.pop("mptcp")} <= {"ECONNREFUSED", "EPROTONOSUPPORT"}
    # Dropped: a connection attempt is repeated until it is given up.
    assert {fates.pop("tcp bound"), fates.pop("outbound port bound")} == {"timeout"}
    # Not every kernel has it.
    assert fates.pop("sctp") in {"EPERM", "EPROTONOSUPPORT", "timeout"}
    # On loopback it stays, or there is no way.
    assert {fates.pop("udp bound to lo"), fates.pop("tcp bound to lo")} <= {"EPERM", "timeout", "ENETUNREACH"}
    # Refused as well; IPv6 does not tell the sender.
    assert fates.pop("echo") == {4: "EPERM", 6: "passed"}[family]
    assert set(fates.values()) <= {"EPERM", "EPROTONOSUPPORT"}, fates


@pytest.mark.parametrize("family", [4, 6])
def test_without_the_filter_the_wire_shows_it(pod: Pod, family: intercept.Family) -> None:
    """The attack is a real one: all of it but the redirected and the source-routed gets out when the guards are gone."""
    for line in rules(family, pod.exemption, UIDS):
        if line.table != "nat":
            pod.delete(family, line)
    pod.left()
    with pod.space.entered():
        without_capabilities(partial(attack, family), APP_UID)
    assert len(pod.left()) >= 9


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("to", [LOOPBACK, POD, POD_NET1], ids=["loopback", "pod", "other"])
def test_what_the_application_says_to_itself_is_left_alone(pod: Pod, family: int, to: dict[int, str]) -> None:
    for port in (53, 8080):
        with pod.socket(family, socket.SOCK_DGRAM, is_sidecar=False) as server, \
                pod.socket(family, socket.SOCK_DGRAM, is_sidecar=False) as client:
            server.bind((to[family], port))
            client.sendto(b"question", (to[family], port))
            _, peer = server.recvfrom(100)
            server.sendto(b"answer", peer)
            assert client.recvfrom(100) == (b"answer", server.getsockname())
    with pod.socket(family, socket.SOCK_STREAM, is_sidecar=False) as server, \
            pod.socket(family, socket.SOCK_STREAM, is_sidecar=False) as client:
        server.bind((to[family], 8081))
        server.listen()
        client.connect((to[family], 8081))
        with server.accept()[0] as accepted:
            accepted.sendall(b"answer")
            assert client.recv(100) == b"answer"


@pytest.mark.parametrize("family", [4, 6])
def test_on_one_port_neither_query_rides_the_others_flow(pod: Pod, family: int) -> None:
    """Of a flow, nat looks at the first packet only: where each goes must not follow from whose socket had the port before."""
    far, here = (FAR[family], 53), ("", 5353)
    with pod.socket(family, socket.SOCK_DGRAM, is_sidecar=True) as guard:
        guard.bind((LOOPBACK[family], ports.DNS))

        def ask(query: bytes, *, is_sidecar: bool) -> None:
            with pod.socket(family, socket.SOCK_DGRAM, is_sidecar=is_sidecar) as sock:
                sock.bind(here)
                sock.sendto(query, far)
                if is_sidecar:
                    with pod.where.node.entered(), socket.socket(DOMAIN[family], socket.SOCK_DGRAM) as server:
                        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        server.bind((NODE[family], 53))
                        server.sendto(b"answer", (POD[family], here[1]))
                    assert sock.recv(100) == b"answer"

        pod.left()
        for i in range(3):
            ask(b"application %d" % i, is_sidecar=False)
            assert guard.recv(100) == b"application %d" % i
            ask(b"sidecar %d" % i, is_sidecar=True)
        assert [packet[-9:] for packet in pod.left()] == [b"sidecar %d" % i for i in range(3)]


def test_udp_of_the_kernels_own_sockets_stays(pod: Pod) -> None:
    """A VXLAN interface stands in for AF_RXRPC, which not every kernel has: both send from sockets that belong to no process."""
    line = next(line for line in rules(4, pod.exemption, UIDS) if why(line) == intercept.KERNEL_UDP_GUARD)

    def tunnelled() -> int:
        pod.left()
        pod.space.run("ip link set tunnel up")
        pod.space.run("ip link set tunnel down")
        return len(pod.left())

    try:
        pod.space.run(f"ip link add tunnel type vxlan id 5 remote {FAR[4]} dstport 4789 dev eth0")
    except AssertionError as exc:
        pytest.skip(f"no vxlan in this kernel: {exc}")
    try:
        pod.space.run("ip addr add 10.77.0.1/24 dev tunnel")
        pod.space.set(ipv4__conf__tunnel__arp_notify="1")  # announces itself by ARP when it comes up
        assert tunnelled() == 0
        pod.delete(4, line)
        assert tunnelled() > 0
    finally:
        pod.space.run("ip link del tunnel")


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("end", ["closed here", "closed there", "reset"])
def test_a_port_of_the_sidecars_tcp_cannot_be_taken_over(pod: Pod, family: int, end: str) -> None:
    """However its connection ended: a new one is looked at by nat again, and is not the sidecar's for the filter."""
    with pod.where.far.entered():
        server = socket.create_server((FAR[family], 8080), family=DOMAIN[family])
    with server, contextlib.ExitStack() as stack:
        sidecar = stack.enter_context(pod.socket(family, socket.SOCK_STREAM, is_sidecar=True))
        sidecar.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sidecar.connect((FAR[family], 8080))
        port = sidecar.getsockname()[1]
        accepted = stack.enter_context(server.accept()[0])
        if end == "reset":
            sidecar.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if end == "closed there":
            accepted.close()
            assert sidecar.recv(1) == b""
        sidecar.close()
        accepted.close()
        pod.left()
        with pod.socket(family, socket.SOCK_STREAM, is_sidecar=False) as app:
            app.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            app.settimeout(0.5)
            with pytest.raises(OSError):
                app.bind(("", port))
                app.connect((FAR[family], 8080))
        assert [packet for packet in pod.left() if _tcp_flags(packet) == _SYN] == []


_SYN = 2


def _tcp_flags(packet: bytes) -> int:
    return packet[(packet[0] & 15) * 4 + 13] if packet[0] >> 4 == 4 else packet[53]


def raw_attempts(family: int) -> dict[str, str]:
    """What needs NET_RAW, which runtimes give by default: a mark, a source that is not ours, packets past the network layer."""
    def told(act: Callable[[], object]) -> str:
        try:
            act()
            return "passed"
        except OSError as exc:
            return errno.errorcode[exc.errno or 0]

    def marked() -> None:
        with socket.socket(DOMAIN[family], socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, 36, BY_MARK.value)
            sock.sendto(b"marked", (FAR[family], 9))

    def transparent() -> None:
        with socket.socket(DOMAIN[family], socket.SOCK_DGRAM) as sock:
            sock.setsockopt(*((socket.SOL_IP, 19, 1) if family == 4 else (socket.IPPROTO_IPV6, 75, 1)))

    def packets() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800 if family == 4 else 0x86DD)) as sock:
            sock.bind(("eth0", 0x0800 if family == 4 else 0x86DD))
            head = bytes([0x45, 0, 0, 28, 0, 0, 0, 0, 9, 17, 0, 0]) if family == 4 else bytes([0x60, 0, 0, 0, 0, 8, 17, 9])
            ends = socket.inet_pton(DOMAIN[family], POD[family]) + socket.inet_pton(DOMAIN[family], FAR[family])
            sock.sendto(head + ends + bytes([0, 9, 0, 9, 0, 8, 0, 0]), ("eth0", 0x0800 if family == 4 else 0x86DD, 0, 1, b"\xff" * 6))

    def raw() -> None:
        socket.socket(DOMAIN[family], socket.SOCK_RAW, socket.IPPROTO_UDP).close()

    return {"marked": told(marked), "transparent": told(transparent), "packets": told(packets), "raw": told(raw)}


@pytest.mark.parametrize("family", [4, 6])
def test_without_net_raw_nothing_is_sent_past_the_rules(pod: Pod, family: int) -> None:
    """That is why admission takes it from every container: with it the same gets out."""
    pod.left()
    with pod.space.entered():
        assert set(without_capabilities(partial(raw_attempts, family), APP_UID).values()) == {"EPERM"}
    assert pod.left() == []
    with pod.space.entered():
        fates = without_capabilities(partial(raw_attempts, family), APP_UID, but=CAP_NET_RAW)
    assert fates["packets"] == fates["transparent"] == fates["raw"] == "passed"
    assert len(pod.left()) >= (2 if pod.mark is not None else 1)


@pytest.mark.parametrize("family", [4, 6])
def test_an_address_that_is_nobodys_leads_to_the_sidecar_too(pod: Pod, family: int) -> None:
    """The guard's synthetic addresses are such."""
    host = {4: "240.0.0.7", 6: "2001:db8:77::7"}[family]
    with pod.socket(family, socket.SOCK_STREAM, is_sidecar=True) as listener, \
            pod.socket(family, socket.SOCK_STREAM, is_sidecar=False) as client:
        listener.bind((LOOPBACK[family], ports.OUTBOUND))
        listener.listen()
        client.connect((host, 5432))
        with listener.accept()[0] as accepted:
            assert original_dst(accepted) == (host, 5432)


# -- what a MeshPolicy lets pass


@pytest.mark.parametrize("family", [4, 6])
def test_approved_datagrams_pass_and_no_others(passing: Pod, family: int) -> None:
    def fate(host: str, port: int) -> str:
        with passing.socket(family, socket.SOCK_DGRAM, is_sidecar=False) as sock:
            try:
                sock.sendto(b"datagram", (host, port))
                return "sent"
            except PermissionError:
                return "refused"

    with passing.where.far.entered():
        server = socket.socket(DOMAIN[family], socket.SOCK_DGRAM)
        server.bind((FAR[family], UDP_PORT))
        server.settimeout(5)
    with server, passing.socket(family, socket.SOCK_DGRAM, is_sidecar=False) as app:
        app.sendto(b"question", (FAR[family], UDP_PORT))
        _, peer = server.recvfrom(100)
        server.sendto(b"answer", peer)
        assert app.recvfrom(100)[0] == b"answer"
    passing.left()
    others = [(FAR[family], UDP_PORT + 1), (NODE[family], UDP_PORT), (NODE[family], 9), (FAR[family], 443)]
    assert {fate(*to) for to in others} == {"refused"}
    # A question still goes to the guard, who does not listen here.
    assert fate(FAR[family], 53) == "sent"
    assert passing.left() == []


@pytest.mark.parametrize("family", [4, 6])
def test_excluded_connections_pass_and_no_others(passing: Pod, family: int) -> None:
    def serves(space: Namespace, host: str, port: int) -> socket.socket:
        with space.entered():
            return socket.create_server((host, port), family=DOMAIN[family], reuse_port=True)

    for space, host, port in ((passing.where.far, FAR[family], OUT_PORT), (passing.where.node, NODE[family], 8080)):
        with serves(space, host, port) as server, passing.socket(family, socket.SOCK_STREAM, is_sidecar=False) as app:
            app.connect((host, port))
            with server.accept()[0] as accepted:
                app.sendall(b"question")
                assert accepted.recv(100) == b"question"
    passing.left()
    with passing.socket(family, socket.SOCK_STREAM, is_sidecar=True) as sidecar:
        sidecar.bind((LOOPBACK[family], ports.OUTBOUND))
        sidecar.listen()
        for to in ((FAR[family], 8080), (NODE[family], 53)):      # a resolver's address is excluded, its DNS is not
            with passing.socket(family, socket.SOCK_STREAM, is_sidecar=False) as app:
                app.connect(to)
                with sidecar.accept()[0] as accepted:
                    assert original_dst(accepted) == to
    assert passing.left() == []


@pytest.mark.parametrize("family", [4, 6])
def test_at_an_excluded_port_the_application_is_reached_and_cannot_set_out(passing: Pod, family: int) -> None:
    with passing.socket(family, socket.SOCK_STREAM, is_sidecar=False) as app:
        app.bind(("", IN_PORT))
        app.listen()
        with passing.where.far.entered(), socket.socket(DOMAIN[family]) as client:
            client.settimeout(5)
            client.connect((POD[family], IN_PORT))
            with app.accept()[0] as accepted:
                accepted.sendall(b"answer")
                assert client.recv(100) == b"answer"
    passing.left()
    for line in rules(family, passing.exemption, UIDS):       # type: ignore[arg-type]
        if line.table == "nat":
            passing.delete(family, line)        # as if the flow were one that nat does not look at any more
    try:
        with passing.socket(family, socket.SOCK_STREAM, is_sidecar=False) as app:
            app.bind(("", IN_PORT))
            with pytest.raises(OSError):
                app.connect((FAR[family], 8080))
    finally:
        passing.load()
    assert passing.left() == []


# -- what the sidecar must still be able to do


@pytest.mark.parametrize("family", [4, 6])
def test_all_data_arrives_that_the_sidecar_left_behind_in_a_closed_socket(pod: Pod, family: int) -> None:
    """Orphaned packets have no owner. On the way: neighbour discovery from nothing, and a link with a smaller MTU."""
    data = os.urandom(2_000_000)
    for space in (pod.space, pod.where.node):
        space.run(f"ip -{family} neigh flush all")
    with pod.where.far.entered():
        server = socket.create_server((FAR[family], 8080), family=DOMAIN[family])
    with server:
        with pod.socket(family, socket.SOCK_STREAM, is_sidecar=True) as client:
            client.connect((FAR[family], 8080))
            client.setblocking(False)
            assert client.send(data) == len(data)
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(5)
            received = bytearray()
            while chunk := accepted.recv(1 << 16):
                received += chunk
    assert received == data


@pytest.mark.parametrize("port", [ports.HEALTH, ports.OUTBOUND, ports.DNS, 8080])
@pytest.mark.parametrize("family", [4, 6])
def test_what_enters_is_led_to_the_sidecar_whatever_port_it_meant(pod: Pod, family: int, port: int) -> None:
    """So nobody reaches the listeners of the loopback: the inbound one sees which port was meant, and refuses its own."""
    with pod.socket(family, socket.SOCK_STREAM, is_sidecar=True) as listener, pod.where.far.entered(), \
            socket.socket(DOMAIN[family]) as client:
        listener.bind(("", ports.INBOUND))
        listener.listen()
        client.settimeout(5)
        client.connect((POD[family], port))
        with listener.accept()[0] as accepted:
            assert original_dst(accepted) == (POD[family], port)


def test_what_enters_by_a_link_local_address_is_led_to_the_sidecar(pod: Pod) -> None:
    found = re.search("inet6 (fe80[^/]*)", pod.space.run("ip -6 addr show dev eth0"))
    assert found
    with pod.socket(6, socket.SOCK_STREAM, is_sidecar=True) as listener, pod.where.node.entered(), socket.socket(socket.AF_INET6) as client:
        listener.bind(("", ports.INBOUND))
        listener.listen()
        client.settimeout(5)
        client.connect((found[1], 8080, 0, socket.if_nametoindex("pod0")))
        with listener.accept()[0] as accepted:
            assert original_dst(accepted) == (found[1], 8080)


def test_a_dual_stack_listener_knows_where_an_ipv4_peer_was_going(pod: Pod) -> None:
    with pod.socket(6, socket.SOCK_STREAM, is_sidecar=True) as listener, pod.where.far.entered(), socket.socket() as client:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("", ports.INBOUND))
        listener.listen()
        client.settimeout(5)
        client.connect((POD[4], 8080))
        with listener.accept()[0] as accepted:
            assert accepted.getpeername()[0].startswith("::ffff:")
            assert original_dst(accepted) == (POD[4], 8080)


# -- loading


def test_loading_twice_changes_nothing_and_foreign_rules_stay(pod: Pod) -> None:
    foreign = "OUTPUT -p tcp -m tcp --dport 1 -m comment --comment \"not ours\" -j ACCEPT"
    before = pod.saved()
    pod.space.run(f"iptables -I {foreign}")
    pod.load()
    pod.load()
    assert f"-A {foreign}" in pod.saved()
    pod.space.run(f"iptables -D {foreign}")
    assert pod.saved() == before


@pytest.mark.parametrize("broken", ["iptables-restore", "ip6tables-restore", "ip6tables-save"])
def test_nothing_changes_if_one_family_fails(pod: Pod, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    is_armed = tmp_path / "armed"
    program = tmp_path / broken
    program.write_text(f'#!/bin/sh\nif [ -e {is_armed} ]; then rm {is_armed}; echo out of luck >&2; exit 1; fi\n'
                       f'PATH=${{PATH#*:}} exec {broken} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def fail() -> None:
        before = pod.saved()
        is_armed.touch()
        with pod.space.entered():
            assert load(Exemption("mark", 0x77)) == 1
        assert capsys.readouterr().err.startswith(f"bartizan intercept: {broken}: out of luck: ")
        assert pod.saved() == before

    fail()
    pod.flush()
    fail()


def test_without_the_capability_it_says_so(pod: Pod, capfd: pytest.CaptureFixture[str]) -> None:
    with pod.space.entered():
        assert without_capabilities(partial(load, BY_MARK), APP_UID) == 1
    said = capfd.readouterr().err
    assert re.fullmatch("bartizan intercept: iptables-save: .*: give the container the capability NET_ADMIN\n", said)


def test_the_one_capability_is_enough_for_a_user_who_is_not_root(pod: Pod) -> None:
    pod.flush()
    with pod.space.entered():
        assert without_capabilities(partial(load, pod.exemption), APP_UID, but=CAP_NET_ADMIN) == 0
    before = pod.saved()
    pod.load()
    assert pod.saved() == before


def test_without_the_program_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert load(BY_MARK) == 1
    assert capsys.readouterr().err == ("bartizan intercept: iptables-save is not installed: use the image of the mesh, "
                                       "or install iptables\n")


# A user namespace in which 1000 is mapped below its neighbours, as `podman --userns=keep-id` does.
ODD_MAP = "0 100000 1000\n1000 1000 1\n1001 101000 64535\n"


@pytest.mark.skipif(UIDS[-1].last < 200_000, reason="needs root to map user IDs")
def test_every_user_of_an_oddly_mapped_namespace_is_held() -> None:
    def fates() -> dict[int, str]:
        for command in ("link set lo up", "link add eth0 type veth peer name other", "link set other up", "link set eth0 up",
                        "addr add 10.9.0.2/24 dev eth0"):
            subprocess.run(["ip", *command.split()], check=True)
        assert load(BY_UID) == 0
        said = {}
        for uid in (0, 999, 1000, 1001, 65535, SIDECAR_UID):
            with as_user(uid), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                try:
                    sock.sendto(b"x", ("10.9.0.1", 9))
                    said[uid] = "sent"
                except PermissionError:
                    said[uid] = "refused"
        return said

    assert with_uid_map(fates, ODD_MAP) == {**dict.fromkeys((0, 999, 1000, 1001, 65535), "refused"), SIDECAR_UID: "sent"}
