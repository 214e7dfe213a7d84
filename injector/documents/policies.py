"""What the platform and security teams write: cluster-scoped objects."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from sidecar.model.value import Name, Port, Value

from .egress import TlsVersion


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


class PortMtls(Value, frozen=True):
    """`permissive` lets plaintext in until a date, after which it means `strict`."""

    mode: Literal["strict", "permissive"]
    until: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


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


class MeshPolicySpec(Value, frozen=True):
    """Settings for the pods that the selector selects. A field that is left out is taken from the next wider policy.

    Args:
        without_routes: what a pod without routes accepts.
        opt_out: whether a pod's label `bartizan.dev/injection: disabled` counts.
        accept_http10: of the application and of callers.
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
