"""The private door: HTTP on a Unix socket in a volume that only the sidecar mounts. Never a TCP port.

It shows what the sidecar believes, and no key: GET /snapshot, /certificates, /status; POST /rotate asks for a new certificate.
"""

import socket
from collections.abc import Callable

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from sidecar.model.call import Answer, Call
from sidecar.model.snapshot import Snapshot, render_snapshot
from sidecar.net.deadline import Deadline
from sidecar.net.service import serve_calls
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.watched import Watched


class Admin:
    """
    Args:
        taken: the snapshot in force and its digest; None before the first.
        obstacles: what stands against readiness.
        rotate: asks for a new certificate now; None where certificates come from files.
    """

    def __init__(
        self,
        taken: Callable[[], tuple[Snapshot, str] | None],
        tls: Watched[MeshTls | None],
        obstacles: Callable[[], list[str]],
        rotate: Callable[[], None] | None,
    ) -> None:
        self._taken = taken
        self._tls = tls
        self._obstacles = obstacles
        self._rotate = rotate

    async def serve(self, sock: socket.socket) -> None:
        with Deadline() as deadline:
            await serve_calls(SocketStream(sock), self._handle, deadline)

    async def _handle(self, call: Call) -> Answer:
        match call.method, call.path:
            case "GET", "/snapshot":
                taken = self._taken()
                return Answer(200, _without_keys(render_snapshot(taken[0]))) if taken else Answer(404, b'{"error": "none yet"}')
            case "GET", "/certificates":
                tls = self._tls.current
                chain = tls.credentials.chain if tls else ()
                return Answer(200, b"".join(item.public_bytes(Encoding.PEM) for item in chain), "application/x-pem-file")
            case "GET", "/status":
                taken, tls = self._taken(), self._tls.current
                status = {
                    "snapshot": taken[1] if taken else None,
                    "identity": tls.credentials.identity if tls else None,
                    "notAfter": tls.credentials.not_after if tls else None,
                    "serial": f"{tls.credentials.chain[0].serial_number:x}" if tls else None,
                    "obstacles": self._obstacles(),
                }
                return Answer(200, msgspec.json.encode(status))
            case "POST", "/rotate" if self._rotate is not None:
                self._rotate()
                return Answer(202, b"{}")
            case _:
                return Answer(404, b'{"error": "GET /snapshot, /certificates, /status; POST /rotate"}')


def _without_keys(text: bytes) -> bytes:
    document = msgspec.json.decode(text)
    for host in document.get("outbound", {}).get("hosts", ()):
        certificate = host.get("tls", {}).get("clientCertificate")
        if certificate and "key" in certificate:
            certificate["key"] = "(kept private)"
    return msgspec.json.encode(document)
