"""Any bytes: one host in its one spelling, with or without a port, or a ValueError; and no resolver takes a name for an address."""

import ipaddress
import socket

from sidecar.protocol.authority import is_host_name, parse_authority

PIECES = (
    b"a.example", b"A.Example.", b"[::1]", b"[::ffff:1.2.3.4]", b"[fe80::1%eth0]", b"1.2.3.4", b"0x7f.1", b"017700000001", b"2130706433",
    b":80", b":", b":0", b":65536", b"@",
    b"/", b"\\", b",", b" ", b"\t", b"%", b"..", b".", b"-", b"_", b"*", b"\x00", b"\xff", b"xn--", "\u3002".encode(), b"[", b"]",
    b"a" * 64, b"a." * 127,
)


def fuzz(data: bytes) -> None:
    try:
        host, port = parse_authority(data)
    except ValueError:
        return
    assert port is None or 1 <= port <= 65535
    text = host if port is None else b"%b:%d" % (host, port)
    assert parse_authority(text) == (host, port), "a second reading is another one"
    assert host == host.lower()
    if host.startswith(b"["):
        ip = ipaddress.IPv6Address(host[1:-1].decode())
        assert ip.ipv4_mapped is None
        assert str(ip).encode() == host[1:-1]
    elif is_host_name(host):
        assert not is_numeric(host), "the C library reads an address in it"
    else:
        assert str(ipaddress.IPv4Address(host.decode())).encode() == host


def is_numeric(host: bytes) -> bool:
    try:
        socket.inet_aton(host.decode())
    except OSError:
        return False
    return True
