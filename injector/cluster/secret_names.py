"""Which Secrets the cluster's documents name, so that these are followed and no others. Pure; each change costs what changed.

For what leaves a Secret is one of the pod's own namespace, whoever names it: the egress annotation of a pod with a sidecar or of a
workload, or an EgressPolicy that is for that namespace. So a namespace without meshed pods names none. For what enters it is what the
Ingresses and Gateways of our classes name (`edge_secrets.py`).

Trust: application teams name Secrets of their own namespace, as many as they like, and each costs a watch: there is a bound for each
namespace. Whether the injector may read one, the API server says. Attacked by tests/injector/cluster/test_secret_names.py.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from injector.documents import EGRESS, EgressPolicySpec, HostRequest
from injector.validate import read_egress, read_egress_policy

from . import Key, Ref
from .edge_secrets import EDGES, EdgeSecrets
from .objects import TEMPLATES, Json, Object, Pod, selects
from .reflector import Changes

MOST_SECRETS = 64       # of a namespace; those that are named beyond it count as if they were not there
MOST_TEXTS = 1000       # annotations that are remembered: the pods of one workload have the same

T = TypeVar("T")
Names = frozenset[str]
NONE: Names = frozenset()


class SecretNames:
    """
    Args:
        report: one line for each namespace that names too many.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._meshed: Counter[str] = Counter()          # pods with a sidecar, by namespace
        self._named: Counter[Key] = Counter()           # how many annotations name it
        self._by: dict[Ref, tuple[bool, Names]] = {}    # what each pod and workload adds to these: is meshed, names
        self._labels: dict[str, Json] = {}              # of namespaces
        self._policies: dict[str, tuple[EgressPolicySpec, Names]] = {}      # those that name any
        self._texts: dict[str, tuple[Names, bool]] = {}
        self._too_many: set[tuple[str, str]] = set()
        self._is_changed = False
        self._edge = EdgeSecrets()

    def take(self, changes: Changes) -> bool:
        """Whether what is named may be another now."""
        self._is_changed = False
        for ref, item in changes.items():
            if ref[0] == "Pod" or ref[0] in TEMPLATES:
                self._take_owner(ref, item)
            elif ref[0] == "EgressPolicy":
                self._take_policy(ref[2], item)
            elif ref[0] in EDGES:
                self._is_changed |= self._edge.take(ref, item)
            elif ref[0] == "Namespace":
                labels = Object(item).labels if item is not None else {}
                self._is_changed |= bool(self._policies) and self._labels.get(ref[2], {}) != labels
                self._labels[ref[2]] = labels
                if item is None:
                    del self._labels[ref[2]]
        return self._is_changed

    def wanted(self) -> frozenset[Key]:
        found: dict[str, set[str]] = {}
        for namespace, name in self._named:
            if namespace in self._meshed:
                found.setdefault(namespace, set()).add(name)
        for spec, names in self._policies.values():
            for namespace in self._meshed:
                if self._is_meant(namespace, spec):
                    found.setdefault(namespace, set()).update(names)
        egress = {("egress entries", namespace): {(namespace, name) for name in names} for namespace, names in found.items()}
        entering = {("Ingresses and Gateways", namespace): names for namespace, names in self._edge.named().items()}
        return self._bounded({**egress, **entering})

    def _bounded(self, named: Mapping[tuple[str, str], Collection[Key]]) -> frozenset[Key]:
        """
        Args:
            named: by what names them, and its namespace.
        """
        too_many = {by for by, names in named.items() if len(names) > MOST_SECRETS}
        for what, namespace in sorted(too_many - self._too_many):
            self._report(f"{what} of namespace {namespace} name more than {MOST_SECRETS} Secrets: those after the first, by name, "
                         "count as if they were not there; have it name fewer")
        self._too_many = too_many
        return frozenset(key for names in named.values() for key in sorted(names)[:MOST_SECRETS])

    def _take_owner(self, ref: Ref, item: Json | None) -> None:
        namespace = ref[1]
        was_meshed, former = self._by.pop(ref, (False, NONE))
        is_meshed, names = False, NONE
        if item is not None:
            is_meshed = ref[0] == "Pod" and Pod(item).has_sidecar
            if is_meshed or ref[0] != "Pod":
                names = self._names_in(Object(item).annotations.get(EGRESS), former)
            if is_meshed or names:
                self._by[ref] = is_meshed, names
        if is_meshed != was_meshed:
            self._count(self._meshed, namespace, 1 if is_meshed else -1)
        for name in names - former:
            self._count(self._named, (namespace, name), 1)
        for name in former - names:
            self._count(self._named, (namespace, name), -1)

    def _count(self, counter: Counter[T], key: T, more: int) -> None:
        before = counter[key]
        counter[key] = before + more
        if not counter[key]:
            del counter[key]
        self._is_changed |= not before or not counter[key]

    def _names_in(self, text: object, former: Names) -> Names:
        """Of an entry that cannot be read the last good version counts, and with it what that names."""
        if not isinstance(text, str):
            return NONE
        if text not in self._texts:
            reading = read_egress(text)
            hosts = [entry for entry in reading.entries.values() if isinstance(entry, HostRequest)]
            names = frozenset(host.tls.client_certificate.secret for host in hosts if host.tls.client_certificate is not None)
            if len(self._texts) >= MOST_TEXTS:
                self._texts.clear()
            self._texts[text] = names, bool(reading.problems)
        names, is_broken = self._texts[text]
        return names | former if is_broken else names

    def _take_policy(self, name: str, item: Json | None) -> None:
        before = self._policies.pop(name, None)
        if item is not None:
            spec = read_egress_policy(item)
            names = frozenset(host.client_certificate.secret for host in spec.hosts if host.client_certificate is not None)
            if names:
                self._policies[name] = spec, names
        self._is_changed |= self._policies.get(name) != before

    def _is_meant(self, namespace: str, spec: EgressPolicySpec) -> bool:
        return any(
            subject.namespace == namespace if subject.namespace_selector is None
            else selects(subject.namespace_selector.match_labels, self._labels.get(namespace, {}))
            for subject in spec.subjects
        )
