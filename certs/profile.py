"""What a leaf looks like: the X.509-SVID of a workload, and the certificate of one of the mesh's own HTTPS servers.

Trust: the public key is the requester's choice and nothing else is; identity and pod uid come from an attestation.
Spec: X509-SVID s2, s4.
"""

import re
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sidecar.model.errors import ConfigError
from sidecar.model.identity import SpiffeId

from .ca import DAY_S, Authority, key_id_of, sign

MIN_S = 300
MAX_SVID_S = DAY_S
MAX_HTTPS_S = 90 * DAY_S

_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*", re.ASCII)

# > leaf: cA MUST be false; keyUsage MUST be present, critical, digitalSignature set, keyCertSign and cRLSign not (X509-SVID s4)
_LEAF = (
    (x509.BasicConstraints(ca=False, path_length=None), True),
    (
        x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
        ),
        True,
    ),
    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False),
)


def issue_svid(
    authority: Authority,
    public_key: ec.EllipticCurvePublicKey,
    identity: SpiffeId,
    pod_uid: str,
    lifetime_s: float,
    now: float,
    *,
    holder: str = "",
) -> x509.Certificate:
    """The SVID of one pod.

    Args:
        pod_uid: in the subject (attribute UID), so that the verified certificate says which pod it was issued to; empty for a
            workload that is no pod.
        holder: `application` where that holds the key and not the sidecar; it stands in the subject too (attribute OU).
        lifetime_s: brought within 5 minutes to 24 hours, and never past the authority's own end.

    Raises:
        ConfigError: the authority has ended.
    """
    said = ((NameOID.USER_ID, pod_uid), (NameOID.ORGANIZATIONAL_UNIT_NAME, holder))
    subject = x509.Name([x509.NameAttribute(kind, text) for kind, text in said if text])
    name = x509.UniformResourceIdentifier(identity)
    return _leaf(authority, public_key, subject, [name], min(lifetime_s, MAX_SVID_S), now)


def issue_https(
    authority: Authority, public_key: ec.EllipticCurvePublicKey, names: Sequence[str], lifetime_s: float, now: float
) -> x509.Certificate:
    """The certificate of an HTTPS server for the DNS `names`; at most 90 days.

    Raises:
        ConfigError: a name is no DNS name, or one that the authority may not sign, or the authority has ended.
    """
    check_names(authority, names, "names")
    return _leaf(authority, public_key, x509.Name([]), [x509.DNSName(name) for name in names], min(lifetime_s, MAX_HTTPS_S), now)


def check_names(authority: Authority, names: Sequence[str], where: str) -> None:
    """ConfigError at `where` unless the authority may sign for all of them."""
    if not names:
        raise ConfigError(where, "a server's certificate needs at least one DNS name")
    permitted = permitted_domains(authority)
    for name in names:
        if DNS_NAME.fullmatch(name) is None:
            raise ConfigError(where, f"{name!r} is no DNS name in lower case")
        if permitted and not any(name == domain or name.endswith(f".{domain}") for domain in permitted):
            raise ConfigError(where, f"{name} is not below {' or '.join(permitted)}, where this authority may sign; "
                                     "name its domain at `bartizan certs init --https-domain`")


def permitted_domains(authority: Authority) -> list[str]:
    """The DNS domains that the authority is constrained to; none: it was made elsewhere, without a constraint."""
    try:
        constraints = authority.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in constraints.permitted_subtrees or [] if isinstance(name, x509.DNSName)]


def _leaf(
    authority: Authority,
    public_key: ec.EllipticCurvePublicKey,
    subject: x509.Name,
    names: Sequence[x509.GeneralName],
    lifetime_s: float,
    now: float,
) -> x509.Certificate:
    not_after = min(now + max(lifetime_s, MIN_S), authority.not_after)
    if not_after <= now:
        ended = authority.certificate.not_valid_after_utc
        raise ConfigError("", f"the authority itself ended at {ended:%Y-%m-%d %H:%M} UTC; "
                              "renew it: bartizan certs rotate DIR --intermediates")
    # > if the subject is empty, subjectAltName MUST be critical (RFC 5280 s4.2.1.6)
    san = (x509.SubjectAlternativeName(names), len(subject.rdns) == 0)
    issuer = authority.certificate
    return sign(subject, public_key, [*_LEAF, san], issuer.subject, authority.key, now, not_after, key_id_of(issuer))
