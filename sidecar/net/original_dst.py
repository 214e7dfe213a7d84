"""Where a redirected connection was going, as the kernel remembers it. Linux: netfilter_ipv4.h, netfilter_ipv6/ip6_tables.h.

Trust: the answer is the kernel's; the application cannot forge it, but it chose it.
"""

import socket
import struct

from sidecar.model.address import Address, canonical

_SO_ORIGINAL_DST = 80
_SOL_IPV6 = 41


def original_dst(sock: socket.socket) -> Address | None:
    """The destination before the redirect; None if the kernel knows of no redirect.

    A connection made straight to the listener gives the listener's own address: callers compare ports (`ports.OWN`).
    On a dual-stack socket an IPv4 peer is asked for at the IPv4 level (the IPv6 level does not know it).
    """
    peer = sock.getpeername()[0]
    try:
        if sock.family == socket.AF_INET or peer.startswith("::ffff:"):
            raw = sock.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
            (port,) = struct.unpack_from("!H", raw, 2)
            return Address(socket.inet_ntop(socket.AF_INET, raw[4:8]), port)
        raw = sock.getsockopt(_SOL_IPV6, _SO_ORIGINAL_DST, 28)
        (port,) = struct.unpack_from("!H", raw, 2)
        return Address(str(canonical(socket.inet_ntop(socket.AF_INET6, raw[8:24]))), port)
    except OSError:
        return None
