"""Records of TLS 1.3 made by hand, with the keys of a connection that OpenSSL set up: what no library sends (RFC 8446 s5, s7.1)."""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL

HANDSHAKE, ALERT, DATA, CHANGE_CIPHER_SPEC = 22, 21, 23, 20
CLIENT_HELLO, NEW_TICKET, CERTIFICATE_REQUEST, CERTIFICATE, FINISHED, KEY_UPDATE, HELLO_REQUEST = 1, 4, 13, 11, 20, 24, 0


@dataclass
class Secrets:
    """What a context's connections derive, for the last of them. Made before the handshake."""

    context: SSL.Context
    lines: dict[bytes, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        def note(_: SSL.Connection, line: bytes) -> None:
            name, _, rest = line.partition(b" ")
            self.lines[name] = rest.split(b" ")[1]

        self.context.set_tls13_ciphersuites(b"TLS_AES_128_GCM_SHA256")
        self.context.set_keylog_callback(note)

    def sealer(self) -> "Sealer":
        """For what the client writes. Nothing may have been written through the connection."""
        return Sealer(bytes.fromhex(self.lines[b"CLIENT_TRAFFIC_SECRET_0"].decode()))


@dataclass
class Sealer:
    secret: bytes
    number: int = 0

    def seal(self, kind: int, content: bytes) -> bytes:
        """One record; a KeyUpdate is followed by the next keys."""
        key, iv = _expand(self.secret, b"key", 16), _expand(self.secret, b"iv", 12)
        nonce = (int.from_bytes(iv, "big") ^ self.number).to_bytes(12, "big")
        inner = content + bytes([kind])
        head = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        self.number += 1
        if kind == HANDSHAKE and content[:1] == bytes([KEY_UPDATE]):
            self.secret, self.number = _expand(self.secret, b"traffic upd", 32), 0
        return head + AESGCM(key).encrypt(nonce, inner, head)


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def _expand(secret: bytes, label: bytes, length: int) -> bytes:
    info = length.to_bytes(2, "big") + bytes([6 + len(label)]) + b"tls13 " + label + b"\0"
    return HKDFExpand(hashes.SHA256(), length, info).derive(secret)


# -- hellos


def client_hello(server_name: str | None = None, context: SSL.Context | None = None) -> bytes:
    """What a client says first, of the newest TLS unless the context has it otherwise."""
    return _record(context or SSL.Context(SSL.TLS_CLIENT_METHOD), server_name.encode() if server_name is not None else None)


def hello_of(context: SSL.Context, server_name: bytes | None = None) -> bytes:
    """The ClientHello message that a client of this context begins with, without its record."""
    return _record(context, server_name)[5:]


def _record(context: SSL.Context, server_name: bytes | None) -> bytes:
    client = SSL.Connection(context, None)
    client.set_connect_state()
    if server_name is not None:
        client.set_tlsext_host_name(server_name)
    try:
        client.do_handshake()
    except SSL.WantReadError:
        pass
    return client.bio_read(1 << 16)


def with_extensions(hello: bytes, *more: tuple[int, bytes]) -> bytes:
    """The same hello with these before the others (where no pre-shared key must be last)."""
    at = 4 + 2 + 32                                                 # header, version, random
    at += 1 + hello[at]                                             # session id
    at += 2 + int.from_bytes(hello[at:at + 2], "big")               # suites
    at += 1 + hello[at]                                             # compression
    added = b"".join(kind.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data for kind, data in more)
    extensions = added + hello[at + 2:]
    return message(CLIENT_HELLO, hello[4:at] + len(extensions).to_bytes(2, "big") + extensions)


def records(content: bytes, size: int = 16384, kind: int = HANDSHAKE) -> bytes:
    """`content` in plaintext records of `size` bytes each."""
    pieces = [content[at:at + size] for at in range(0, len(content), size)]
    return b"".join(bytes([kind]) + b"\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)
