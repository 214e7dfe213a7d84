"""What an application can do against the packet rules: nothing of its own leaves the pod."""

import contextlib
import errno
import socket
import struct
from collections.abc import Callable
from functools import partial

import pytest

from sidecar import intercept
from sidecar.intercept import rules
from sidecar.model import ports
from sidecar.net.original_dst import original_dst
from tests.e2e.interception.support import APP_UID, BY_MARK, NETNS, UIDS, Pod, why
from tests.helpers.netns import CAP_NET_RAW, DOMAIN, FAR, LOOPBACK, NODE, POD, POD_NET1, without_capabilities

pytestmark = NETNS


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
