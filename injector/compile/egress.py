"""What may leave a pod: what its annotation asks for, as far as an EgressPolicy approves it.

Pure. Admission refuses with the very functions that the compiler leaves out with.

Trust: requests are the application team's, policies the security team's; nothing of a request widens an approval.
"""

import base64
import binascii
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from injector.cluster import Cluster, Key
from injector.cluster.objects import Json, Object, Pod, at, selects
from injector.documents import (
    EGRESS,
    ApprovedHost,
    ApprovedRange,
    EgressPolicySpec,
    EgressRequest,
    HostPorts,
    HostRequest,
    RangeRequest,
    Subject,
)
from injector.documents.text import in_bytes
from injector.semantics.text import host_problems
from injector.validate import Problem
from sidecar.model.address import SPECIAL_RANGES, IpNetwork
from sidecar.model.egress import ClientCertificate, EgressHost, EgressRange, GatewayRef, Origination, Waiver
from sidecar.model.ports import GATEWAY

from .mesh import mesh_settings
from .services import ports_of

MOST_WORDS = 1000   # about what is wrong, of a text that may be long


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks.

    Args:
        guarded: special ranges, and those of the cluster: an approval that holds more does not mean them.
    """

    namespace: str
    namespace_labels: Json
    service_account: str
    guarded: tuple[IpNetwork, ...] = SPECIAL_RANGES

    @classmethod
    def of(cls, pod: Pod, namespace: str, cluster: Cluster) -> "Asker":
        own = mesh_settings(cluster.mesh_policies, namespace, pod.labels).cluster_ranges
        guarded = (*SPECIAL_RANGES, *map(ipaddress.ip_network, own))
        return cls(namespace, cluster.namespace_labels(namespace), pod.service_account, guarded)

    def is_meant_by(self, subject: Subject) -> bool:
        if subject.service_accounts and self.service_account not in subject.service_accounts:
            return False
        if subject.namespace_selector is not None:
            return selects(subject.namespace_selector.match_labels, self.namespace_labels)
        return subject.namespace == self.namespace


class Approvals:
    """What the policies approve for one asker, found by name: a look-up for each label, however many entries there are.

    Args:
        asker: None: for whomever they do.
    """

    def __init__(self, asker: Asker | None, policies: Mapping[str, EgressPolicySpec]) -> None:
        self.guarded = asker.guarded if asker is not None else SPECIAL_RANGES
        self._hosts: dict[str, list[tuple[str, ApprovedHost]]] = {}
        self._ranges: list[tuple[IpNetwork, str, ApprovedRange]] = []
        for name in sorted(policies):
            if asker is None or any(map(asker.is_meant_by, policies[name].subjects)):
                for host in policies[name].hosts:
                    self._hosts.setdefault(host.host, []).append((name, host))
                self._ranges += [(ipaddress.ip_network(item.cidr), name, item) for item in policies[name].ranges]
        self._ranges.sort(key=lambda one: -one[0].prefixlen)

    def hosts(self, request: HostRequest) -> list[tuple[str, ApprovedHost]]:
        """(policy, entry) of all that name the host, the most specific first; of equals the first policy by name."""
        return [found for name in covering(request.host) for found in self._hosts.get(name, ())]

    def ranges(self, request: RangeRequest) -> list[tuple[str, ApprovedRange]]:
        """Likewise those that hold all of the addresses."""
        asked = ipaddress.ip_network(request.cidr)
        return [
            (name, item) for network, name, item in self._ranges
            if is_within(asked, network)
        ]


def covering(host: str) -> Iterator[str]:
    """The names and wildcards that stand for everything that `host` does, the narrowest first."""
    yield host
    labels = host.split(".")
    for i in range(2 if labels[0] == "*" else 1, len(labels)):
        yield ".".join(("*", *labels[i:]))


def approve_host(request: HostRequest, approvals: Approvals) -> tuple[str, ApprovedHost] | None:
    """(policy, its entry) of the most specific approval of the whole request."""
    return next((found for found in approvals.hosts(request) if not host_lacks(request, found[1])), None)


def approve_range(request: RangeRequest, approvals: Approvals) -> tuple[str, ApprovedRange] | None:
    """Likewise."""
    return next((found for found in approvals.ranges(request) if not range_lacks(request, found[1], approvals.guarded)), None)


def passes_tls(approved: ApprovedHost) -> bool:
    """Whether the application's own TLS may pass: not where something was to be checked that it would hide."""
    hidden = approved.methods or approved.paths or approved.subject_alt_names or approved.key_pins
    return "tls" in approved.protocols and not hidden


def _ports(request: HostRequest) -> HostPorts:
    """What is asked for; ports of another protocol count for nothing."""
    ports = request.ports
    if request.protocol == "http":
        return HostPorts(ports.plain, ports.tls, ())
    return HostPorts((), ports.tls, ()) if request.protocol == "tls" else HostPorts((), (), ports.tcp)


