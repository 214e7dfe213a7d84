"""What only a cluster shows: pods that were there before the mesh, Services that lead nowhere, policies and routes that mean nobody."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from injector import documents
from injector.bare import bare
from injector.cluster import Cluster
from injector.cluster.objects import TEMPLATES, Object, Pod, at, objects, selects
from injector.compile.egress import Asker
from injector.documents import Caller
from injector.findings import Finding
from injector.settings import GATEWAY, SYSTEM, Settings
from injector.validate import USER_ANNOTATIONS, read_routes
from sidecar.policy.pattern import name_holds

from .found import Found, Level
from .judge import suppressed
from .terminal import listed

MOST_NAMES = 5      # in one finding


def judge_cluster(cluster: Cluster, *, is_whole: bool) -> Iterator[Found]:
    """
    Args:
        is_whole: all namespaces are there: who is not, is nowhere.
    """
    makers = sorted([*cluster.workloads.values(), *cluster.pods.values()], key=lambda one: (one.namespace, one.kind, one.name))
    makers = [one for one in makers if one.owner is None or one.owner[0] not in TEMPLATES]
    yield from _namespaces(makers, cluster)
    for (_, _), pod in sorted(cluster.pods.items()):
        yield from _bare(pod, cluster)
    for _, service in sorted(cluster.services.items()):
        yield from _service(service, makers, cluster)
    if is_whole:
        yield from _policies(makers, cluster)
        for one in makers:
            yield from _routes(one, makers, cluster)


def _about(one: Object, finding: Finding, level: Level, text: str) -> Iterator[Found]:
    hidden = suppressed(one)
    if "*" not in hidden and finding.code not in hidden:
        name = f"{one.name}.{one.namespace}" if one.namespace and one.kind != "Namespace" else one.name
        yield Found(finding, level, text, f"{one.kind} {name}")


def _is_meshed(namespace: str, cluster: Cluster) -> bool:
    return cluster.namespace_labels(namespace).get(documents.INJECTION) == "enabled"


def _namespaces(makers: Iterable[Object], cluster: Cluster) -> Iterator[Found]:
    asking: dict[str, list[str]] = defaultdict(list)
    for one in makers:
        names = {*one.annotations, *one.pod.annotations} & {*USER_ANNOTATIONS, documents.WORKLOAD_API}
        if names or one.pod.labels.get(documents.INJECTION) == "enabled":
            asking[one.namespace].append(f"{one.kind} {one.name}")
    for name, who in sorted(asking.items()):
        namespace = cluster.namespaces.get(name)
        if namespace is not None and not _is_meshed(name, cluster):
            text = (f"it is not in the mesh, and {listed(who, MOST_NAMES)} {'asks' if len(who) == 1 else 'ask'} for something of it; "
                    f"kubectl label namespace {name} {documents.INJECTION}=enabled")
            yield from _about(namespace, Finding.NOT_INJECTED, "Warning", text)


def _bare(pod: Pod, cluster: Cluster) -> Iterator[Found]:
    found = bare(pod, cluster, Settings())
    if found is not None:
        text = f"it has no sidecar: {found.reason}" + (f"; {found.cure}" if found.cure else "")
        yield from _about(pod, Finding.NO_SIDECAR, "Info" if found.is_meant else "Error", text)


def _service(service: Object, makers: Iterable[Object], cluster: Cluster) -> Iterator[Found]:
    selector = at(service.data, "spec", "selector")
    if not selector or not _is_meshed(service.namespace, cluster):
        return
    chosen = [one.pod for one in makers if one.namespace == service.namespace and selects(selector, one.pod.labels)]
    if not chosen:
        yield from _about(service, Finding.SELECTS_NOBODY, "Warning", "it selects no pod, and no workload that would make one")
        return
    for port in objects(service.spec.get("ports"), "spec.ports"):
        target = port.get("targetPort", port.get("port"))
        if isinstance(target, str) and port.get("protocol", "TCP") == "TCP" and all(pod.port(target) is None for pod in chosen):
            known = sorted({name for pod in chosen for name in _port_names(pod)})
            text = f'port {port.get("port")}: no pod that it selects has a port "{target}" (named there: {", ".join(known) or "none"})'
            yield from _about(service, Finding.NO_SUCH_PORT, "Error", text)


def _port_names(pod: Pod) -> Iterator[str]:
    for container in (*pod.containers, *pod.init_containers):
        for port in objects(container.get("ports"), "ports"):
            if port.get("name"):
                yield f"{port['name']} {port.get('containerPort')}"


def _policies(makers: list[Object], cluster: Cluster) -> Iterator[Found]:
    askers = {(one.namespace, one.pod.service_account): Asker.of(one.pod, one.namespace, cluster) for one in makers}
    for name, policy in cluster.egress_policies.items():
        for i, subject in enumerate(policy.subjects):
            if not any(asker.is_meant_by(subject) for asker in askers.values()):
                whom = subject.namespace or "a namespaceSelector"
                accounts = f", service accounts {', '.join(subject.service_accounts)}" if subject.service_accounts else ""
                text = f"spec.subjects[{i}] ({whom}{accounts}) means no workload that is there"
                yield Found(Finding.SELECTS_NOBODY, "Warning", text, f"EgressPolicy {name}")
    for name, mesh in cluster.mesh_policies.items():
        chosen = (one for one in makers
                  if (not mesh.selector.namespaces or one.namespace in mesh.selector.namespaces)
                  and selects(mesh.selector.match_labels, one.pod.labels))
        if next(chosen, None) is None:
            yield Found(Finding.SELECTS_NOBODY, "Warning", "spec.selector means no workload that is there", f"MeshPolicy {name}")


def _routes(one: Object, makers: list[Object], cluster: Cluster) -> Iterator[Found]:
    """Accounts of meshed namespaces, whether their pods run or are still to be made."""
    written = one.annotations.get(documents.ROUTES, one.pod.annotations.get(documents.ROUTES))
    if not isinstance(written, str) or not _is_meshed(one.namespace, cluster):
        return
    accounts = {(maker.namespace, maker.pod.service_account) for maker in makers}
    there = {one for one in accounts if _is_meshed(one[0], cluster) or one == (SYSTEM, GATEWAY)}
    for rule in read_routes(written).entries.values():
        if not any(may(caller, one.namespace, there) for caller in rule.allow):
            named = ", ".join(_named(caller, one.namespace) for caller in rule.allow)
            why = f"none of {named} is a workload of the mesh" if named else "`allow` is empty"
            yield from _about(one, Finding.NOBODY_MAY, "Warning", f'{documents.ROUTES}: nobody may use the route "{rule.name}": {why}')


def may(caller: Caller, namespace: str, there: Iterable[tuple[str, str]]) -> bool:
    """Whether anybody who is there could be meant; plaintext callers and whole SPIFFE IDs may be of elsewhere."""
    if caller.source is not None or caller.identity is not None:
        return True
    own = namespace if caller.service_account is not None else "*"
    return any(name_holds(caller.namespace or own, of) and name_holds(caller.service_account or "*", account) for of, account in there)


def _named(caller: Caller, namespace: str) -> str:
    return f"{caller.service_account or '*'}.{caller.namespace or (namespace if caller.service_account else '*')}"
