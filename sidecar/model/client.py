"""A client at the edge: what its connection proves, and what the pod behind is told of it."""

from typing import Annotated, Literal

import msgspec

from .value import Port, Value

Scheme = Literal["http", "https"]


class ClientCertificate(msgspec.Struct, frozen=True):
    """What a client certificate says, whose chain, dates and purpose the handshake has verified.

    Args:
        subject: as RFC 4514 writes it.
        common_name: the one of the subject; empty if it has none, or several.
        dns, emails, uris: the alternative names, as they stand.
        fingerprint: SHA-256 of its DER, hex.
        not_after: Unix seconds.
        authority: the name of the roots that it chains to (`ClientCertificates`).
    """

    subject: str
    common_name: str
    dns: tuple[str, ...]
    emails: tuple[str, ...]
    uris: tuple[str, ...]
    fingerprint: str
    not_after: float
    authority: str = ""


class Client(msgspec.Struct, frozen=True):
    """One connection of a client's.

    Args:
        address: its IP address, canonical.
        port: of the gateway, as the client knows it.
        server_name: asked for in TLS; None: none was, or it spoke no TLS.
        certificate: None: it was not asked for one, or has none.
    """

    address: str
    scheme: Scheme
    port: int
    server_name: str | None = None
    certificate: ClientCertificate | None = None


class ClientWord(Value, frozen=True):
    """What an ingress gateway says of the client for whom it asks; see `protocol/client_word.py`.

    Args:
        host: as the client asked for it, with a port if it said one.
        port: at which the client came in.
        subject: of its certificate, percent-encoded but for plain ASCII; `hash`: that certificate's SHA-256. Empty: it showed none.
    """

    address: Annotated[str, msgspec.Meta(max_length=45)]
    scheme: Scheme
    host: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9.\[\]:-]{1,300}(?!\n)$")]
    port: Port
    subject: Annotated[str, msgspec.Meta(pattern=r"^[ !#-\[\]-~]{0,2048}(?!\n)$")] = ""
    hash: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?(?!\n)$")] = ""
