"""The private door: HTTP on a Unix socket in a volume that only the sidecar mounts. Never a TCP port.

It shows what the sidecar believes, and no key: GET /snapshot, /certificates, /status, /metrics; POST /rotate asks for a new certificate.
"""

import socket
from collections.abc import Callable
from itertools import chain

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from sidecar.model.call import Answer, Call, Handler
from sidecar.model.snapshot import Snapshot, render_snapshot
from sidecar.model.trust import serial_text
from sidecar.net.deadline import Deadline
from sidecar.net.service import serve_calls
from sidecar.net.socket_stream import SocketStream

from .keyring import Keyring


class Admin:
    """
    Args:
        taken: the snapshot in force and its digest; None before the first.
        obstacles: what stands against readiness.
        rotate: asks for a new certificate now; None where certificates come from files.
        renewal: how the renewal of the certificate goes.
        metrics: answers GET /metrics.
    """

    def __init__(
        self,
        taken: Callable[[], tuple[Snapshot, str] | None],
        keyring: Keyring,
        obstacles: Callable[[], list[str]],
        rotate: Callable[[], None] | None,
        renewal: Callable[[], dict[str, object]] | None,
        metrics: Handler,
    ) -> None:
        self._taken = taken
        self._keyring = keyring
        self._obstacles = obstacles
        self._rotate = rotate
        self._renewal = renewal
        self._metrics = metrics

    async def serve(self, sock: socket.socket) -> None:
        with Deadline() as deadline:
            await serve_calls(SocketStream(sock), self._handle, deadline)

    async def _handle(self, call: Call) -> Answer:
        match call.method, call.path:
            case "GET", "/snapshot":
                taken = self._taken()
                return Answer(200, _without_keys(render_snapshot(taken[0]))) if taken else Answer.error(404, "none yet")
            case "GET", "/certificates":
                held = self._keyring.credentials
                chain = held.chain if held else ()
                return Answer(200, b"".join(item.public_bytes(Encoding.PEM) for item in chain), "application/x-pem-file")
            case "GET", "/status":
                return Answer(200, msgspec.json.encode(self._status()))
            case "GET", "/metrics":
                return await self._metrics(call)
            case "POST", "/rotate" if self._rotate is not None:
                self._rotate()
                return Answer(202, b"{}")
            case _:
                return Answer.error(404, "GET /snapshot, /certificates, /status, /metrics; POST /rotate")

    def _status(self) -> dict[str, object]:
        taken, held, trust = self._taken(), self._keyring.credentials, self._keyring.trust
        return {
            "snapshot": taken[1] if taken else None,
            "identity": held.identity if held else None,
            "notAfter": held.not_after if held else None,
            "serial": serial_text(held.chain[0].serial_number) if held else None,
            "signer": self._keyring.signer or None,
            "trust": {"version": trust.version, "signer": trust.signer} if trust else None,
            "renewal": self._renewal() if self._renewal else None,
            "obstacles": self._obstacles(),
        }


def _without_keys(text: bytes) -> bytes:
    document = msgspec.json.decode(text)
    callers = document.get("gateway", ())
    for host in chain(document.get("outbound", {}).get("hosts", ()), *(caller.get("hosts", ()) for caller in callers)):
        certificate = (host.get("tls") or {}).get("clientCertificate")
        if certificate and "key" in certificate:
            certificate["key"] = "(kept private)"
    return msgspec.json.encode(document)
