"""Network namespaces for tests: a pod, the node that routes for it, and a host behind a narrower link.

    pod  eth0 10.9.0.2, fd09::2 --- 10.9.0.1, fd09::1  node  10.7.0.1, fd07::1 --- 10.7.0.2, fd07::2  far   (MTU 1300)
         net1 10.8.0.2, fd08::2 --- node

The test's own thread enters a namespace to make a socket there; the socket stays there. Likewise it is the socket's UID that the
packet rules look at: `as_user` sets the one that sockets are made with. Needs root, or the root of a user namespace.
"""

import ctypes
import os
import pickle
import select
import shlex
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_CAPBSET_DROP = 24
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
CAP_NET_ADMIN, CAP_NET_RAW = 12, 13
_CAPABILITY_VERSION_3 = 0x20080522
ETH_P_ALL = 3
_SO_RCVBUFFORCE = 33

NODE = {4: "10.9.0.1", 6: "fd09::1"}
POD = {4: "10.9.0.2", 6: "fd09::2"}
POD_NET1 = {4: "10.8.0.2", 6: "fd08::2"}
FAR = {4: "10.7.0.2", 6: "fd07::2"}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
DOMAIN = {4: socket.AF_INET, 6: socket.AF_INET6}


def why_impossible() -> str:
    """Why namespaces cannot be made here; empty if they can."""
    done = subprocess.run(["unshare", "--net", "iptables-save"], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr.strip()


@contextmanager
def as_user(uid: int) -> Iterator[None]:
    """Sockets made inside belong to `uid`."""
    _libc.setfsuid(uid)
    try:
        yield
    finally:
        _libc.setfsuid(os.geteuid())


class Namespace:
    """Lives as long as the process that holds it.

    Args:
        besides: options of unshare(1) for more than the network.
    """

    def __init__(self, stack: ExitStack, *besides: str) -> None:
        self._holder = stack.enter_context(subprocess.Popen(
            ["unshare", "--net", *besides, "sh", "-c", "echo; exec sleep 1200"], stdout=subprocess.PIPE))
        stack.callback(self._holder.kill)
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self.pid = self._holder.pid

    @contextmanager
    def entered(self) -> Iterator[None]:
        with open("/proc/self/ns/net", "rb") as before, open(f"/proc/{self.pid}/ns/net", "rb") as inside:
            _setns(inside.fileno())
            try:
                yield
            finally:
                _setns(before.fileno())

    def run(self, command: str, stdin: str = "") -> str:
        with self.entered():
            done = subprocess.run(shlex.split(command), input=stdin, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def set(self, **settings: str) -> None:
        """Kernel settings below /proc/sys/net, `__` for `/`: a bare machine has no sysctl command."""
        with self.entered():
            for name, value in settings.items():
                Path("/proc/sys/net", name.replace("__", "/")).write_text(value)


def without_capabilities(function: Callable[[], T], uid: int, *, but: int | None = None) -> T:
    """What `function` returns in a child process that has become `uid` and can do nothing that this user may not.

    Args:
        but: the one capability that it and what it runs keep.
    """
    return _forked(function, lambda: _drop_to(uid, but))


def with_uid_map(function: Callable[[], T], uid_map: str) -> T:
    """What `function` returns in a child process: root of a user namespace with this map, in an empty network namespace."""
    asked, answered = os.pipe(), os.pipe()

    def enter() -> None:
        _checked(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET), "unshare")
        os.write(asked[1], b"!")
        os.read(answered[0], 1)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)

    def write_maps(pid: int) -> None:
        os.read(asked[0], 1)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{name}", "w") as file:
                file.write(uid_map)
        os.write(answered[1], b"!")

    try:
        return _forked(function, enter, write_maps)
    finally:
        for fd in (*asked, *answered):
            os.close(fd)


def _forked(function: Callable[[], T], before: Callable[[], None], meanwhile: Callable[[int], None] = lambda _: None) -> T:
    result, to_parent = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            before()
            os.write(to_parent, pickle.dumps(function()))
            status = 0
        except BaseException:  # noqa: BLE001 -- the child must never go back into the test run
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    os.close(to_parent)
    meanwhile(pid)
    with os.fdopen(result, "rb") as file:
        data = file.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, "the child failed; it said why on stderr"
    return cast(T, pickle.loads(data))


