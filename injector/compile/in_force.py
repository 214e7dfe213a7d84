"""Of each rule that a workload declares: whether it is in force, or its former version is, or nothing of it.

Pure but for the memory of last good entries that it is handed; by the functions that the compiler leaves out with.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from injector.cluster import Cluster
from injector.cluster.objects import Pod
from injector.documents import EGRESS, ENDPOINTS, PORTS, ROUTES, EgressRequest, RangeRequest
from injector.validate import Reading, read_egress, read_endpoints, read_ports, read_routes
from sidecar.model.value import Value

from .declared import annotations_of, declared
from .egress import Asker, unapproved
from .last_good import LastGood

Standing = Literal["in force", "kept", "refused"]


class Rule(Value, frozen=True):
    """
    Args:
        annotation: that it stands in.
        name: of a route; host or range of an egress entry; a port; a field of `endpoints`; empty: the whole annotation.
        standing: `kept`: it is broken, and its former version is in force. `refused`: nothing of it is.
        why: where it is not in force as it is written.
    """

    annotation: str
    name: str
    standing: Standing
    why: str = ""


def rules_of(pod: Pod, cluster: Cluster, last_good: LastGood) -> tuple[Rule, ...]:
    """In the order of the annotations' entries; those that are broken behind the others."""
    said = declared(pod, cluster, last_good)
    asker = Asker.of(pod, pod.namespace, cluster)
    readers: tuple[tuple[str, Callable[[str], Reading[Any]], Mapping[str, Any]], ...] = (
        (ROUTES, read_routes, said.routes or {}),
        (EGRESS, read_egress, said.egress),
        (PORTS, read_ports, {str(port): protocol for port, protocol in said.ports.items()}),
        (ENDPOINTS, read_endpoints, msgspec.to_builtins(said.endpoints)),
    )
    found: list[Rule] = []
    annotations = annotations_of(pod, cluster)
    for annotation, read, in_force in readers:
        text = annotations.get(annotation)
        if not isinstance(text, str):
            continue
        reading = read(text)
        why = "; ".join(map(str, reading.problems))
        lacking = {_name(one): problem.text for one in said.egress.values() if annotation == EGRESS
                   for problem in unapproved([one], asker, cluster.egress_policies)}
        for name in {**reading.entries, **in_force}:
            if name in lacking:
                found.append(Rule(annotation, name, "refused", lacking[name]))
            elif name in reading.entries:
                found.append(Rule(annotation, name, "in force"))
            else:
                found.append(Rule(annotation, name, "kept", why))
        if reading.broken is None and not in_force:
            found.append(Rule(annotation, "", "refused", why))
        found += [Rule(annotation, name, "refused", why) for name in sorted((reading.broken or frozenset()) - in_force.keys())]
    return tuple(found)


def _name(request: EgressRequest) -> str:
    return request.cidr if isinstance(request, RangeRequest) else request.host
