"""What the MeshPolicies say of one pod: each setting comes from the most specific policy that names it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from injector.cluster.objects import Json, selects
from injector.documents import DatagramRange, Egress, Exclusions, MeshPolicySpec, Mtls, TokenIssuer
from sidecar.model.egress import DnsLimits

T = TypeVar("T")

STRICT = Mtls("strict")
ENFORCE = Egress("enforce")
USUAL_DNS = DnsLimits()
NO_EXCLUSIONS = Exclusions()


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """The settings in force, and what they are where no policy says anything."""

    mtls: Mtls = STRICT
    without_routes: Literal["mesh", "nothing"] = "mesh"
    resolvers: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    cluster_ranges: tuple[str, ...] = ()
    egress: Egress = ENFORCE
    dns: DnsLimits = USUAL_DNS
    opt_out: bool = False
    accept_http10: bool = False
    hardening: Literal["standard", "strict"] = "standard"
    udp: tuple[DatagramRange, ...] = ()
    exclusions: Exclusions = NO_EXCLUSIONS
    token_issuers: tuple[TokenIssuer, ...] = ()


def by_specificity(policies: Mapping[str, MeshPolicySpec]) -> list[MeshPolicySpec]:
    """Labels are more specific than namespaces, more labels than fewer; equals stand in the order of their names."""
    def specificity(name: str) -> tuple[int, bool, str]:
        selector = policies[name].selector
        return -len(selector.match_labels), not selector.namespaces, name

    return [policies[name] for name in sorted(policies, key=specificity)]


def mesh_settings(policies: Mapping[str, MeshPolicySpec], namespace: str, labels: Json) -> MeshSettings:
    def selected(policy: MeshPolicySpec) -> bool:
        namespaces = policy.selector.namespaces
        return (not namespaces or namespace in namespaces) and selects(policy.selector.match_labels, labels)

    found = [policy for policy in by_specificity(policies) if selected(policy)]
    default = MeshSettings()

    def first(values: list[T | None], otherwise: T) -> T:
        return next((value for value in values if value is not None), otherwise)

    return MeshSettings(
        first([policy.mtls for policy in found], default.mtls),
        first([policy.without_routes for policy in found], default.without_routes),
        first([policy.resolvers for policy in found], default.resolvers),
        first([policy.cluster_domain for policy in found], default.cluster_domain),
        first([policy.cluster_ranges for policy in found], default.cluster_ranges),
        first([policy.egress for policy in found], default.egress),
        first([policy.dns for policy in found], default.dns),
        first([policy.opt_out for policy in found], default.opt_out),
        first([policy.accept_http10 for policy in found], default.accept_http10),
        first([policy.hardening for policy in found], default.hardening),
        first([policy.udp for policy in found], default.udp),
        first([policy.exclusions for policy in found], default.exclusions),
        first([policy.token_issuers for policy in found], default.token_issuers),
    )
