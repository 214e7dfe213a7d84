"""What the platform and security teams write: cluster-scoped objects."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from sidecar.model.egress import Check, DnsLimits, EgressMode, KeyPin, Method
from sidecar.model.value import Name, Port, Value

from .egress import EgressProtocol, SecretRef, TlsVersion
from .text import Size

Until = Annotated[datetime, msgspec.Meta(tz=True, description="a date with time and zone, such as 2027-01-31T00:00:00Z")]


class LabelSelector(Value, frozen=True):
    """Empty selects everything."""

    match_labels: dict[str, str] = msgspec.field(default_factory=dict)


class Subject(Value, frozen=True):
    """Who: one namespace, or those that a selector selects; no service accounts: all of them."""

    namespace: Name | None = None
    namespace_selector: LabelSelector | None = None
    service_accounts: tuple[Name, ...] = ()


class PolicyWaiver(Value, frozen=True):
    """A check that is relaxed until a date; each connection that needs it is written down.

    Args:
        check: `chain` (then `keyPins` must stand there), `name` (then `subjectAltNames` must) or `expiry` of the host's certificate.
        reason: for whoever reads the log.
    """

    check: Check
    until: Until
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class GatewayService(Value, frozen=True):
    """The egress gateway's Service. No port: the first one that it has."""

    namespace: Name
    service: Name
    port: Port | None = None


class ApprovedHost(Value, frozen=True):
    """
    Args:
        host: a name, or `*.example.com` for every name below example.com.
        ports: that may be asked for, on either side of the origination.
        protocols: that may be asked for. Without `tls`, TLS of the application's own does not pass.
        ca_bundle: PEM to verify the host with; None: the system's roots.
        subject_alt_names: the host's certificate must have one of these names, besides being for the host.
        key_pins: `sha256/BASE64` (RFC 7469) of keys of which the host's chain must hold one.
        client_certificate: to be presented whatever is asked for.
        special_addresses: CIDRs of private or otherwise special ranges that the name may resolve to.
        methods, paths: of plain HTTP; empty: every one. A path stands for itself and all below it. Where any stands, or a name or a pin
            above, TLS of the application's own does not pass.
        bytes_per_hour: that each sidecar may send to the host.
        allow_plaintext: whether `tls: {mode: none}` may be asked for.
        waivers: checks that are relaxed for a while.
        gateway: the only way there; it stands for that of the policy.
    """

    host: str
    ports: tuple[Port, ...] = (80, 443)
    protocols: tuple[EgressProtocol, ...] = ("http", "tls")
    min_version: TlsVersion = "1.2"
    ca_bundle: str | None = None
    subject_alt_names: tuple[str, ...] = ()
    key_pins: tuple[KeyPin, ...] = ()
    client_certificate: SecretRef | None = None
    special_addresses: tuple[str, ...] = ()
    methods: tuple[Method, ...] = ()
    paths: tuple[str, ...] = ()
    bytes_per_hour: Size | None = None
    allow_plaintext: bool = False
    waivers: tuple[PolicyWaiver, ...] = ()
    gateway: GatewayService | None = None


class ApprovedRange(Value, frozen=True):
    """No ports: every port."""

    cidr: str
    ports: tuple[Port, ...] = ()
    bytes_per_hour: Size | None = None
    gateway: GatewayService | None = None


class EgressPolicySpec(Value, frozen=True):
    """
    Args:
        gateway: the only way to all of its hosts and ranges.
    """

    subjects: tuple[Subject, ...]
    hosts: tuple[ApprovedHost, ...] = ()
    ranges: tuple[ApprovedRange, ...] = ()
    gateway: GatewayService | None = None


class WorkloadSelector(Value, frozen=True):
    """Pods in any of the namespaces that carry all of the labels; what is left out selects every pod."""

    namespaces: tuple[Name, ...] = ()
    match_labels: dict[str, str] = msgspec.field(default_factory=dict)


class PortMtls(Value, frozen=True):
    """`permissive` lets plaintext in until a date, after which it means `strict`."""

    mode: Literal["strict", "permissive"]
    until: Until | None = None