def host_lacks(request: HostRequest, approved: ApprovedHost) -> list[str]:
    """What of the request the entry does not approve, in words that follow `but not`; nothing: it approves the whole of it."""
    lacks = []
    if request.protocol not in approved.protocols:
        lacks.append(f"protocol {request.protocol} (protocols: {', '.join(approved.protocols)})")
    elif request.protocol == "tls" and not passes_tls(approved):
        lacks.append("protocol tls, which would hide what is to be checked (methods, paths, subjectAltNames, keyPins); ask for http")
    elif request.protocol == "tcp" and (approved.methods or approved.paths):
        lacks.append("protocol tcp, in which nobody looks for the methods and paths that it approves")
    ports = _ports(request)
    asked = {*ports.plain, *ports.tls, *ports.tcp}
    if ports.plain and request.tls.mode != "none":
        asked.add(request.tls.port)
    if beyond := sorted(asked - set(approved.ports)):
        lacks.append(f"port{'s' if beyond[1:] else ''} {_listed(beyond)} (ports: {_listed(approved.ports)})")
    if request.protocol != "tls":
        if request.tls.mode == "none" and not approved.allow_plaintext:
            lacks.append("plaintext (tls: {mode: none}; its allowPlaintext is false)")
        if request.tls.mode == "mutual" and request.tls.client_certificate is None and approved.client_certificate is None:
            lacks.append("mode mutual without a certificate: write clientCertificate: {secret: NAME}")
    return lacks


def range_lacks(request: RangeRequest, approved: ApprovedRange, guarded: Iterable[IpNetwork]) -> list[str]:
    """Likewise. What lies in a guarded range is approved by an entry within that range alone, however the request is cut."""
    lacks = []
    asked, whole = ipaddress.ip_network(request.cidr), ipaddress.ip_network(approved.cidr)
    if unmeant := [one for one in guarded if is_within(asked, one) and not is_within(whole, one)]:
        lacks.append(f"addresses of {unmeant[-1]}, a special range or one of the cluster, which has to be meant")
    if approved.ports and not request.ports:
        lacks.append(f"every port (ports: {_listed(approved.ports)})")
    elif approved.ports and (beyond := sorted(set(request.ports) - set(approved.ports))):
        lacks.append(f"port{'s' if beyond[1:] else ''} {_listed(beyond)} (ports: {_listed(approved.ports)})")
    return lacks


def is_within(network: IpNetwork, other: IpNetwork) -> bool:
    return network.version == other.version and network.subnet_of(other)  # type: ignore[arg-type]


def _listed(ports: Iterable[int]) -> str:
    return ", ".join(map(str, ports))


def unapproved(
    requests: Iterable[EgressRequest], asker: Asker, policies: Mapping[str, EgressPolicySpec], lines: Mapping[str, int] | None = None
) -> list[Problem]:
    """One problem for each request that no policy approves: what it lacks, and who could cure it.

    Args:
        lines: of the annotation, by host or CIDR.
    """
    problems = []
    approvals = Approvals(asker, policies)
    of_anybody: Approvals | None = None     # of all policies, which costs: made for the first that needs it
    for request in requests:
        if isinstance(request, HostRequest):
            lacks = [(f"{name} approves {one.host}", host_lacks(request, one)) for name, one in approvals.hosts(request)]
        else:
            lacks = [(f"{name} approves {one.cidr}", range_lacks(request, one, asker.guarded)) for name, one in approvals.ranges(request)]
        if all(missing for _, missing in lacks):
            of_anybody = of_anybody or Approvals(None, policies)
            if isinstance(request, HostRequest):
                what, others = f'host "{request.host}"', [name for name, _ in of_anybody.hosts(request)]
            else:
                what = f"{request.cidr} {f'port {_listed(request.ports)}' if request.ports else 'with every port'}"
                others = [name for name, _ in of_anybody.ranges(request)]
            line = (lines or {}).get(request.host if isinstance(request, HostRequest) else request.cidr, 0)
            problems.append(Problem(EGRESS, _in_words(what, lacks, list(dict.fromkeys(others)), asker), line))
    return problems


def _in_words(what: str, lacks: list[tuple[str, list[str]]], others: list[str], asker: Asker) -> str:
    """
    Args:
        lacks: by entries that are for the asker.
        others: policies that name it, for whomever.
    """
    who = f"service account {asker.service_account} of namespace {asker.namespace}"
    if lacks:
        near = "; ".join(f"policy {entry}, but not {', and not '.join(missing)}" for entry, missing in lacks)
        return f"no EgressPolicy approves the whole of {what} for {who}: {near}; ask for less, or have it approved"
    if others:
        near = f"policies {', '.join(others)} name" if others[1:] else f"policy {others[0]} names"
        return f"no EgressPolicy approves {what} for {who}: {near} it for other subjects; be made one of them, or remove the entry"
    return f"no EgressPolicy approves {what} for {who}: none names it; have one approve it, or remove the entry"


