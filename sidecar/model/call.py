"""A whole HTTP request and its answer, as the control endpoints see them: issuer, webhook, stream, health, metrics, admin.

Unlike the heads in `message.py` these hold their body and are never forwarded.
"""

from collections.abc import Awaitable, Callable

import msgspec

from .identity import SpiffeId


class Peer(msgspec.Struct, frozen=True):
    """What a verified certificate says of the other end.

    Args:
        identity: its SPIFFE ID; None for a certificate without one (the mesh's own HTTPS).
        pod_uid: the pod that the certificate was issued to; empty if it does not say.
        serial: of the leaf.
        fingerprint: SHA-256 of the leaf's DER, hex.
        not_after: Unix seconds.
        key: SHA-256 of its SubjectPublicKeyInfo, hex.
        holder: `application` if the application holds the key (Workload API); empty: its sidecar does.
        signers: the same of the authorities above it, as far as the chain was verified.
    """

    identity: SpiffeId | None
    pod_uid: str
    serial: int
    fingerprint: str
    not_after: float
    key: str
    holder: str = ""
    signers: tuple[str, ...] = ()


class Call(msgspec.Struct, frozen=True):
    """
    Args:
        path: without query.
        headers: names in lower case.
        remote: the caller's IP address, canonical; empty on a Unix socket.
        peer: the caller's verified certificate, if TLS asked for one.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    remote: str = ""
    peer: Peer | None = None


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def error(cls, status: int, why: str, *headers: tuple[str, str]) -> "Answer":
        """What the mesh's own endpoints refuse with: `{"error": why}`."""
        return cls(status, msgspec.json.encode({"error": why}), headers=headers)


Handler = Callable[[Call], Awaitable[Answer]]
