"""May one end reach another, as far as NetworkPolicies go, and by which of them? The very snapshot and judge of the sidecars answer.

Pure. Of a Service the pods behind it are judged, each at the port that the Service leads to; an application's choice is made among those
that may be left for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from injector.cluster import Cluster
from injector.cluster.objects import Pod, at, objects, selects
from sidecar.model import identity
from sidecar.model.address import canonical, is_address
from sidecar.model.errors import ConfigError
from sidecar.model.network import Isolation
from sidecar.model.reason import Reason
from sidecar.model.value import Value
from sidecar.policy.network import Network

from .explain import find_pod
from .network_book import NetworkBook


@dataclass(frozen=True, slots=True)
class End:
    """
    Args:
        pod: None: an address that is no pod's.
    """

    name: str
    address: str
    pod: Pod | None = None


class Side(Value, frozen=True):
    """What one direction says.

    Args:
        policies: that isolate the pod there.
        by: the one that lists the other end and the port.
        approves: that is an approval, too.
    """

    direction: Literal["out", "in"]
    may: bool
    words: str
    policies: tuple[str, ...] = ()
    by: str = ""
    approves: bool = False
    code: str = ""


class Reach(Value, frozen=True):
    """
    Args:
        to: who would be connected to, and `port` its own.
    """

    source: str
    to: str
    address: str
    port: int
    sides: tuple[Side, ...]

    @property
    def may(self) -> bool:
        return all(side.may for side in self.sides)


def find_source(cluster: Cluster, text: str) -> End:
    """An address, or the pod that `NAMESPACE/POD` or `NAMESPACE/WORKLOAD` names. ConfigError."""
    if is_address(text):
        return _at_address(cluster, str(canonical(text)))
    return _of_pod(find_pod(cluster, text))


def find_targets(cluster: Cluster, text: str, port: int | None) -> Iterator[tuple[End, int]]:
    """(who, its own port) of each that is meant: an address, a pod, the pods of a Service, each at all their ports where none is said.

    A Service counts before a pod or workload of its name, unless it lacks the port. ConfigError.
    """
    key = cluster.services_at.get(str(canonical(text))) if is_address(text) else None
    namespace, _, name = text.rpartition("/")
    key = key or ((namespace or "default", name) if (namespace or "default", name) in cluster.services else None)
    if key is not None and (found := list(_of_service(cluster, key, port))):
        yield from found
        return
    end = find_source(cluster, text) if key is None or _is_pod(cluster, text) else None
    if end is None or (end.pod is None and port is None):
        there = f"{'/'.join(key)}: no pod that runs is behind that port of the Service" if key else f"{text}: say the port, ADDRESS:PORT"
        raise ConfigError("TO", there)
    numbers = [port] if port is not None else sorted(end.pod.tcp_ports if end.pod is not None else ())
    if not numbers:
        raise ConfigError("TO", f"{end.name} lists no port; say it: {text}:PORT")
    yield from ((end, number) for number in numbers)


def reach(cluster: Cluster, source: End, target: End, port: int, book: NetworkBook, trust_domain: str) -> Reach:
    """
    Args:
        port: of the target.
    """
    source, target = _of_one_family(source, target)
    sides = () if source.pod is not None and source.pod is target.pod else (
        _side("out", source, target, port, cluster, book, trust_domain), _side("in", target, source, port, cluster, book, trust_domain),
    )
    return Reach(source.name, target.name, target.address, port, sides)


def _side(
    direction: Literal["out", "in"], own: End, other: End, port: int, cluster: Cluster, book: NetworkBook, trust_domain: str
) -> Side:
    if own.pod is None:
        return Side(direction, may=True, words=f"{own.name} is no pod: NetworkPolicies say nothing of it")
    if own.pod.spec.get("hostNetwork") is True:
        return Side(direction, may=True, words=f"{own.name} is in the node's network: NetworkPolicies do not isolate it")
    isolated = book.isolated(cluster, own.pod)
    isolation: Isolation | None = isolated.outbound if direction == "out" else isolated.inbound
    if isolation is None:
        kind = "Egress" if direction == "out" else "Ingress"
        return Side(direction, may=True, words=f"no NetworkPolicy selects {own.name} for {kind}")
    network, ip = Network(isolation), canonical(other.address)
    meshed = other.pod if other.pod is not None and other.pod.is_meshed else None
    who = identity.workload_id(trust_domain, meshed.namespace, meshed.service_account) if meshed is not None else None
    by = network.why_let(ip, port, who)
    beside = "" if own.pod.is_meshed else f"; {own.name} has no sidecar: only a CNI enforces it"
    wrong = "".join(f"; {problem}" for problem in isolated.problems)
    if by is None:
        code = (Reason.NETWORK_POLICY_OUT if direction == "out" else Reason.NETWORK_POLICY_IN).code
        words = f"isolated by {', '.join(network.policies)}, and none lists {other.name} at port {port}{wrong}{beside}"
        return Side(direction, may=False, words=words, policies=network.policies, code=code)
    approves = network.approves and next(network.blocks(ip, port), None) is not None
    return Side(direction, may=True, words=f"{by} lists it{beside}", policies=network.policies, by=by, approves=approves)


def _of_one_family(source: End, target: End) -> tuple[End, End]:
    """Of two pods with addresses of both families, those by which they can meet; where there are none, what is there."""
    def addresses(end: End) -> tuple[str, ...]:
        return end.pod.addresses if end.pod is not None and end.address in end.pod.addresses else (end.address,)

    for there in (target.address, *addresses(target)):
        for here in (source.address, *addresses(source)):
            if (":" in here) == (":" in there):
                return End(source.name, here, source.pod), End(target.name, there, target.pod)
    return source, target


def _at_address(cluster: Cluster, address: str) -> End:
    there = [pod for _, pod in sorted(cluster.pods.items()) if address in pod.addresses and pod.spec.get("hostNetwork") is not True]
    pod = next((one for one in there if one.is_meshed), there[0] if there else None)
    return End(f"{pod.namespace}/{pod.name}" if pod is not None else address, address, pod)


def _of_pod(pod: Pod) -> End:
    name = f"{pod.namespace}/{pod.name}"
    if not pod.addresses:
        raise ConfigError("pod", f"{name} has no address: it does not run")
    return End(name, pod.addresses[0], pod)


def _is_pod(cluster: Cluster, text: str) -> bool:
    try:
        find_pod(cluster, text)
    except ConfigError:
        return False
    return True


def _of_service(cluster: Cluster, key: tuple[str, str], port: int | None) -> Iterator[tuple[End, int]]:
    service = cluster.services[key]
    selector = at(service.data, "spec", "selector")
    pods = [pod for (namespace, _), pod in sorted(cluster.pods.items())
            if selector and namespace == key[0] and pod.addresses and selects(selector, pod.labels)]
    for one in objects(service.spec.get("ports"), "spec.ports"):
        if one.get("protocol", "TCP") == "TCP" and port in (None, one.get("port")):
            for pod in pods:
                number = pod.port(one.get("targetPort", one.get("port")))
                if number is not None:
                    yield _of_pod(pod), number
