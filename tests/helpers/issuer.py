"""A real issuer on the loopback, asked over HTTPS: a good request before and after each attack, and the issuance log between them.

`Issuer.attack` asserts what holds for every attack: it gets no certificate, it says why, the log stays as it was, and whoever asks
properly is served before and after it.
"""

import base64
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trio
from cryptography import x509

from certs import files
from certs.ca import HTTPS_DOMAINS
from certs.server import parse_config, serve
from sidecar.model.address import Address
from sidecar.model.errors import NotVerified
from sidecar.net.clock import wall_clock
from sidecar.net.dial import Dialer
from sidecar.net.tls_context import https_client
from sidecar.net.tls_stream import TlsStream
from tests.certs.support import DOMAIN, ISSUER, JWKS, claims, csr_of, new_key, token

NAME = "issuer.bartizan-system.svc"
SVID = "/v1/svid"


def now() -> int:
    return int(wall_clock())


def fresh(**changed: object) -> dict[str, object]:
    """The claims of a token that is good now, with changes; None leaves one out."""
    return claims(**{"nbf": now(), "iat": now(), "exp": now() + 600, **changed})


def of_pod(uid: str, **changed: object) -> dict[str, object]:
    bound = {"namespace": "shop", "pod": {"name": "web-0", "uid": uid}, "serviceaccount": {"name": "web", "uid": "a"}}
    return fresh(**{"kubernetes.io": bound, **changed})


def pem(der: bytes, kind: str = "CERTIFICATE REQUEST") -> str:
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(der).decode()}-----END {kind}-----\n"


def asking(csr: str | bytes) -> bytes:
    return json.dumps({"csr": csr.decode() if isinstance(csr, bytes) else csr}).encode()


def post(body: bytes, *fields: bytes, path: str = SVID) -> bytes:
    head = [b"POST %b HTTP/1.1" % path.encode(), b"host: " + NAME.encode(), b"content-length: %d" % len(body), b"connection: close"]
    return b"\r\n".join([*head, *fields, b"", body])


def bearing(bearer: str) -> bytes:
    return b"authorization: Bearer " + bearer.encode()


@dataclass(frozen=True)
class Answered:
    """The first answer of a connection; status 0: there was none."""

    status: int
    head: bytes
    body: bytes

    @property
    def chain(self) -> list[x509.Certificate]:
        return [x509.load_pem_x509_certificate(text.encode()) for text in json.loads(self.body)["chain"]]


class Issuer:
    """
    Args:
        authorities: their keys, too, as a thief of them would have.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authorities = files.init(directory / "ca", DOMAIN, HTTPS_DOMAINS, wall_clock())
        (directory / "jwks.json").write_bytes(JWKS)
        self._client = https_client(self.authorities.roots)
        self._port = 0

    @property
    def log(self) -> bytes:
        return (self.directory / "ca" / files.LOG).read_bytes()

    async def start(self, nursery: trio.Nursery) -> None:
        document = {
            "directory": str(self.directory / "ca"), "trustDomain": DOMAIN, "names": [NAME], "address": "127.0.0.1", "port": 0,
            "tokens": {"jwksFile": str(self.directory / "jwks.json"), "issuer": ISSUER},
        }
        self._port = await nursery.start(serve, parse_config(json.dumps(document).encode()))

    async def connect(self) -> TlsStream:
        sock = await Dialer().connect(Address("127.0.0.1", self._port))
        stream = TlsStream(self._client, sock, is_server=False, server_name=NAME)
        await stream.handshake(NotVerified)
        return stream

    async def say(self, request: bytes) -> Answered:
        """What the issuer answers to these bytes, until it ends the connection."""
        async with await self.connect() as stream:
            try:
                await stream.send_all(request)
                return await read_answer(stream)
            except trio.BrokenResourceError:
                return Answered(0, b"", b"")

    async def ask(self, csr: str | bytes | None = None, bearer: str | None = None) -> Answered:
        csr = csr_of(new_key()) if csr is None else csr
        return await self.say(post(asking(csr), bearing(token(fresh()) if bearer is None else bearer)))

    async def canary(self) -> None:
        """Somebody else, who asks properly, is served, and it is written down."""
        before = self.log.count(b"\n")
        answer = await self.ask(bearer=token(of_pod(str(uuid.uuid4()))))
        assert answer.status == 200, answer
        assert self.log.count(b"\n") == before + 1

    async def attack(self, request: bytes) -> Answered:
        await self.canary()
        before = self.log
        answer = await self.say(request)
        assert b"BEGIN CERTIFICATE" not in answer.body
        assert answer.status != 200, answer
        assert self.log == before
        await self.canary()
        return answer


async def read_answer(stream: trio.abc.ReceiveStream) -> Answered:
    data = b""
    try:
        while piece := await stream.receive_some():
            data += piece
    except trio.BrokenResourceError:
        if not data:
            raise
    return next(answers(data), Answered(0, b"", b""))


def answers(data: bytes) -> Iterator[Answered]:
    """Each has a length: ours always have one."""
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        lengths = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
        (length,) = lengths or [0]
        yield Answered(int(head.split(b" ")[1]), head, rest[:length])
        data = rest[length:]
