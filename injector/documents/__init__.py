"""What users write: the annotations and the two policies, as frozen structs that refuse unknown fields.

Where a document says the same thing as the snapshot it uses the snapshot's own struct. Whoever holds one of these values may
rely on `injector/validate.py` having judged it. Field names follow the Gateway API where it has one.
"""

from .edge import EdgeRule
from .egress import EgressProtocol, EgressRequest, HostPorts, HostRequest, RangeRequest, SecretRef, TlsRequest, TlsVersion
from .endpoints import EndpointsRule
from .policies import (
    ApprovedHost,
    ApprovedRange,
    DatagramRange,
    Egress,
    EgressPolicy,
    EgressPolicySpec,
    Exclusions,
    GatewayService,
    LabelSelector,
    MeshPolicy,
    MeshPolicySpec,
    Mtls,
    PolicyWaiver,
    PortMtls,
    Subject,
    TokenIssuer,
    WorkloadSelector,
)
from .routes import Caller, RouteRule

__all__ = [
    "ANALYZE_SUPPRESS", "ANNOTATIONS", "API_VERSION", "EDGE", "EGRESS", "ENDPOINTS", "EXCLUDE", "INJECTION", "LABELS", "NATIVE_SIDECAR",
    "PORTS", "REVISION", "ROOTS", "ROUTES", "STATUS", "WORKLOAD_API", "ApprovedHost", "ApprovedRange", "Caller", "DatagramRange",
    "EdgeRule", "Egress", "EgressPolicy", "EgressPolicySpec", "EgressProtocol", "EgressRequest", "EndpointsRule", "Exclusions",
    "GatewayService", "HostPorts", "HostRequest", "LabelSelector", "MeshPolicy", "MeshPolicySpec", "Mtls", "PolicyWaiver", "PortMtls",
    "RangeRequest", "RouteRule", "SecretRef", "Subject", "TlsRequest", "TlsVersion", "TokenIssuer", "WorkloadSelector",
]

API_VERSION = "bartizan.dev/v1alpha1"

ROUTES = "bartizan.dev/routes"
EGRESS = "bartizan.dev/egress"
PORTS = "bartizan.dev/ports"
ENDPOINTS = "bartizan.dev/endpoints"
EXCLUDE = "bartizan.dev/exclude"
EDGE = "bartizan.dev/edge"      # of Ingresses and HTTPRoutes
STATUS = "bartizan.dev/status"      # written by us
ROOTS = "bartizan.dev/roots"        # written by us: the trust bundle, public
WORKLOAD_API = "bartizan.dev/workload-api"
NATIVE_SIDECAR = "bartizan.dev/native-sidecar"
ANALYZE_SUPPRESS = "bartizan.dev/analyze-suppress"      # on any object: codes of which `analyze` is to say nothing
INJECTION = "bartizan.dev/injection"
REVISION = "bartizan.dev/rev"       # of a namespace: whose control plane it has

ANNOTATIONS = (ROUTES, EGRESS, PORTS, ENDPOINTS, EXCLUDE, EDGE, WORKLOAD_API, NATIVE_SIDECAR, STATUS, ROOTS, ANALYZE_SUPPRESS)
LABELS = (INJECTION, REVISION)
