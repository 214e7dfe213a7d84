"""The name that a workload proves: a SPIFFE ID of the form spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>.

Trust: what comes in is bytes of a stranger's certificate or document; what leaves is an identity that has exactly one spelling.
Only `parse` makes a `SpiffeId`, so that an invalid one cannot exist.
Spec: SPIFFE-ID s2.1 to s2.3. We are stricter: the path has exactly the four segments above, since nothing in the mesh issues others.
"""

import re
from typing import NewType

SpiffeId = NewType("SpiffeId", str)

# > trust domain: lowercase letters, digits, dots, dashes, underscores; path segments: letters, digits, dots, dashes, underscores.
# Namespaces are DNS labels and service accounts DNS subdomains, so the narrower Kubernetes grammar decides. Dot segments cannot match.
TRUST_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?", re.ASCII)
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
NAMESPACE = re.compile(_LABEL, re.ASCII)
SERVICE_ACCOUNT = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_ID = re.compile(rf"spiffe://({TRUST_DOMAIN.pattern})/ns/({_LABEL})/sa/({_LABEL}(?:\.{_LABEL})*)", re.ASCII)

MAX_ID_BYTES = 2048  # SPIFFE-ID s2.3


def parse(text: str) -> SpiffeId:
    """The identity that `text` spells, or ValueError."""
    if len(text) > MAX_ID_BYTES or _ID.fullmatch(text) is None:
        raise ValueError(f"not a SPIFFE ID of the form spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>: {text[:120]!r}")
    return SpiffeId(text)


def workload_id(trust_domain: str, namespace: str, service_account: str) -> SpiffeId:
    return parse(f"spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}")


def parts(identity: SpiffeId) -> tuple[str, str, str]:
    """(trust domain, namespace, service account)"""
    domain, _, namespace, _, account = identity[len("spiffe://"):].split("/")
    return domain, namespace, account
