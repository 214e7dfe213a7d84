"""The wires: a node with a bridge, a network namespace a pod, and an outside beyond a router; IPv4 and IPv6 alike.

    pods      10.244.0.0/24  fd00:244::/64     on the bridge `mesh0` of the node, which is the world's own namespace
    kube-dns  10.96.0.10                       a namespace on the same bridge
    outside   203.0.113.0/24  2001:db8:1::/64  a namespace behind the node, one address a host

The other Service addresses (10.96.0.0/16) need no device: a sidecar dials endpoints, and what reaches the node is refused.
"""

from dataclasses import dataclass
from pathlib import Path

import trio

from .errors import DemoError

BRIDGE = "mesh0"
BRIDGE_MAC = "02:00:00:00:00:01"    # else it has the lowest of its ports, another when that pod goes, and for seconds nobody finds the node
NODE = ("10.244.0.1", "fd00:244::1")
CLUSTER_DNS = "10.96.0.10"
DNS_LINK = ("10.244.0.2", "fd00:244::2")
FIRST_POD = 10
LAST_POD = 250
ROUTER = ("203.0.113.1", "2001:db8:1::1")
NETNS_FOLDER = Path("/run/netns")

# What container runtimes set in a pod: anyone may ping and bind any port. Accepting redirects or running duplicate address
# detection would only make the first second of a pod's life differ from the next.
POD_SYSCTLS = ("net/ipv4/ip_unprivileged_port_start=0", "net/ipv6/conf/default/accept_dad=0", "net/ipv6/conf/all/accept_dad=0")
NODE_SYSCTLS = ("net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1", "net/ipv4/conf/all/send_redirects=0",
                "net/ipv4/conf/default/send_redirects=0", "net/ipv6/conf/default/accept_dad=0")


@dataclass(frozen=True, slots=True)
class Addresses:
    ipv4: str
    ipv6: str

    def both(self) -> tuple[str, str]:
        return self.ipv4, self.ipv6


def netns_path(name: str) -> str:
    return str(NETNS_FOLDER / name)


async def command(argv: list[str], text: str = "") -> str:
    """Run a program that must succeed. Returns its standard output; DemoError names what it said otherwise."""
    done = await trio.run_process(argv, stdin=text.encode(), capture_stdout=True, capture_stderr=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
        raise DemoError(f"`{' '.join(argv)}` failed: {said}")
    return done.stdout.decode()


async def _set(name: str | None, settings: tuple[str, ...]) -> None:
    script = "\n".join(f"echo {value!r} > /proc/sys/{key}" for key, _, value in (item.partition("=") for item in settings))
    await command([*([] if name is None else ["nsenter", f"--net={netns_path(name)}"]), "sh", "-ec", script])


def _group_range() -> str:
    """Every group ID that this user namespace has: what runtimes write into ping_group_range."""
    lines = Path("/proc/self/gid_map").read_text().splitlines()   # first ID inside, first outside, count; without gaps here
    last = sum(int(line.split()[2]) for line in lines) - 1
    return f"0 {min(last, 2**31 - 1)}"


class Network:
    """Made once, in namespaces of one's own; nothing needs to be taken down."""

    def __init__(self) -> None:
        self._next = FIRST_POD

    async def up(self, outside: dict[str, Addresses]) -> None:
        """The node, kube-dns and the outside with one pair of addresses a host.

        Args:
            outside: by host name.
        """
        await _set(None, NODE_SYSCTLS)
        await command(["ip", "-batch", "-"], "\n".join((
            "link set lo up",
            f"link add {BRIDGE} address {BRIDGE_MAC} type bridge",
            f"link set {BRIDGE} up",
            f"addr add {NODE[0]}/24 dev {BRIDGE}",
            f"addr add {NODE[1]}/64 dev {BRIDGE} nodad",
        )) + "\n")
        await self._join("kube-dns", Addresses(*DNS_LINK))
        await command(["ip", "-n", "kube-dns", "addr", "add", f"{CLUSTER_DNS}/32", "dev", "lo"])
        await command(["ip", "route", "add", f"{CLUSTER_DNS}/32", "via", DNS_LINK[0]])
        await command(["ip", "route", "add", "unreachable", "10.96.0.0/16"])

        await command(["ip", "netns", "add", "outside"])
        await _set("outside", POD_SYSCTLS)
        await command(["ip", "-batch", "-"], "\n".join((
            "link add outside0 type veth peer name eth0 netns outside",
            "link set outside0 up",
            f"addr add {ROUTER[0]}/24 dev outside0",
            f"addr add {ROUTER[1]}/64 dev outside0 nodad",
        )) + "\n")
        await command(["ip", "-n", "outside", "-batch", "-"], "\n".join((
            "link set lo up", "link set eth0 up",
            *(line for host in outside.values() for line in (
                f"addr add {host.ipv4}/24 dev eth0", f"addr add {host.ipv6}/64 dev eth0 nodad")),
            f"route add default via {ROUTER[0]}", f"route add default via {ROUTER[1]}",
        )) + "\n")

    async def add_pod(self, name: str) -> Addresses:
        """A namespace for a pod, with addresses and default routes."""
        if self._next > LAST_POD:
            raise DemoError(f"no pod address is left for {name}; the demo has room for {LAST_POD - FIRST_POD + 1} pods")
        number, self._next = self._next, self._next + 1
        addresses = Addresses(f"10.244.0.{number}", f"fd00:244::{number:x}")
        await self._join(name, addresses)
        await _set(name, (f"net/ipv4/ping_group_range={_group_range()}",))
        return addresses

    async def remove_pod(self, name: str) -> None:
        await command(["ip", "netns", "del", name])

    async def _join(self, name: str, addresses: Addresses) -> None:
        await command(["ip", "netns", "add", name])
        await _set(name, POD_SYSCTLS)
        port = f"v{addresses.ipv4.rpartition('.')[2]}"   # an interface's name has room for 15 characters, a pod's has more
        await command(["ip", "-batch", "-"], "\n".join((
            f"link add {port} type veth peer name eth0 netns {name}",
            f"link set {port} master {BRIDGE} up",
        )) + "\n")
        await command(["ip", "-n", name, "-batch", "-"], "\n".join((
            "link set lo up", "link set eth0 up",
            f"addr add {addresses.ipv4}/24 dev eth0", f"addr add {addresses.ipv6}/64 dev eth0 nodad",
            f"route add default via {NODE[0]}", f"route add default via {NODE[1]}",
        )) + "\n")


def in_netns(name: str, argv: list[str]) -> list[str]:
    return ["nsenter", f"--net={netns_path(name)}", *argv]

