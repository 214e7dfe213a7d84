"""What the MeshPolicies allow of a new pod, and the mesh's roots, as text that CEL can judge by: the data of a ConfigMap.

A ValidatingAdmissionPolicy cannot look a MeshPolicy up. So the leader writes down what `injector/manifests/backstop.py` has to know:
under each key a line for each policy that says something of it, the most specific first; the first line that selects the pod counts.

    NAMESPACE,NAMESPACE <tab> LABEL=VALUE,LABEL=VALUE <tab> what is allowed, with commas between

A selector that no pod can answer to, since no label or namespace is spelt like that, has no line.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from sidecar.model.passage import Passage

from .compile.mesh import by_specificity
from .documents import REVISION, DatagramRange, Exclusions, MeshPolicySpec, WorkloadSelector
from .settings import INJECTOR, SYSTEM

OPT_OUTS = "bartizan-opt-outs"
OPT_OUT, UDP, EXCLUSIONS, ROOTS = "optOut", "udp", "exclusions", "roots"     # keys

_PLAIN = re.compile(r"[A-Za-z0-9._/-]*", re.ASCII)


def opt_outs(policies: Mapping[str, MeshPolicySpec], roots: str) -> dict[str, str]:
    """
    Args:
        policies: by name.
        roots: PEM; what pods may be told to trust.
    """
    lines: dict[str, list[str]] = {OPT_OUT: [], UDP: [], EXCLUSIONS: []}
    for policy in by_specificity(policies):
        selected = _selector(policy.selector)
        for key, allowed in (
            (OPT_OUT, None if policy.opt_out is None else str(policy.opt_out).lower()),
            (UDP, None if policy.udp is None else _options(udp=policy.udp)),
            (EXCLUSIONS, None if policy.exclusions is None else _options(exclusions=policy.exclusions)),
        ):
            if selected is not None and allowed is not None:
                lines[key].append(f"{selected}\t{allowed}\n")
    return {**{key: "".join(found) for key, found in lines.items()}, ROOTS: roots}


def config_map(policies: Mapping[str, MeshPolicySpec], roots: str, revision: str = "") -> tuple[str, dict[str, Any]]:
    """(path, object) to apply."""
    name = opt_outs_of(revision)
    labels = {"app.kubernetes.io/part-of": "bartizan", "app.kubernetes.io/name": INJECTOR, REVISION: revision}
    return f"/api/v1/namespaces/{SYSTEM}/configmaps/{name}", {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": SYSTEM, "name": name, "labels": labels},
        "data": opt_outs(policies, roots),
    }


def opt_outs_of(revision: str) -> str:
    """The name of the ConfigMap."""
    return f"{OPT_OUTS}-{revision}" if revision else OPT_OUTS


def _selector(selector: WorkloadSelector) -> str | None:
    labels = [f"{name}={value}" for name, value in sorted(selector.match_labels.items())]
    words = (*selector.namespaces, *selector.match_labels, *selector.match_labels.values())
    if not all(_PLAIN.fullmatch(word) for word in words):
        return None
    return f"{','.join(selector.namespaces)}\t{','.join(labels)}"


def _options(udp: tuple[DatagramRange, ...] = (), exclusions: Exclusions | None = None) -> str:
    """Options of `bartizan intercept`, as they stand in its arguments."""
    allowed = exclusions or Exclusions()
    words = Passage(
        datagrams=tuple((ipaddress.ip_network(one.cidr), port) for one in udp for port in one.ports),
        inbound_ports=allowed.inbound_ports, outbound_ports=allowed.outbound_ports,
        outbound_networks=tuple(map(ipaddress.ip_network, allowed.outbound_cidrs)),
    ).arguments
    return ",".join(f"{option} {value}" for option, value in zip(words[::2], words[1::2], strict=True))
