"""What no ledger can tell: pods and ports that no sidecar watches, and where plaintext is let in. Pure, from the cluster.

The injector keeps it beside the ledgers as `coverage.json`, so that an audit says it without asking the cluster.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from injector.cluster import Cluster
from injector.cluster.objects import Pod, objects
from injector.compile.mesh import mesh_settings
from injector.documents import INJECTION
from injector.exclude import passing
from injector.hardening import left_open
from sidecar.model.value import Value

Kind = Literal[
    "no-sidecar",       # what these pods do, and what reaches them, nobody writes down
    "host-network",     # they have the node's network, and share its address
    "permissive",       # plaintext is let in, and written down
    "datagrams",        # a port that is reached by UDP or SCTP, which no sidecar takes
    "excluded",         # what passes its sidecar by, because a MeshPolicy says so
    "left-open",        # what could pass it by
    "unreadable",       # a policy that could not be read, and is not in force
]


class KnownPod(Value, frozen=True):
    """Whom an address names."""

    namespace: str
    name: str
    uid: str
    service_account: str
    addresses: tuple[str, ...]
    has_sidecar: bool = False
    host_network: bool = False


class Gap(Value, frozen=True):
    """
    Args:
        workload: `Deployment/web`, or `Pod/web-1` of one that nothing controls.
        pods: how many.
        until: Unix seconds, when it ends by itself.
    """

    kind: Kind
    namespace: str
    service_account: str
    workload: str
    cause: str
    cure: str
    pods: int = 1
    until: float | None = None


class Coverage(Value, frozen=True):
    pods: tuple[KnownPod, ...] = ()
    gaps: tuple[Gap, ...] = ()


NOTHING = Coverage()


@dataclass(frozen=True, slots=True)
class OfPod:
    """What there is to tell of one pod."""

    known: KnownPod
    gaps: tuple[Gap, ...]

    @classmethod
    def look(cls, pod: Pod, cluster: Cluster) -> "OfPod":
        known = KnownPod(pod.namespace, pod.name, pod.uid, pod.service_account, pod.addresses, pod.is_meshed, _is_on_node(pod))
        return cls(known, tuple(_gaps(pod, cluster)))


def coverage(cluster: Cluster) -> Coverage:
    """Of the pods that run; gaps are told once for each workload."""
    return assembled([OfPod.look(pod, cluster) for pod in running(cluster)], cluster)


def running(cluster: Cluster) -> list[Pod]:
    return [pod for _, pod in sorted(cluster.pods.items(), key=lambda item: item[0]) if not pod.has_ended]


def assembled(found: Iterable[OfPod], cluster: Cluster) -> Coverage:
    """
    Args:
        found: of each that runs, in their order.
    """
    pods, counted = [], Counter[Gap]()
    for one in found:
        pods.append(one.known)
        counted.update(one.gaps)
    unreadable = [
        Gap("unreadable", "", "", problem.source, str(problem), "Mend the object; `bartizan analyze` names the line.", pods=0)
        for problem in cluster.problems
    ]
    gaps = [
        Gap(gap.kind, gap.namespace, gap.service_account, gap.workload, gap.cause, gap.cure, number, gap.until)
        for gap, number in counted.items()
    ]
    return Coverage(tuple(pods), (*sorted(gaps, key=lambda gap: (gap.kind, gap.namespace, gap.workload, gap.cause)), *unreadable))


def _gaps(pod: Pod, cluster: Cluster) -> Iterator[Gap]:
    workload = cluster.workload_of(pod)
    name = f"{workload.kind}/{workload.name}" if workload is not None else f"Pod/{pod.name}"
    mesh = mesh_settings(cluster.mesh_policies, pod.namespace, pod.labels)

    def gap(kind: Kind, cause: str, cure: str, until: float | None = None) -> Gap:
        return Gap(kind, pod.namespace, pod.service_account, name, cause, cure, until=until)

    if _is_on_node(pod):
        yield gap("host-network", "It has the node's network, which no sidecar can intercept.",
                  "Remove hostNetwork, or judge it as a part of the node.")
    elif not pod.is_meshed:
        yield gap("no-sidecar", *_why_without(pod, cluster, mesh.opt_out))
    if not pod.has_sidecar:
        return
    strict = "Give its callers sidecars, then make the MeshPolicy strict."
    if mesh.mtls.mode == "permissive":
        yield gap("permissive", "A MeshPolicy lets plaintext in.", strict, mesh.mtls.until.timestamp() if mesh.mtls.until else None)
    for number, own in mesh.mtls.ports.items():
        if own.mode == "permissive":
            yield gap("permissive", f"A MeshPolicy lets plaintext in at port {number}.", strict,
                      own.until.timestamp() if own.until else None)
    for container in pod.containers:
        for port in objects(container.get("ports"), "ports"):
            if (protocol := port.get("protocol", "TCP")) != "TCP":
                yield gap("datagrams", f"Its port {port.get('containerPort')} is reached by {protocol}, which no sidecar takes.",
                          "Use TCP, or protect it in the application; a NetworkPolicy can say who may reach it.")
    for words in passing(pod):
        yield gap("excluded", f"{words} passes the sidecar by, as a MeshPolicy allowed when the pod was created.",
                  "Take it out of the MeshPolicy's `exclusions` or `udp`, and restart the pod.")
    for words in left_open(pod):
        yield gap("left-open", f"{words[0].upper()}{words[1:]}.", "Do so and restart the pod.")


def _is_on_node(pod: Pod) -> bool:
    return pod.spec.get("hostNetwork") is True


def _why_without(pod: Pod, cluster: Cluster, opt_out: bool) -> tuple[str, str]:
    """(cause, cure)"""
    if "kubernetes.io/config.mirror" in pod.annotations:
        return "It is a mirror pod, the kubelet's own.", "Judge it as a part of the node."
    if cluster.namespace_labels(pod.namespace).get(INJECTION) != "enabled":
        return "Its namespace is not in the mesh.", f"kubectl label namespace {pod.namespace} {INJECTION}=enabled, then restart it."
    if pod.labels.get(INJECTION) == "disabled" and opt_out:
        return "It opted out by its label, as its MeshPolicy allows.", f"Remove the label {INJECTION}=disabled and restart it."
    return "It is older than its namespace's place in the mesh, or was admitted while the webhook was away.", "Restart it."