def _drop_to(uid: int, but: int | None) -> None:
    for capability in range(64):
        if capability != but:
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # else UID 0 has them again after the next exec
    _libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setresuid(uid, uid, uid)
    kept = 0 if but is None else 1 << but
    header, sets = struct.pack("Ii", _CAPABILITY_VERSION_3, 0), struct.pack("6I", kept, kept, kept, 0, 0, 0)
    _checked(_libc.capset(header, sets), "capset")
    if but is not None:
        _checked(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, but, 0, 0), "prctl")


def _checked(result: int, name: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), name)


def _setns(fd: int) -> None:
    _checked(_libc.setns(fd, _CLONE_NEWNET), "setns")


class Wire:
    """Every frame that comes out of the pod, on either interface."""

    def __init__(self, node: Namespace, *interfaces: str) -> None:
        with node.entered():
            self._taps = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) for _ in interfaces]
            for tap, interface in zip(self._taps, interfaces, strict=True):
                tap.bind((interface, ETH_P_ALL))
                tap.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 26)
                tap.setblocking(False)

    def seen(self) -> list[bytes]:
        """IP packets since the last call; without ARP, and without neighbour discovery and MLD (ICMPv6 130 to 143)."""
        packets = []
        for tap in self._taps:
            while True:
                try:
                    frame, (_, _, kind, *_) = tap.recvfrom(65535)
                except BlockingIOError:
                    break
                if kind != socket.PACKET_OUTGOING and frame[12:14] != b"\x08\x06" and not _is_upkeep(frame[14:]):
                    packets.append(frame[14:])
        return packets

    def wait_seen(self) -> list[bytes]:
        """As `seen`, once there is something."""
        assert select.select(self._taps, [], [], 5)[0], "nothing came out of the pod for 5 s"
        return self.seen()

    def close(self) -> None:
        for tap in self._taps:
            tap.close()


def _is_upkeep(packet: bytes) -> bool:
    if packet[0] >> 4 != 6:
        return False
    at, following = 40, packet[6]
    if following == 0:  # hop-by-hop options: MLD
        following, at = packet[at], at + 8 + packet[at + 1] * 8
    return following == 58 and 130 <= packet[at] <= 143


@dataclass(frozen=True)
class World:
    pod: Namespace
    node: Namespace
    far: Namespace
    wire: Wire


@contextmanager
def world() -> Iterator[World]:
    with ExitStack() as stack:
        pod, node, far = (Namespace(stack) for _ in range(3))
        for space in (pod, node, far):
            # No duplicate address detection: an address that is still tentative cannot be used.
            space.set(ipv6__conf__all__accept_dad="0", ipv6__conf__default__accept_dad="0")
            space.set(ipv4__ip_forward="1", ipv6__conf__all__forwarding="1")
            space.run("ip link set lo up")
        pod.set(ipv4__ip_forward="0", ipv6__conf__all__forwarding="0")
        pod.set(ipv4__tcp_wmem="4096 8000000 8000000")  # a socket holds much that is not yet sent
        pod.set(ipv4__ping_group_range="0 0")  # as container runtimes set it: echo without a capability
        node.run(f"ip link add pod0 type veth peer name eth0 netns {pod.pid}")
        node.run(f"ip link add pod1 type veth peer name net1 netns {pod.pid}")
        node.run(f"ip link add far0 mtu 1300 type veth peer name eth0 mtu 1300 netns {far.pid}")
        for space, interface, *addresses in (
            (pod, "eth0", f"{POD[4]}/24", f"{POD[6]}/64"), (pod, "net1", f"{POD_NET1[4]}/24", f"{POD_NET1[6]}/64"),
            (node, "pod0", f"{NODE[4]}/24", f"{NODE[6]}/64"), (node, "pod1"), (node, "far0", "10.7.0.1/24", "fd07::1/64"),
            (far, "eth0", f"{FAR[4]}/24", f"{FAR[6]}/64"),
        ):
            space.run(f"ip link set {interface} up")
            for address in addresses:
                space.run(f"ip addr add {address} dev {interface}{' nodad' if ':' in address else ''}")
        for space, gateway in ((pod, NODE), (far, {4: "10.7.0.1", 6: "fd07::1"})):
            for family in (4, 6):
                space.run(f"ip -{family} route add default via {gateway[family]}")
        wire = Wire(node, "pod0", "pod1")
        stack.callback(wire.close)
        yield World(pod, node, far, wire)
