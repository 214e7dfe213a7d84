"""A NetworkPolicy as it is in force: read as the API means it, or narrowed to what fails closed.

Trust: an API server refuses what is not valid, a directory does not. What cannot be read isolates every pod that it could mean and
lists nothing; what of it is broken is told. Attacked by tests/injector/compile/test_network_policy.py.

Spec: networking.k8s.io/v1 NetworkPolicy.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from injector.cluster.objects import Object, Pod
from injector.documents.network_policy import NetworkPolicySpec, PolicyType
from injector.documents.selector import Selector
from injector.hints import explain
from injector.semantics.network_policy import network_policy_problems, selector_problems
from injector.semantics.text import below

KIND = "NetworkPolicy"
DIRECTIONS: tuple[PolicyType, ...] = ("Ingress", "Egress")


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A NetworkPolicy as it is in force.

    Args:
        name: `shop/allow-frontend`
        problems: (path of the field, what is wrong); if there are any, `spec` lists nothing.
    """

    name: str
    namespace: str
    spec: NetworkPolicySpec
    problems: tuple[tuple[str, str], ...] = ()

    def selects(self, pod: Pod) -> bool:
        return pod.namespace == self.namespace and (self.spec.pod_selector or Selector()).selects(pod.labels)


def read_network_policy(found: Object) -> Policy:
    """Whatever stands there. What cannot be read is narrowed to what fails closed."""
    name, written = f"{found.namespace}/{found.name}"[:253], found.data.get("spec") or {}
    try:
        spec = msgspec.convert(written, NetworkPolicySpec)
    except msgspec.ValidationError as exc:
        return Policy(name, found.namespace, _closed(written), (explain(exc, NetworkPolicySpec, "spec"),))
    problems = tuple((path, f"{path}: {text}") for path, text in below("spec", network_policy_problems(spec)))
    return Policy(name, found.namespace, _closed(written) if problems else spec, problems)


def _closed(written: object) -> NetworkPolicySpec:
    """No rules; every pod and direction that may be meant."""
    fields = written if isinstance(written, dict) else {}
    types: tuple[PolicyType, ...] = DIRECTIONS
    with suppress(msgspec.ValidationError):
        given = msgspec.convert({"policyTypes": fields.get("policyTypes")}, NetworkPolicySpec).policy_types
        if isinstance(written, dict):
            types = given or (DIRECTIONS if fields.get("egress") else DIRECTIONS[:1])
    return NetworkPolicySpec(_widest(fields.get("podSelector")), types)


def _widest(written: object) -> Selector:
    """The selector, or what can be read of it, which selects more."""
    labels = written.get("matchLabels") if isinstance(written, dict) else None
    for candidate in (written, {"matchLabels": labels}):
        try:
            selector = msgspec.convert(candidate or {}, Selector)
        except msgspec.ValidationError:
            continue
        if not any(selector_problems(selector)):
            return selector
    return Selector()


def told(policy: Policy) -> Iterator[str]:
    """What is wrong with it, and what that means."""
    for _, problem in policy.problems:
        yield f"{problem}; until it is corrected, the pods that it selects are isolated and it lists nothing"
