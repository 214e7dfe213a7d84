"""Identities as people say them."""

from collections.abc import Iterable

from sidecar.model.identity import parse, parts


def workload_of(identity: str) -> tuple[str, str]:
    """(namespace, service account); both empty for a text that is no identity."""
    try:
        return parts(parse(identity))[1:]
    except ValueError:
        return "", ""


def common_domain(identities: Iterable[str]) -> str:
    """What most of them begin with: `spiffe://TRUST-DOMAIN/ns/`. Empty if none is an identity."""
    counts: dict[str, int] = {}
    for identity in identities:
        if workload_of(identity)[0]:
            domain = identity.partition("/ns/")[0] + "/ns/"
            counts[domain] = counts.get(domain, 0) + 1
    return max(counts, key=counts.__getitem__, default="")


def short(identity: str, domain: str) -> str:
    """`shop/web` for an identity of that domain; any other text as it is, so that it cannot be taken for one."""
    return "/".join(workload_of(identity)) if domain and identity.startswith(domain) and workload_of(identity)[0] else identity
