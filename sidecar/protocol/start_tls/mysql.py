"""MySQL and MariaDB: the server greets and says whether it offers TLS; a client that wants it says so in the first part of its login.

The application is not offered TLS and logs in at once. The first part of its login is what TLS is asked for with; then the login goes
through TLS. So there is one packet that it does not know of. Packets are numbered, and from there on its numbers and the server's differ
by one, until the server has said whether the login was good; with the first command both count from 0 again.

Trust: both sides are strangers here. Of the server one packet is taken, its greeting; of the application one, its login. Of that
nothing leaves before TLS but capabilities, packet size and character set. Attacked by tests/protocol/start_tls/test_mysql.py.
Spec: MySQL "Connection Phase Packets" (Protocol::HandshakeV10, HandshakeResponse41, SSLRequest), MariaDB "Connection".
"""

CLIENT_PROTOCOL_41 = 0x200
CLIENT_SSL = 0x800
MOST_PACKET_BYTES = 16384

_GREETING, _OK, _ERROR = 10, 0x00, 0xFF
_UNKNOWN_ERROR = 1105       # ER_UNKNOWN_ERROR: it stands for nothing that an application would act upon
_TLS_AT = 5                 # of a login's packet: the byte that holds CLIENT_SSL
_FIXED_BYTES = 32           # of a login: capabilities 4, packet size 4, character set 1, nothing 19, capabilities of MariaDB 4


def _packet(number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes((number,)) + payload


def _read_packet(data: bytes, number: int, what: str) -> bytes | None:
    """The payload of the one packet."""
    if len(data) < 4:
        return None
    length = int.from_bytes(data[:3], "little")
    if data[3] != number or not 0 < length <= MOST_PACKET_BYTES:
        raise ValueError(f"{what} is not well-formed MySQL")
    if len(data) > 4 + length:
        raise ValueError(f"bytes behind {what}")
    return data[4:] if len(data) == 4 + length else None


def read_greeting(data: bytes) -> bytes | None:
    """The server's greeting, without the offer of TLS that it must hold."""
    payload = _read_packet(data, 0, "the server's greeting")
    if payload is None:
        return None
    if payload[0] == _ERROR:
        raise ValueError(f"the server says {payload[3:203].decode('ascii', 'replace')!r} instead of a greeting")
    at = payload.find(b"\0", 1) + 14            # behind version, thread 4, salt 8, filler 1
    capabilities = int.from_bytes(payload[at:at + 2], "little")
    if payload[0] != _GREETING or at == 13 or not capabilities & CLIENT_PROTOCOL_41:
        raise ValueError("the server's greeting is not of MySQL 4.1 or newer")
    if not capabilities & CLIENT_SSL:
        raise ValueError("the server does not offer TLS")
    return _packet(0, payload[:at] + (capabilities & ~CLIENT_SSL).to_bytes(2, "little") + payload[at + 2:])


def read_login(data: bytes) -> bytes | None:
    """What the application answers to the greeting."""
    payload = _read_packet(data, 1, "the application's login")
    if payload is None:
        return None
    if len(payload) < 4 or int.from_bytes(payload[:4], "little") & CLIENT_SSL:
        raise ValueError("the application asks for TLS, which it was not offered")
    if len(payload) <= _FIXED_BYTES or not int.from_bytes(payload[:4], "little") & CLIENT_PROTOCOL_41:
        raise ValueError("the application's login is not of MySQL 4.1 or newer")
    return payload


def tls_request(login: bytes) -> bytes:
    """SSLRequest. What a login has nothing in is nothing, whatever the application wrote there."""
    capabilities = int.from_bytes(login[:4], "little") | CLIENT_SSL
    return _packet(1, capabilities.to_bytes(4, "little") + login[4:9] + bytes(19) + login[28:_FIXED_BYTES])


def refusal(text: str, number: int) -> bytes:
    """An error packet. No state of SQL: what has not logged in may not understand one."""
    return _packet(number, bytes((_ERROR,)) + _UNKNOWN_ERROR.to_bytes(2, "little") + text.encode()[:500])


class _Way:
    """Where one direction stands.

    Args:
        by: what is added to the numbers of its packets.
    """

    def __init__(self, by: int) -> None:
        self.by = by
        self.header = bytearray()
        self.left = 0               # of the payload
        self.is_new = False         # no byte of the payload was seen
        self.is_last = False        # it says how the login went


class Numbers:
    """Packets from the login on, as each side numbers them; the login itself says that TLS was asked for. No byte is held back, added
    or lost.
    """

    def __init__(self) -> None:
        self._sent = 0
        self._up = _Way(1)
        self._down = _Way(-1)
        self._is_over = False

    def to_server(self, data: bytes) -> bytes:
        changed = self._renumber(self._up, data)
        at = _TLS_AT - self._sent
        self._sent += len(data)
        if 0 <= at < len(data):
            changed = changed[:at] + bytes((changed[at] | CLIENT_SSL >> 8,)) + changed[at + 1:]
        return changed

    def to_application(self, data: bytes) -> bytes:
        return self._renumber(self._down, data)

    def _renumber(self, way: _Way, data: bytes) -> bytes:
        if self._is_over:
            return data
        out, at = bytearray(data), 0
        while at < len(out) and not self._is_over:
            if way.left:
                if way.is_new:
                    way.is_new = False
                    way.is_last = way is self._down and out[at] in (_OK, _ERROR)
                step = min(way.left, len(out) - at)
                way.left -= step
                at += step
                self._is_over = way.is_last and not way.left
            else:
                way.header.append(out[at])
                if len(way.header) == 4:
                    out[at] = (out[at] + way.by) % 256
                    way.left = int.from_bytes(way.header[:3], "little")
                    way.is_new = True
                    way.header.clear()
                at += 1
        return bytes(out)
