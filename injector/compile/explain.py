"""What the control plane knows of a question to a pod's sidecar: who asks there, what its annotation asks for, what approves it.

Pure. By the functions that admission and the compiler judge with, so that the words here are theirs.
"""

import difflib
import ipaddress
from collections.abc import Iterable, Mapping

from injector.cluster import Cluster
from injector.cluster.objects import Pod
from injector.documents import EGRESS, EgressRequest, HostPorts, HostRequest, RangeRequest
from injector.yaml_text import YamlError, read_yaml
from sidecar.model.address import canonical, is_address
from sidecar.model.errors import ConfigError
from sidecar.model.explanation import Question, Step, StepName, step
from sidecar.model.reason import Reason

from .egress import Asker, compile_egress, covering, unapproved


def find_pod(cluster: Cluster, name: str) -> Pod:
    """The pod that `NAMESPACE/POD` names; of a workload's name the first pod that runs. ConfigError with the nearest name."""
    namespace, slash, wanted = name.rpartition("/")
    namespace = namespace or "default"
    there = {pod.name: pod for (of, _), pod in sorted(cluster.pods.items()) if of == namespace}
    if wanted in there:
        return there[wanted]
    made: dict[str, Pod] = {}
    for pod in there.values():
        owner = cluster.workload_of(pod)
        if owner is not None and pod.addresses:
            made.setdefault(owner.name, pod)
    if wanted in made:
        return made[wanted]
    known = [*there, *made] or sorted({of for of, _ in cluster.pods})
    near = difflib.get_close_matches(wanted if there else namespace, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    what = "" if slash else "; say NAMESPACE/POD"
    raise ConfigError("pod", f"no pod or workload is called {wanted[:100]!r} in the namespace {namespace[:100]!r}{hint}{what}")


def pod_step(pod: Pod) -> Step:
    facts = {"service account": pod.service_account, "addresses": ", ".join(pod.addresses), "uid": pod.uid}
    name = f"{pod.namespace}/{pod.name}"
    if not pod.is_meshed:
        return step("pod", "refused", f"{name} has no sidecar: it reaches whatever the network lets it", facts=facts)
    if not pod.addresses:
        return step("pod", "failed", f"{name} does not run", facts=facts)
    how = "as an ingress gateway" if pod.is_ingress_gateway else "behind its sidecar"
    return step("pod", "ok", f"{name} runs as service account {pod.service_account}, {how}", facts=facts)


def asked_steps(
    pod: Pod, cluster: Cluster, requests: Mapping[str, EgressRequest], question: Question, *, is_service: bool, is_observed: bool
) -> tuple[Step, ...]:
    """What the annotation asks for, and which policy approves it or what that lacks.

    Args:
        requests: in force, by the host or the CIDR that names them.
        is_service: the question is about a Service of the mesh.
        is_observed: what nobody has asked for or approved is let through, and written down.
    """
    if is_service:
        return (
            step("request", "ok", "a Service of the mesh need not be asked for"), step("policy", "ok", "nor be approved by an EgressPolicy")
        )
    asker = Asker.of(pod, pod.namespace, cluster)
    selecting = [name for name, policy in cluster.egress_policies.items() if any(map(asker.is_meant_by, policy.subjects))]
    who = f"service account {asker.service_account} of namespace {asker.namespace}"
    facts = {"policies for this workload": ", ".join(selecting)}
    asking = _asking(requests.values(), question)
    would = asking or _would_ask(question)
    problems = unapproved([would], asker, cluster.egress_policies)
    no = _observed if is_observed else _refused
    if asking is None:
        request = no("request", f"{EGRESS} of the workload does not ask for {question.host}",
                     {"asked for": ", ".join(requests)})
    else:
        named = asking.host if isinstance(asking, HostRequest) else asking.cidr
        request = step("request", "ok", f"{EGRESS} asks for {named}", facts={"entry": _entry(pod, cluster, named)})
    if problems:
        return request, no("policy", "; ".join(problem.text for problem in problems), facts)
    if asking is not None and (without_gateway := compile_egress([asking], asker, cluster)[2]):
        return request, _refused("policy", "; ".join(without_gateway), facts, Reason.GATEWAY_UNREACHED)
    words = "an EgressPolicy approves it" if asking else "an EgressPolicy would approve it, once it is asked for,"
    return request, step("policy", "ok", f"{words} for {who}", facts=facts)


def _refused(name: StepName, words: str, facts: Mapping[str, object], reason: Reason = Reason.HOST_NOT_APPROVED) -> Step:
    return step(name, "refused", words, code=reason.code, facts=facts)


def _observed(name: StepName, words: str, facts: Mapping[str, object]) -> Step:
    return step(name, "unknown", f"{words}; it is let through all the same, and written down, while the workload is observed", facts=facts)


def _asking(requests: Iterable[EgressRequest], question: Question) -> EgressRequest | None:
    """The narrowest that is meant."""
    host = _host(question)
    if is_address(host):
        ip = canonical(host)
        found = [one for one in requests if isinstance(one, RangeRequest) and ip in ipaddress.ip_network(one.cidr)]
        return max(found, key=lambda one: ipaddress.ip_network(one.cidr).prefixlen, default=None)
    named = {one.host: one for one in requests if isinstance(one, HostRequest)}
    return next((named[name] for name in covering(host) if name in named), None)


def _would_ask(question: Question) -> EgressRequest:
    """What the annotation would say."""
    host = _host(question)
    if is_address(host):
        ip = canonical(host)
        return RangeRequest(f"{ip}/{ip.max_prefixlen}", (question.port,))
    if question.kind == "tcp":
        return HostRequest(host, ports=HostPorts((), (), (question.port,)), protocol="tcp")
    if question.kind == "tls" or (question.kind == "auto" and question.port == 443):
        return HostRequest(host, ports=HostPorts((), (question.port,)), protocol="tls")
    return HostRequest(host, ports=HostPorts((question.port,), ()))


def _host(question: Question) -> str:
    return question.host.lower().rstrip(".").strip("[]")


def _entry(pod: Pod, cluster: Cluster, named: str) -> str:
    """Where the entry stands: the workload's annotation counts before the pod's own."""
    owner = cluster.workload_of(pod)
    for holder in (owner, pod):
        text = holder.annotations.get(EGRESS) if holder is not None else None
        if holder is None or not isinstance(text, str):
            continue
        try:
            document = read_yaml(text)
        except YamlError:
            return ""
        for i, entry in enumerate(document.data if isinstance(document.data, list) else ()):
            if isinstance(entry, dict) and named in (entry.get("host"), entry.get("cidr")):
                line = f", in line {document.line(f'[{i}]')}" if "\n" in text.strip() else ""      # admission writes it anew, in one
                return f"{i + 1}{line} of the annotation on {holder.kind} {holder.name}"
        break
    return ""