class Mtls(PortMtls, frozen=True):
    """
    Args:
        mode, until: of the ports that `ports` does not list.
        ports: by the application's port, which is text that spells a number.
    """

    ports: dict[str, PortMtls] = msgspec.field(default_factory=dict)


class TokenIssuer(Value, frozen=True):
    """Whose bearer tokens routes may ask for, and where the keys are that verify them: here, or at an HTTPS address.

    Args:
        jwks: the text of a JWKS (RFC 7517).
        jwks_uri: fetched by the injector, every five minutes.
        ca_bundle: PEM to verify that host with; None: the system's roots.
        special_addresses: CIDRs of private or otherwise special ranges that its name may resolve to.
    """

    issuer: Name
    jwks: Annotated[str, msgspec.Meta(max_length=65536)] | None = None
    jwks_uri: Annotated[str, msgspec.Meta(max_length=2048)] | None = None
    ca_bundle: str | None = None
    special_addresses: tuple[str, ...] = ()


class Egress(Value, frozen=True):
    """`observe` lets through what nobody has approved, and writes it down, until a date after which it means `enforce`.

    Args:
        network_policies: whether what a NetworkPolicy lists is approved thereby where no EgressPolicy means the workload, or whether
            it narrows and no more.
    """

    mode: EgressMode
    until: Until | None = None
    network_policies: Literal["approve", "narrow"] = "approve"


class DatagramRange(Value, frozen=True):
    """UDP to these addresses and ports leaves the pod unguarded."""

    cidr: str
    ports: Annotated[tuple[Port, ...], msgspec.Meta(min_length=1, max_length=15)]


class Exclusions(Value, frozen=True):
    """What may be asked to pass the sidecar by, and in the annotation bartizan.dev/exclude: what is. Empty: nothing.

    Args:
        inbound_ports, outbound_ports: of TCP.
        outbound_cidrs: of TCP.
    """

    inbound_ports: tuple[Port, ...] = ()
    outbound_ports: tuple[Port, ...] = ()
    outbound_cidrs: tuple[str, ...] = ()


class MeshPolicySpec(Value, frozen=True):
    """Settings for the pods that the selector selects. A field that is left out is taken from the next wider policy.

    Args:
        without_routes: what a pod without routes accepts.
        opt_out: whether a pod's label `bartizan.dev/injection: disabled` counts.
        accept_http10: of the application and of callers.
        egress: whether what no EgressPolicy approves is refused, or observed until a date; whether NetworkPolicies approve, too.
        dns: what a question to the DNS guard may look like.
        hardening: what containers beside the sidecar may be.
        udp: where the application may send datagrams by itself.
        exclusions: what a pod's annotation bartizan.dev/exclude may take out of the interception.
        token_issuers: the only ones whose tokens a route may demand.
    """

    selector: WorkloadSelector = WorkloadSelector()
    mtls: Mtls | None = None
    without_routes: Literal["mesh", "nothing"] | None = None
    resolvers: tuple[str, ...] | None = None
    cluster_domain: Name | None = None
    cluster_ranges: tuple[str, ...] | None = None
    opt_out: bool | None = None
    accept_http10: bool | None = None
    egress: Egress | None = None
    dns: DnsLimits | None = None
    hardening: Literal["standard", "strict"] | None = None
    udp: tuple[DatagramRange, ...] | None = None
    exclusions: Exclusions | None = None
    token_issuers: tuple[TokenIssuer, ...] | None = None


class EgressPolicy(Value, frozen=True):
    """Cluster-scoped: what the security team approves."""

    api_version: Literal["bartizan.dev/v1alpha1"]
    kind: Literal["EgressPolicy"]
    metadata: dict[str, Any]
    spec: EgressPolicySpec
    status: dict[str, Any] = msgspec.field(default_factory=dict)


class MeshPolicy(Value, frozen=True):
    """Cluster-scoped: how the mesh treats workloads."""

    api_version: Literal["bartizan.dev/v1alpha1"]
    kind: Literal["MeshPolicy"]
    metadata: dict[str, Any]
    spec: MeshPolicySpec
    status: dict[str, Any] = msgspec.field(default_factory=dict)
