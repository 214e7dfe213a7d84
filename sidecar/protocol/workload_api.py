"""The SPIFFE Workload API in bytes: its messages of X.509. Spec: SPIFFE_Workload_API s5.1."""

from collections.abc import Iterable

import msgspec

from .protobuf import field, frame

SERVICE = b"/SpiffeWorkloadAPI/"
FETCH_X509_SVID = SERVICE + b"FetchX509SVID"
FETCH_X509_BUNDLES = SERVICE + b"FetchX509Bundles"
MAX_REQUEST_BYTES = 4096    # there are no parameters yet


class X509Svid(msgspec.Struct, frozen=True):
    """
    Args:
        chain: DER certificates one behind the other, leaf first.
        key: PKCS #8 in DER.
        bundle: the trust domain's roots, DER, one behind the other.
    """

    spiffe_id: str
    chain: bytes
    key: bytes
    bundle: bytes


def render_x509_svids(svids: Iterable[X509Svid]) -> bytes:
    """An X509SVIDResponse in its frame. Neither CRLs nor foreign bundles: whoever was revoked does not get here."""
    return frame(b"".join(field(1, field(1, svid.spiffe_id.encode()) + field(2, svid.chain) + field(3, svid.key)
                                  + field(4, svid.bundle)) for svid in svids))


def render_x509_bundles(bundles: Iterable[tuple[str, bytes]]) -> bytes:
    """An X509BundlesResponse in its frame.

    Args:
        bundles: SPIFFE ID of a trust domain, with its roots as `X509Svid.bundle` has them.
    """
    return frame(b"".join(field(2, field(1, domain.encode()) + field(2, bundle)) for domain, bundle in bundles))
