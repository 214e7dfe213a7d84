"""What the two ends of a TLS connection have shown each other, in words for a person. It judges nothing: that was done before."""

from cryptography import x509

from .tls_stream import TlsStream
from .verify import UNREADABLE
from .verify_host import names_of


def presented(stream: TlsStream) -> dict[str, str]:
    """Facts by name; empty is what was not shown.

    Args:
        stream: after its handshake.
    """
    connection = stream.connection
    theirs = connection.get_peer_certificate(as_cryptography=True)
    ours = connection.get_certificate(as_cryptography=True)
    chain = connection.get_verified_chain(as_cryptography=True) or []
    facts = {"tls": connection.get_protocol_version_name(), "suite": connection.get_cipher_name() or ""}
    if theirs is not None:
        facts |= {
            "server": theirs.subject.rfc4514_string(), "names": _names(theirs), "expires": _until(theirs),
            "issuer": theirs.issuer.rfc4514_string(),
        }
    if len(chain) > 1:
        facts["trusted by"] = chain[-1].subject.rfc4514_string()
    if ours is not None:
        facts |= {"client": ours.subject.rfc4514_string() or _names(ours), "client expires": _until(ours)}
    return facts


def _until(certificate: x509.Certificate) -> str:
    return certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")


def _names(certificate: x509.Certificate) -> str:
    try:
        return names_of(certificate)
    except UNREADABLE:
        return ""
