"""What may leave a pod: what its annotation asks for, as far as an EgressPolicy approves it.

Pure. Admission refuses with the very functions that the compiler leaves out with.

Trust: requests are the application team's, policies the security team's; nothing of a request widens an approval.
"""

import base64
import binascii
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from injector.cluster import Cluster, Key
from injector.cluster.objects import Json, Object, Pod, at, selects
from injector.documents import (
    EGRESS,
    ApprovedHost,
    ApprovedRange,
    EgressPolicySpec,
    EgressRequest,
    HostRequest,
    RangeRequest,
    Subject,
)
from injector.validate import Problem
from sidecar.model.egress import ClientCertificate, EgressHost, EgressRange, Origination


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks."""

    namespace: str
    namespace_labels: Json
    service_account: str

    @classmethod
    def of(cls, pod: Pod, namespace: str, cluster: Cluster) -> "Asker":
        return cls(namespace, cluster.namespace_labels(namespace), pod.service_account)

    def is_meant_by(self, subject: Subject) -> bool:
        if subject.service_accounts and self.service_account not in subject.service_accounts:
            return False
        if subject.namespace_selector is not None:
            return selects(subject.namespace_selector.match_labels, self.namespace_labels)
        return subject.namespace == self.namespace


def covers(approved: str, host: str) -> bool:
    """Whether `approved`, a name or `*.` and a name, stands for everything that `host` does."""
    return approved == host or (approved.startswith("*.") and host.removeprefix("*").endswith(approved[1:]))


def approve_host(request: HostRequest, asker: Asker, policies: Mapping[str, EgressPolicySpec]) -> tuple[str, ApprovedHost] | None:
    """(policy, its entry) of the most specific approval; of equals the first policy by name."""
    found = [
        (-len(host.host), name, host)
        for name, policy in policies.items() if any(map(asker.is_meant_by, policy.subjects))
        for host in policy.hosts if covers(host.host, request.host)
    ]
    return min(found, key=lambda one: one[:2])[1:] if found else None


def approve_range(
    request: RangeRequest, asker: Asker, policies: Mapping[str, EgressPolicySpec]
) -> tuple[str, ApprovedRange] | None:
    """(policy, its entry) of the first approval, by the policy's name."""
    for name in sorted(policies):
        if any(map(asker.is_meant_by, policies[name].subjects)):
            for approved in policies[name].ranges:
                if _contains(approved, request):
                    return name, approved
    return None


def _contains(approved: ApprovedRange, request: RangeRequest) -> bool:
    outer, inner = ipaddress.ip_network(approved.cidr), ipaddress.ip_network(request.cidr)
    ports = not approved.ports or (bool(request.ports) and set(request.ports) <= set(approved.ports))
    return (
        ports and outer.version == inner.version and outer.prefixlen <= inner.prefixlen
        and inner.network_address in outer
    )


def unapproved(requests: Iterable[EgressRequest], asker: Asker, policies: Mapping[str, EgressPolicySpec]) -> list[Problem]:
    """One problem for each request that no policy approves."""
    problems = []
    for request in requests:
        if isinstance(request, HostRequest):
            what, approval = f'host "{request.host}"', approve_host(request, asker, policies) is not None
        else:
            ports = f" ports {', '.join(map(str, request.ports))}" if request.ports else ", every port,"
            what, approval = f"{request.cidr}{ports}", approve_range(request, asker, policies) is not None
        if not approval:
            who = f"service account {asker.service_account} of namespace {asker.namespace}"
            text = f"no EgressPolicy approves {what} for {who}; have one approve it, or remove the entry"
            problems.append(Problem(EGRESS, text))
    return problems


def compile_egress(
    requests: Iterable[EgressRequest], asker: Asker, policies: Mapping[str, EgressPolicySpec], secrets: Mapping[Key, Object],
) -> tuple[tuple[EgressHost, ...], tuple[EgressRange, ...]]:
    """The approved ones; the others are left out."""
    hosts, ranges = [], []
    for request in requests:
        if isinstance(request, HostRequest):
            if (found := approve_host(request, asker, policies)) is not None:
                hosts.append(_host(request, *found, asker.namespace, secrets))
        elif (approved := approve_range(request, asker, policies)) is not None:
            ranges.append(EgressRange(request.cidr, _rule(approved[0], approved[1].cidr), request.ports or approved[1].ports))
    return tuple(hosts), tuple(ranges)


def _host(request: HostRequest, policy: str, approved: ApprovedHost, namespace: str, secrets: Mapping[Key, Object]) -> EgressHost:
    asked = request.tls.client_certificate
    return EgressHost(
        host=request.host,
        rule=_rule(policy, approved.host),
        plain_ports=request.ports.plain,
        tls_ports=request.ports.tls,
        tls=Origination(
            port=request.tls.port,
            min_version=max(request.tls.min_version, approved.min_version),
            roots=approved.ca_bundle,
            client_certificate=client_certificate(asked.secret, secrets.get((namespace, asked.secret))) if asked else None,
        ),
        special_addresses=approved.special_addresses,
    )


def _rule(policy: str, entry: str) -> str:
    return f"{policy}/{entry}"[:253]


def client_certificate(name: str, secret: Object | None) -> ClientCertificate:
    """The certificate in a Secret of type kubernetes.io/tls; without chain and key if it is missing or does not hold both."""
    chain, key = (_secret_text(secret, field) if secret else None for field in ("tls.crt", "tls.key"))
    return ClientCertificate(name, chain, key) if chain and key else ClientCertificate(name)


def _secret_text(secret: Object, field: str) -> str | None:
    plain = at(secret.data, "stringData").get(field)        # as written; the API server knows `data` only
    if isinstance(plain, str):
        return plain
    encoded = at(secret.data, "data").get(field)
    if not isinstance(encoded, str):
        return None
    try:
        return base64.b64decode("".join(encoded.split()), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
