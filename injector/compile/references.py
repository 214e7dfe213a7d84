"""What an object of the Gateway API may name in other namespaces, and how conditions say what became of it. Pure.

A namespace grants what may be named in it: a ReferenceGrant says who may (kind and namespace), and what (kind, perhaps a name). There is no
other way: whoever may write a route must not reach, or show the certificate of, what is somebody else's.

Trust: routes and Gateways are written by anybody in their own namespaces. Attacked by tests/injector/compile/test_references.py.
Spec: ReferenceGrant v1beta1; metav1.Condition.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from injector.cluster import Cluster, Ref, ref_of
from injector.documents.gateway_api import GROUP, GrantFrom, GrantTo, ReferenceGrant
from injector.hints import explain
from sidecar.model.errors import ConfigError

T = TypeVar("T")
MOST_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class Condition:
    """
    Args:
        reason: one word.
    """

    type: str
    holds: bool
    reason: str
    message: str = ""

    def as_json(self) -> dict[str, Any]:
        text = self.message if self.message.isprintable() else ascii(self.message)[1:-1]      # it quotes what users wrote
        return {"type": self.type, "status": str(self.holds), "reason": self.reason, "message": text[:MOST_MESSAGE]}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why something is not in force: a condition's reason, and the cause in words."""

    reason: str
    message: str


def condition(kind: str, faults: Iterable[Fault], otherwise: str = "", message: str = "") -> Condition:
    """It holds if there are no faults; the first gives the reason, all of them the message."""
    found = list(dict.fromkeys(faults))
    if not found:
        return Condition(kind, True, otherwise or kind, message)
    return Condition(kind, False, found[0].reason, "; ".join(one.message for one in found))


def read(data: object, kind: type[T], where: str) -> T:
    """Raises ConfigError with what is wrong, in a user's words."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as exc:
        raise ConfigError("", explain(exc, kind, where)[1]) from exc       # the text says where


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

