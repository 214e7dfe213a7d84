"""What may leave a pod for somewhere outside of the mesh, as the compiler has judged it: asked for, approved, and how it is verified.

A value here is an intersection already: of what the workload asks for and of what a policy approves.
"""

import ipaddress
import re
from typing import Annotated, Literal

import msgspec

from .address import server_address
from .errors import ConfigError
from .network import Isolation
from .path import judge_rule_path
from .service import Service
from .value import Name, Port, Value

Check = Literal["chain", "name", "expiry"]
StartTls = Literal["postgres", "smtp", "mysql"]
EgressMode = Literal["enforce", "observe"]

Method = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{1,32}(?!\n)$", description="a method in capitals, such as GET")]
KeyPin = Annotated[str, msgspec.Meta(
    pattern=r"^sha256/[A-Za-z0-9+/]{43}=(?!\n)$", description="sha256/ and the base64 of a public key's digest, as RFC 7469 has it")]


class ClientCertificate(Value, frozen=True):
    """The certificate to present to an external host; PEM. Both None: the Secret is missing, and the host answers 503.

    Args:
        chain_file, key_file: instead of the texts, files of the sidecar's own, read again when they change.
    """

    name: Name
    chain: str | None = None
    key: str | None = None
    chain_file: str | None = None
    key_file: str | None = None


class Waiver(Value, frozen=True):
    """A check that a policy relaxes for a while. Each connection that needs it says so in log and ledger.

    Args:
        check: `chain`: no chain to the roots is needed. `name`: the certificate need not be for the host; needs `subject_alt_names`.
            `expiry`: it may have ended. With `chain` the origination has `key_pins`, or nothing would be verified at all.
        until: Unix seconds; from then on the check holds.
        reason: the security team's words.
    """

    check: Check
    until: float
    reason: str = ""


class Origination(Value, frozen=True):
    """How the sidecar speaks TLS to an external host.

    Args:
        port: where the host listens for TLS, for an application that speaks plain HTTP; named TCP keeps the application's port.
        roots: PEM bundle to verify with; None: the system's roots.
        client_certificate: present means mutual TLS.
        subject_alt_names: DNS names of which the certificate must have one, besides being for the host.
        key_pins: `sha256/` and base64 of SubjectPublicKeyInfos (RFC 7469 s2.4); the verified chain must hold one.
        start_tls: the protocol in which TLS is asked for first.
    """

    port: Port = 443
    min_version: Literal["1.2", "1.3"] = "1.2"
    roots: str | None = None
    client_certificate: ClientCertificate | None = None
    subject_alt_names: tuple[str, ...] = ()
    key_pins: tuple[KeyPin, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    start_tls: StartTls | None = None


class GatewayRef(Value, frozen=True):
    """The egress gateway that leads out: a Service of the mesh, `egress.gateways`, and its port."""

    service: Name
    port: Port


# Of a host outside; a name of the cluster's may be one, too.
HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII
)


class Alias(Value, frozen=True):
    """A name of the cluster, `db.shop`, that stands for a host outside; that is what is judged, resolved, verified and asked for.

    Args:
        host: empty where it is no name at all.
        problem: why it leads nowhere, in words.
    """

    name: Name
    host: str
    problem: str = ""


class EgressHost(Value, frozen=True):
    """An approved external host.

    Args:
        host: lower-case DNS name; `*.example.com` stands for one label or more before example.com, never for none.
        plain_ports: where the application speaks plain HTTP and the sidecar originates TLS.
        tls_ports: where the application's own TLS passes through after its SNI was judged.
        tcp_ports: where the application connects to the synthetic address of the name, whatever it speaks.
        tls: of plain and TCP ports; None: as the application speaks, in plaintext where it does.
        special_addresses: CIDRs of special ranges that the name may resolve to.
        methods, paths: of plain HTTP; empty: every one. A path stands for itself and everything below it.
        bytes_per_hour: that may be sent to the host, by this sidecar.
        gateway: the only way there.
        rule: which approval it rests on, for log and metric.
        unreadable: why nothing is known of how it is to be reached; it is reached in no way, and who tries is told so.
    """

    host: Annotated[str, msgspec.Meta(
        pattern=r"^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(?!\n)$", max_length=253
    )]
    rule: Name
    plain_ports: tuple[Port, ...] = (80,)
    tls_ports: tuple[Port, ...] = (443,)
    tcp_ports: tuple[Port, ...] = ()
    tls: Origination | None = Origination()
    special_addresses: tuple[str, ...] = ()
    methods: tuple[Method, ...] = ()
    paths: tuple[str, ...] = ()
    bytes_per_hour: Annotated[int, msgspec.Meta(gt=0)] | None = None
    gateway: GatewayRef | None = None
    unreadable: str = ""


class EgressRange(Value, frozen=True):
    """An approved range of external addresses, TCP, passed through as it is. No ports: every port."""

    cidr: str
    rule: Name
    ports: tuple[Port, ...] = ()
    bytes_per_hour: Annotated[int, msgspec.Meta(gt=0)] | None = None
    gateway: GatewayRef | None = None


