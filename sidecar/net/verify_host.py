"""Whether a certificate is for a host; and of an external host, whether its chain holds the names and keys that its settings pin.

The chain itself, its dates and purposes are OpenSSL's to verify, in the handshake (`net/tls_external.py`). A check that a policy waives
is made all the same; only its outcome counts for nothing until the waiver ends, and whoever asks learns that it was needed.

Trust: the certificates are the host's. This looks at nothing but them and the name that was judged, so that no other setting of TLS can
turn it off. Attacked by tests/net/test_verify_host.py. Spec: RFC 9525 (by service-identity), RFC 7469 s2.4 for the pins.
"""

import base64
import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509

from sidecar.model.egress import Check, Origination
from sidecar.model.errors import NotVerified

from .verify import UNREADABLE, key_hash

MOST_NAMES_TOLD = 8


def verify_host(certificate: x509.Certificate | None, host: str) -> None:
    """The certificate names `host` (DNS name or IP address) as RFC 9525 has it, or NotVerified.

    Called right after the handshake, before a byte is sent.
    """
    from service_identity import CertificateError, VerificationError  # 1.5 MB, for origination only
    from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

    if certificate is None:
        raise NotVerified(f"{host} showed no certificate")
    try:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            verify_certificate_hostname(certificate, host)
        else:
            verify_certificate_ip_address(certificate, host)
    except VerificationError as exc:
        raise NotVerified(f"the certificate is not for {host}; it names {names_of(certificate) or 'nothing'}") from exc
    except (CertificateError, *UNREADABLE) as exc:
        raise NotVerified(f"the certificate is unusable for {host}: {exc}") from exc


def require_waiver(settings: Origination, check: Check, now: float, failure: str) -> None:
    """NotVerified with `failure` unless the check is waived now."""
    ends = [waiver.until for waiver in settings.waivers if waiver.check == check]
    if not ends:
        raise NotVerified(failure)
    if now >= max(ends):
        raise NotVerified(f"{failure}; the waiver of {check} ended on {datetime.fromtimestamp(max(ends), UTC):%Y-%m-%d %H:%M} UTC")


def waived_until(settings: Origination, waived: frozenset[Check]) -> float:
    """When the first of these waivers ends, Unix seconds."""
    return min((max(one.until for one in settings.waivers if one.check == check) for check in waived), default=float("inf"))


def verify_external(
    chain: Sequence[x509.Certificate], host: str, settings: Origination, now: float, waived: frozenset[Check] = frozenset()
) -> frozenset[Check]:
    """The certificate is for `host`, and what is pinned is there; or NotVerified.

    Args:
        chain: as OpenSSL verified it, leaf first, 1..7.
        now: Unix seconds.
        waived: what the handshake needed waived.

    Returns: that, and `name` if it was needed.
    """
    try:
        try:
            verify_host(chain[0], host)
        except NotVerified as exc:
            require_waiver(settings, "name", now, exc.detail)
            waived |= {"name"}
        if settings.subject_alt_names and _dns_names(chain[0]).isdisjoint(name.lower() for name in settings.subject_alt_names):
            asked, named = ", ".join(settings.subject_alt_names), names_of(chain[0]) or "nothing"
            raise NotVerified(f"the certificate of {host} has none of the names asked for ({asked}); it names {named}")
        # > the UA will note that ... the intersection ... is empty (RFC 7469 s2.6). We are stricter: where the chain is waived nobody has
        # vouched for what stands above the leaf, and whoever made up a leaf could put a pinned authority's certificate behind it.
        keys = [key_pin(certificate) for certificate in (chain[:1] if "chain" in waived else chain)]
    except UNREADABLE as exc:
        raise NotVerified(f"the certificate is unusable for {host}: {exc}") from exc
    if settings.key_pins and not set(keys) & set(settings.key_pins):
        raise NotVerified(f"no key of the chain of {host} is pinned; it has {', '.join(keys)}")
    return waived


def key_pin(certificate: x509.Certificate) -> str:
    """`sha256/` and the base64 of the SubjectPublicKeyInfo's hash."""
    return "sha256/" + base64.b64encode(bytes.fromhex(key_hash(certificate))).decode()


def names_of(certificate: x509.Certificate) -> str:
    """The first of its alternative names; empty if it has none, or UNREADABLE."""
    san = _san(certificate)
    return ", ".join(str(name.value) for name in list(san)[:MOST_NAMES_TOLD]) if san is not None else ""


def _san(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _dns_names(certificate: x509.Certificate) -> set[str]:
    """As they stand: a pinned `*.example.com` means the certificate with just that name."""
    san = _san(certificate)
    return {name.lower() for name in san.get_values_for_type(x509.DNSName)} if san is not None else set()
