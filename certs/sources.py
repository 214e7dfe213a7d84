"""Where trust comes from besides the issuer's own directory, as its configuration says it: who vouches for pods, who keeps the keys."""

import sys
from pathlib import Path

from sidecar.model.value import Name, Value

from .authenticate import Attestor, JwksFileAttestor
from .kubernetes import Api, ApiServer
from .token_review import TokenReviewAttestor


class JwksTokens(Value, frozen=True, tag_field="source", tag="jwks"):
    """Published keys vouch for a pod's token; where `source` is left out, this is it.

    Args:
        jwks_file: the cluster's public keys; read again when the file changes.
        issuer: `iss`, as the cluster's OIDC discovery document has it.
    """

    jwks_file: Name
    issuer: Name
    audience: Name = "bartizan"


class KubernetesTokens(ApiServer, frozen=True, tag_field="source", tag="kubernetes"):
    """The API server vouches for a pod's token, and is asked for the pod.

    Args:
        address_unchecked_because: why a caller's address cannot be its pod's, if it cannot: a reason turns that check off.
        csr_signer: also sign CertificateSigningRequests for `bartizan.dev/workload`.
    """

    audience: Name = "bartizan"
    address_unchecked_because: str = ""
    csr_signer: bool = False


Tokens = JwksTokens | KubernetesTokens


def with_source(document: dict[str, object]) -> dict[str, object]:
    """The issuer's configuration with its `tokens.source` said."""
    match document.get("tokens"):
        case dict() as tokens:
            return {**document, "tokens": {"source": "jwks", **tokens}}
    return document


def attestor_of(tokens: Tokens) -> Attestor:
    """Raises: ConfigError, OSError."""
    match tokens:
        case JwksTokens():
            return JwksFileAttestor(Path(tokens.jwks_file), tokens.issuer, tokens.audience)
        case KubernetesTokens():
            if why := tokens.address_unchecked_because:
                print(f"bartizan: a pod's token is good from any address: {why}", file=sys.stderr)
            return TokenReviewAttestor(Api(tokens), tokens.audience, checks_address=not why)
