"""What passes a pod's sidecar by: the exclusions that its annotation asks for and its MeshPolicy allows, and the UDP that is approved.

It is settled when the pod is created, by the MeshPolicy of that moment, and stands in the arguments of the interception.

Trust: the annotation comes from whoever may create a pod. It can only take what the policy lists, each value for itself. Attacked by
tests/injector/test_exclude.py.
"""

import ipaddress
from collections.abc import Iterator

from sidecar.model.address import IpNetwork
from sidecar.model.errors import ConfigError
from sidecar.model.passage import Passage

from .cluster.objects import INTERCEPTION, Json, Pod, texts
from .compile.mesh import MeshSettings
from .documents import EXCLUDE, Exclusions
from .validate import Invalid, Problem, read_exclude


def passage(annotations: Json, mesh: MeshSettings) -> Passage:
    """Raises Invalid where the policy does not allow all that the annotation asks for."""
    if problems := tuple(exclusion_problems(annotations, mesh)):
        raise Invalid(problems)
    asked = _asked(annotations)
    return Passage(
        datagrams=tuple((ipaddress.ip_network(one.cidr), port) for one in mesh.udp for port in one.ports),
        inbound_ports=asked.inbound_ports,
        outbound_ports=asked.outbound_ports,
        outbound_networks=tuple(map(ipaddress.ip_network, asked.outbound_cidrs)),
    )


def exclusion_problems(annotations: Json, mesh: MeshSettings) -> Iterator[Problem]:
    """The values of the annotation that the MeshPolicy does not allow."""
    asked, allowed = _asked(annotations), mesh.exclusions
    ranges = [ipaddress.ip_network(text) for text in allowed.outbound_cidrs]
    for field, wanted, listed in (
        ("inboundPorts", asked.inbound_ports, allowed.inbound_ports),
        ("outboundPorts", asked.outbound_ports, allowed.outbound_ports),
        ("outboundCidrs", asked.outbound_cidrs, [text for text in asked.outbound_cidrs if _is_within(text, ranges)]),
    ):
        for value in wanted:
            if value not in listed:
                yield Problem(EXCLUDE, f"{field}: no MeshPolicy that selects the pod lets {value} be excluded; remove it, or have "
                                       f"the platform team list it in `exclusions.{field}`")


def passing(pod: Pod) -> list[str]:
    """In words, what passes the sidecar of an injected pod by."""
    found = [container for container in pod.init_containers if container.get("name") == INTERCEPTION]
    try:
        return [words for container in found for words in Passage.of(texts(container.get("args"), "args")).words]
    except ConfigError as exc:
        return [f"Whatever `{exc}` means, of an interception that is none of ours,"]


def _asked(annotations: Json) -> Exclusions:
    """As far as it is valid; what is not is refused by `annotation_problems`."""
    text = annotations.get(EXCLUDE)
    entries = read_exclude(text).entries if isinstance(text, str) else {}
    return Exclusions(**{
        field: value for entry in entries.values() for field in Exclusions.__struct_fields__ if (value := getattr(entry, field))
    })


def _is_within(text: str, ranges: list[IpNetwork]) -> bool:
    asked = ipaddress.ip_network(text)
    return any(asked.version == one.version and asked.subnet_of(one) for one in ranges)  # type: ignore[arg-type]