def compile_egress(
    requests: Iterable[EgressRequest], asker: Asker, cluster: Cluster
) -> tuple[tuple[EgressHost, ...], tuple[EgressRange, ...], tuple[str, ...]]:
    """The approved ones, and what is wrong with gateways. The unapproved are left out."""
    hosts: list[EgressHost] = []
    ranges: list[EgressRange] = []
    problems: list[str] = []
    approvals = Approvals(asker, cluster.egress_policies)
    for request in requests:
        if isinstance(request, HostRequest):
            if (for_host := approve_host(request, approvals)) is not None:
                hosts.append(_host(request, *for_host, asker.namespace, cluster, problems))
        elif (for_range := approve_range(request, approvals)) is not None:
            ranges.append(_range(request, *for_range, cluster, problems))
    return tuple(hosts), tuple(ranges), tuple(problems)


def unreadable_hosts(names: Iterable[str], problems: Iterable[str], asker: Asker, cluster: Cluster) -> tuple[EgressHost, ...]:
    """Hosts that somebody approves, but of which nobody can read how they are to be reached: who tries is told that, and nothing is sent.

    Args:
        names: of broken entries.
        problems: what is wrong with the annotation.
    """
    named = [name for name in sorted(names) if not list(host_problems("host", name))]
    if not named:
        return ()
    approvals, why = Approvals(asker, cluster.egress_policies), "; ".join(problems)[:MOST_WORDS]
    found = {name: approvals.hosts(HostRequest(name)) for name in named}
    return tuple(EgressHost(name, _rule(who[0][0], who[0][1].host), unreadable=why) for name, who in found.items() if who)


def size_bytes(granted: Iterable[EgressHost | EgressRange], most: int) -> int:
    """What they take of a snapshot, certificates and roots with them; counted until it is more than `most`."""
    total = 0
    for one in granted:
        total += len(msgspec.json.encode(one))
        if total > most:
            break
    return total


def _host(
    request: HostRequest, policy: str, approved: ApprovedHost, namespace: str, cluster: Cluster, problems: list[str]
) -> EgressHost:
    ports = _ports(request)
    return EgressHost(
        host=request.host,
        rule=_rule(policy, approved.host),
        plain_ports=ports.plain,
        tls_ports=ports.tls if passes_tls(approved) else (),
        tcp_ports=ports.tcp,
        tls=_origination(request, approved, namespace, cluster.secrets) if request.tls.mode != "none" else None,
        special_addresses=approved.special_addresses,
        methods=approved.methods,
        paths=approved.paths,
        bytes_per_hour=_bytes(approved.bytes_per_hour),
        gateway=_gateway(policy, approved, cluster, problems),
    )


def _origination(request: HostRequest, approved: ApprovedHost, namespace: str, secrets: Mapping[Key, Object]) -> Origination:
    """The Secret is one of the pod's namespace, whoever names it."""
    certificate = approved.client_certificate or request.tls.client_certificate
    return Origination(
        port=request.tls.port,
        min_version=max(request.tls.min_version, approved.min_version),
        roots=approved.ca_bundle,
        client_certificate=client_certificate(certificate.secret, secrets.get((namespace, certificate.secret))) if certificate else None,
        subject_alt_names=approved.subject_alt_names,
        key_pins=approved.key_pins,
        waivers=tuple(Waiver(one.check, one.until.timestamp(), one.reason) for one in approved.waivers),
        start_tls=request.tls.start_tls,
    )


def _range(request: RangeRequest, policy: str, approved: ApprovedRange, cluster: Cluster, problems: list[str]) -> EgressRange:
    return EgressRange(
        request.cidr, _rule(policy, approved.cidr), request.ports or approved.ports, _bytes(approved.bytes_per_hour),
        _gateway(policy, approved, cluster, problems),
    )


def _bytes(size: int | str | None) -> int | None:
    return None if size is None else in_bytes(size)


def _gateway(policy: str, approved: ApprovedHost | ApprovedRange, cluster: Cluster, problems: list[str]) -> GatewayRef | None:
    """One that is not there is named all the same: the sidecar, which knows no such Service, refuses. Were the entry left out, an
    observation would let the host through, round the gateway and as the application speaks.
    """
    meant = approved.gateway or cluster.egress_policies[policy].gateway
    if meant is None:
        return None
    name = f"{meant.service}.{meant.namespace}"
    ports = ports_of(cluster, meant.namespace, meant.service)
    if not ports or meant.port not in (None, *ports):
        what = f"has no port {meant.port} (ports: {_listed(ports)})" if ports else "is no Service with a selector and a TCP port"
        entry = approved.host if isinstance(approved, ApprovedHost) else approved.cidr
        problems.append(
            f"EgressPolicy {policy}: {entry} may leave through the gateway {name} alone, which {what}: it is refused; "
            f"create the gateway, or correct the policy"
        )
    return GatewayRef(name, meant.port or (ports[0] if ports else GATEWAY))


def _rule(policy: str, entry: str) -> str:
    return f"{policy}/{entry}"[:253]


def client_certificate(name: str, secret: Object | None) -> ClientCertificate:
    """The certificate in a Secret of type kubernetes.io/tls; without chain and key if it is missing or does not hold both."""
    chain, key = (secret_text(secret, field) if secret else None for field in ("tls.crt", "tls.key"))
    return ClientCertificate(name, chain, key) if chain and key else ClientCertificate(name)


def secret_text(secret: Object, field: str) -> str | None:
    """One text in a Secret; None: it is not there, or no ASCII."""
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
