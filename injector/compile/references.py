"""What an object of the Gateway API may name in other namespaces. Pure.

A namespace grants what may be named in it: a ReferenceGrant says who may (kind and namespace), and what (kind, perhaps a name). There is no
other way: whoever may write a route must not reach, or show the certificate of, what is somebody else's.

Trust: routes and Gateways are written by anybody in their own namespaces. Attacked by tests/injector/compile/test_references.py.
Spec: gateway.networking.k8s.io/v1beta1 ReferenceGrant.
"""

from injector.cluster import Cluster, Ref, ref_of
from injector.documents.gateway_api import GROUP, GrantFrom, GrantTo, ReferenceGrant
from injector.hints import read
from sidecar.model.errors import ConfigError


class Grants:
    """All ReferenceGrants of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._grants: dict[str, list[ReferenceGrant]] = {}
        self.problems: dict[Ref, str] = {}
        for one in cluster.of_kind("ReferenceGrant").values():
            try:
                self._grants.setdefault(one.namespace, []).append(read(one.spec, ReferenceGrant, "spec"))
            except ConfigError as exc:
                self.problems[ref_of(one)] = f"it grants nothing: {exc}"

    def allow(self, kind: str, namespace: str, to: tuple[str, str, str, str]) -> bool:
        """
        Args:
            kind, namespace: of who names it, of the Gateway API.
            to: (group, kind, namespace, name) of what is named.
        """
        group, to_kind, to_namespace, name = to
        asked = GrantFrom(GROUP, kind, namespace)
        return namespace == to_namespace or any(
            asked in grant.from_ and (GrantTo(group, to_kind) in grant.to or GrantTo(group, to_kind, name) in grant.to)
            for grant in self._grants.get(to_namespace, ())
        )