class DnsLimits(Value, frozen=True):
    """What a name may look like that is asked for, of the DNS guard or as Host or TLS name; a tunnel needs long, random and many names.

    Args:
        mode: `observe` answers and writes down what `enforce` refuses.
        name_bytes: of a name below an approved wildcard, without the wildcard's own labels.
        label_bits: Shannon entropy of a label, in bits a character; counts for labels of twelve characters and more.
        per_s, burst: questions for different names below wildcards.
        txt: whether TXT records of approved names are answered.
    """

    mode: EgressMode = "enforce"
    name_bytes: Annotated[int, msgspec.Meta(ge=1, le=253)] = 100
    label_bits: Annotated[float, msgspec.Meta(gt=0, le=8)] = 4.0
    per_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    burst: Annotated[int, msgspec.Meta(ge=1)] = 100
    txt: bool = False


class Outbound(Value, frozen=True):
    """What may leave the pod.

    Args:
        mode: `observe` lets through what nobody has approved, and writes it down; until `observe_until`, Unix seconds.
        resolvers: name servers, `10.96.0.10` or `10.96.0.10:5353`; the pod's own resolv.conf never counts.
        cluster_domain: names below it are asked of the resolvers whether or not egress approves them.
        cluster_ranges: pod and Service ranges; special for every external name.
        services: of the workload's own namespace, and those that it wanted to know of.
        mesh_ranges: which hold every address of the mesh, each a /24 or /112: what is dialled there may be a Service not told of yet.
        wanted: the addresses and names that were considered, see `sidecar/model/needs.py`; whether there is such a Service, `services`
            says.
        isolation: by NetworkPolicies; None: there is none.
        aliases: ExternalName Services, of the namespaces of `services`.
    """

    services: tuple[Service, ...] = ()
    hosts: tuple[EgressHost, ...] = ()
    ranges: tuple[EgressRange, ...] = ()
    mode: EgressMode = "enforce"
    observe_until: float | None = None
    resolvers: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    cluster_ranges: tuple[str, ...] = ()
    dns: DnsLimits = DnsLimits()
    mesh_ranges: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    isolation: Isolation | None = None
    aliases: tuple[Alias, ...] = ()


class GatewayCaller(Value, frozen=True):
    """Of an egress gateway: whom it leads out, and where to. Judged again here, whatever the caller's own sidecar has said.

    Args:
        identity: the caller's SPIFFE ID.
    """

    identity: str
    hosts: tuple[EgressHost, ...] = ()
    ranges: tuple[EgressRange, ...] = ()


def check_destinations(where: str, hosts: tuple[EgressHost, ...], ranges: tuple[EgressRange, ...]) -> None:
    """What types cannot say. Raises ConfigError."""
    for i, host in enumerate(hosts):
        for j, text in enumerate(host.special_addresses):
            _check_network(f"{where}.hosts[{i}].specialAddresses[{j}]", text)
        for j, path in enumerate(host.paths):
            try:
                judge_rule_path(path)
            except ValueError as exc:
                raise ConfigError(f"{where}.hosts[{i}].paths[{j}]", str(exc)) from exc
        if host.tls is not None:
            _check_origination(f"{where}.hosts[{i}].tls", host.tls)
    for i, item in enumerate(ranges):
        _check_network(f"{where}.ranges[{i}].cidr", item.cidr)


def check_outbound(where: str, outbound: Outbound) -> None:
    """What types cannot say, of all but the Services. Raises ConfigError."""
    check_destinations(where, outbound.hosts, outbound.ranges)
    if outbound.mode == "observe" and outbound.observe_until is None:
        raise ConfigError(f"{where}.observeUntil", "observe needs the date at which it ends")
    for i, text in enumerate(outbound.resolvers):
        try:
            server_address(text)
        except ValueError as exc:
            raise ConfigError(f"{where}.resolvers[{i}]", f"{text!r} is no address with an optional port: {exc}") from exc
    for i, alias in enumerate(outbound.aliases):
        if not alias.problem and not HOST_NAME.fullmatch(alias.host):
            raise ConfigError(f"{where}.aliases[{i}].host", f"{alias.host!r} is no name of a host")
    for i, text in enumerate(outbound.cluster_ranges):
        _check_network(f"{where}.clusterRanges[{i}]", text)
    for i, text in enumerate(outbound.mesh_ranges):
        _check_network(f"{where}.meshRanges[{i}]", text)


def _check_origination(where: str, tls: Origination) -> None:
    waived = {waiver.check for waiver in tls.waivers}
    if "chain" in waived and not tls.key_pins:
        raise ConfigError(f"{where}.waivers", "chain can be waived only for a pinned key")
    if "name" in waived and not tls.subject_alt_names:
        raise ConfigError(f"{where}.waivers", "name can be waived only where subjectAltNames say whose certificate it is")


def _check_network(where: str, text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError as exc:
        raise ConfigError(where, str(exc)) from exc
