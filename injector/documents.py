"""What users write: the annotations and the two policies, as frozen structs that refuse unknown fields.

Where a document says the same thing as the snapshot it uses the snapshot's own struct. Whoever holds one of these values may
rely on `validate.py` having judged it. Field names follow the Gateway API where it has one.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from sidecar.model.route import Match
from sidecar.model.value import Name, Port, Value

API_VERSION = "bartizan.dev/v1alpha1"

ROUTES = "bartizan.dev/routes"
EGRESS = "bartizan.dev/egress"
PORTS = "bartizan.dev/ports"
STATUS = "bartizan.dev/status"      # written by us
ROOTS = "bartizan.dev/roots"        # written by us: the trust bundle, public
INJECTION = "bartizan.dev/injection"

ANNOTATIONS = (ROUTES, EGRESS, PORTS, STATUS, ROOTS)
LABELS = (INJECTION,)

TlsVersion = Literal["1.2", "1.3"]

# -- bartizan.dev/routes


class Caller(Value, frozen=True):
    """Who may call. No namespace: the pod's own."""

    service_account: Name
    namespace: Name | None = None


class RouteRule(Value, frozen=True):
    """One rule about what enters; the namespaces of its callers are not filled in yet."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    allow: tuple[Caller, ...]
    port: Port | None = None
    matches: tuple[Match, ...] = ()


# -- bartizan.dev/egress


class SecretRef(Value, frozen=True):
    """A Secret of the pod's namespace that holds tls.crt and tls.key."""

    secret: Name


class TlsRequest(Value, frozen=True):
    """How the sidecar speaks TLS to the host; `mutual` presents a client certificate."""

    mode: Literal["simple", "mutual"] = "simple"
    port: Port = 443
    min_version: TlsVersion = "1.2"
    client_certificate: SecretRef | None = None


class HostPorts(Value, frozen=True):
    """`plain`: the application speaks plain HTTP and the sidecar originates TLS. `tls`: the application's own TLS passes."""

    plain: tuple[Port, ...] = (80,)
    tls: tuple[Port, ...] = (443,)


class HostRequest(Value, frozen=True):
    """Asks for a host by name."""

    host: str
    tls: TlsRequest = TlsRequest()
    ports: HostPorts = HostPorts()


class RangeRequest(Value, frozen=True):
    """Asks for addresses. No ports: every port."""

    cidr: str
    ports: tuple[Port, ...] = ()
    protocol: Literal["tcp"] = "tcp"


EgressRequest = HostRequest | RangeRequest

# -- policies


class LabelSelector(Value, frozen=True):
    """Empty selects everything."""

    match_labels: dict[str, str] = msgspec.field(default_factory=dict)


class Subject(Value, frozen=True):
    """Who: one namespace, or those that a selector selects; no service accounts: all of them."""

    namespace: Name | None = None
    namespace_selector: LabelSelector | None = None
    service_accounts: tuple[Name, ...] = ()


class ApprovedHost(Value, frozen=True):
    """
    Args:
        host: a name, or `*.example.com` for every name below example.com.
        ca_bundle: PEM to verify the host with; None: the system's roots.
        special_addresses: CIDRs of private or otherwise special ranges that the name may resolve to.
    """

    host: str
    min_version: TlsVersion = "1.2"
    ca_bundle: str | None = None
    special_addresses: tuple[str, ...] = ()


class ApprovedRange(Value, frozen=True):
    """No ports: every port."""

    cidr: str
    ports: tuple[Port, ...] = ()


class EgressPolicySpec(Value, frozen=True):
    subjects: tuple[Subject, ...]
    hosts: tuple[ApprovedHost, ...] = ()
    ranges: tuple[ApprovedRange, ...] = ()


class WorkloadSelector(Value, frozen=True):
    """Pods in any of the namespaces that carry all of the labels; what is left out selects every pod."""

    namespaces: tuple[Name, ...] = ()
    match_labels: dict[str, str] = msgspec.field(default_factory=dict)


class Mtls(Value, frozen=True):
    """`permissive` lets plaintext in until a date, after which it means `strict`."""

    mode: Literal["strict", "permissive"]
    until: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class MeshPolicySpec(Value, frozen=True):
    """Settings for the pods that the selector selects. A field that is left out is taken from the next wider policy.

    Args:
        without_routes: what a pod without routes accepts.
        opt_out: whether a pod's label `bartizan.dev/injection: disabled` counts.
    """

    selector: WorkloadSelector = WorkloadSelector()
    mtls: Mtls | None = None
    without_routes: Literal["mesh", "nothing"] | None = None
    resolvers: tuple[str, ...] | None = None
    cluster_domain: Name | None = None
    cluster_ranges: tuple[str, ...] | None = None
    opt_out: bool | None = None


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
