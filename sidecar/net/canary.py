"""The sidecar's tests of the packet rules that hold its application: packets to addresses for which it is not exempt.

One `probe` asks one family all that can be asked without a capability, and answers with facts; control/redirect_check.py judges.
What should arrive at us is announced in a `CanaryArrivals`, which the outbound listener and the DNS guard ask about each arrival.
The sidecar's sockets are made here with its UID (or `mark`), so the rules see what they would see of any of its packets.

Trust: the application can send to the canaries as well. It cannot feign an arrival: a datagram must hold a nonce of this probe, a
connection must have this probe's port, and neither arrives with a canary as its destination unless the rule is at work.
"""

import errno
import secrets
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

import msgspec
import trio

from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.model.ports import Family

_MAGIC = b"bartizan canary "  # as a DNS message: a query count that no resolver sends
_DOMAIN: dict[Family, int] = {4: socket.AF_INET, 6: socket.AF_INET6}
_LOOPBACK: dict[Family, str] = {4: "127.0.0.1", 6: "::1"}
_CONNECTED_TO = frozenset(Address(host, ports.CANARY_PORT) for host in ports.NAT_CANARY.values())
# No address or no route on this way: then nothing of the application's can go it either.
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.ENODEV, errno.EACCES})


class CanaryArrivals:
    """What the probes wait for, and who tells them."""

    def __init__(self) -> None:
        self._awaited: dict[bytes | Address, trio.Event] = {}

    def tcp(self, original_dst: Address, peer_port: int) -> bool:
        """Whether a redirected connection is a canary: then close it, it is nobody's traffic."""
        if original_dst not in _CONNECTED_TO:
            return False
        self._arrived(Address(original_dst.host, peer_port))
        return True

    def udp(self, payload: bytes) -> bool:
        """Whether a datagram is a canary: then it is no question and gets no answer."""
        if not payload.startswith(_MAGIC):
            return False
        self._arrived(payload)
        return True

    @contextmanager
    def expect(self, key: bytes | Address) -> Iterator[trio.Event]:
        """An event, set when the datagram `key` arrives, or a connection from port `key.port` to the canary `key.host`."""
        event = self._awaited[key] = trio.Event()
        try:
            yield event
        finally:
            del self._awaited[key]

    def _arrived(self, key: bytes | Address) -> None:
        if (event := self._awaited.get(key)) is not None:
            event.set()


class Facts(msgspec.Struct, frozen=True):
    """What one probe of one family saw. None: there is no way out on which to ask.

    Args:
        tcp_arrived: our connection to the nat canary came to the outbound listener.
        dns_arrived: our datagram to port 53 of the nat canary came to the guard.
        own_dns_arrived: one that is exempt came there too.
        could_send: a datagram that is exempt everywhere was not refused.
        guard_refused: a datagram to the filter canary was refused.
        local_stayed: a datagram to loopback was refused on every socket bound to another interface.
    """

    tcp_arrived: bool | None
    dns_arrived: bool | None
    own_dns_arrived: bool | None
    could_send: bool | None
    guard_refused: bool | None
    local_stayed: bool | None


async def probe(family: Family, arrivals: CanaryArrivals, *, within_s: float, mark: int | None) -> Facts:
    """Send all canaries of `family` and wait up to `within_s` for those that should arrive.

    Raises: OSError if a socket cannot be had. After cancellation nothing is left open or awaited.
    """
    try:
        connection = _socket(family, socket.SOCK_STREAM, mark)
    except OSError as exc:
        if exc.errno == errno.EAFNOSUPPORT:  # the kernel does not have this family
            return Facts(None, None, None, None, None, None)
        raise
    indices = {name: index for index, name in socket.if_nameindex()}
    interfaces = [name for name in indices if name != "lo"]
    ways = [indices[name] for name in (["lo"] if family == 4 else interfaces)]  # for multicast; IPv6 does not route it through lo
    own, guarded = _MAGIC + secrets.token_bytes(16), _MAGIC + secrets.token_bytes(16)
    nat_canary = ports.NAT_CANARY[family]

    def to_groups(group: str, port: int) -> list[_Fate]:
        return [_send(family, (group, port), own, mark, group_via=index) for index in ways]

    with connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # else each leaves a TIME_WAIT
        connection.bind(("", 0))
        port = connection.getsockname()[1]
        with arrivals.expect(own) as own_dns, arrivals.expect(guarded) as dns, arrivals.expect(Address(nat_canary, port)) as tcp:
            # The exempt ones first: the guard reads in order, so when the other has come, these have, too, if they come at all.
            exempt = to_groups(ports.EXEMPT_CANARY[family], 53) + to_groups(ports.EXEMPT_CANARY[family], ports.CANARY_PORT)
            asking = _send(family, (nat_canary, 53), guarded, mark)
            connecting = _fate(connection.connect_ex((nat_canary, ports.CANARY_PORT)))
            with trio.move_on_after(within_s):
                if asking is not _Fate.NO_WAY:
                    await dns.wait()
                if connecting is not _Fate.NO_WAY:
                    await tcp.wait()
    return Facts(
        tcp_arrived=None if connecting is _Fate.NO_WAY else tcp.is_set(),
        dns_arrived=None if asking is _Fate.NO_WAY else dns.is_set(),
        own_dns_arrived=own_dns.is_set(),
        could_send=_all_are(_Fate.SENT, exempt),
        guard_refused=_all_are(_Fate.REFUSED, to_groups(ports.FILTER_CANARY[family], ports.CANARY_PORT)),
        local_stayed=_all_are(_Fate.REFUSED, [_send(family, (_LOOPBACK[family], ports.CANARY_PORT), own, mark, bound_to=name)
                                              for name in interfaces]),
    )


class _Fate(Enum):
    REFUSED = "by a filter"
    NO_WAY = "nothing can go there"
    SENT = "or failed in a way that proves nothing"


def _fate(error: int) -> _Fate:
    return _Fate.REFUSED if error == errno.EPERM else _Fate.NO_WAY if error in _NO_WAY else _Fate.SENT


def _all_are(expected: _Fate, fates: list[_Fate]) -> bool | None:
    asked = [fate for fate in fates if fate is not _Fate.NO_WAY]
    return all(fate is expected for fate in asked) if asked else None


def _socket(family: Family, kind: socket.SocketKind, mark: int | None) -> socket.socket:
    sock = socket.socket(_DOMAIN[family], kind)
    try:
        sock.setblocking(False)
        if mark is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    except OSError:
        sock.close()
        raise
    return sock


def _send(family: Family, to: tuple[str, int], payload: bytes, mark: int | None, *,
          group_via: int = 0, bound_to: str = "") -> _Fate:
    """Send one datagram; to a multicast group through the interface of index `group_via`."""
    with _socket(family, socket.SOCK_DGRAM, mark) as sock:
        if bound_to:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, bound_to.encode())
        try:
            if group_via and family == 4:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), group_via))
            elif group_via:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, group_via)
            sock.sendto(payload, to)
        except OSError as exc:
            return _fate(exc.errno or 0)
    return _Fate.SENT
