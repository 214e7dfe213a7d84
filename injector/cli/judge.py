"""What is wrong with one object, by the very functions of admission, as far as the objects beside it can tell.

Of egress entries once there is an EgressPolicy, of token issuers once there is a MeshPolicy, of Services that a rule names once there are
any in its namespace, of pods once that is labelled. What admission would let pass is a warning.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from injector import documents
from injector.cluster import Cluster
from injector.cluster.objects import TEMPLATES, Object, Pod
from injector.compile.egress import Asker
from injector.compile.inbound import unknown_issuers
from injector.compile.mesh import mesh_settings
from injector.compile.network_policy import KIND
from injector.compile.routes import missing_services
from injector.compile.services import service_ports
from injector.decide import Inject, Refuse, decide
from injector.documents import EgressPolicySpec, MeshPolicySpec, Mtls
from injector.edge_review import KINDS as EDGE_KINDS
from injector.edge_review import can_be_told, mistakes, not_in_force
from injector.exclude import exclusion_problems, passage
from injector.findings import Finding
from injector.hardening import left_open
from injector.hints import nearest
from injector.patch import patch_pod
from injector.review import SETTLED, coverage_problems
from injector.settings import Settings
from injector.validate import Invalid, Problem, annotation_problems, name_problems, read_policy, read_routes
from sidecar.model.errors import ConfigError

from .found import Found, Level
from .judge_network import cni_finding, network_findings
from .manifests import Manifest

POLICIES = ("EgressPolicy", "MeshPolicy")


def judge(manifests: list[Manifest], cluster: Cluster, now: float) -> Iterator[Found]:
    """In the order of the objects.

    Args:
        cluster: these and whatever else counts.
        now: Unix seconds.
    """
    for manifest in manifests:
        try:
            found = list(dict.fromkeys(_findings(manifest, cluster, now)))
        except ConfigError as exc:
            found = [found_at(Finding.INVALID, manifest, exc.where, str(exc))]
        hidden = suppressed(Object(manifest.data))
        yield from (one for one in found if "*" not in hidden and one.finding.code not in hidden)
    if any(manifest.data.get("kind") == KIND for manifest in manifests):
        policies = (one for _, one in sorted(cluster.of_kind(KIND).items()))
        loud = [one for one in policies if not {"*", Finding.CNI_BESIDES.code} & suppressed(one)]
        for finding, level, _, text in cni_finding(loud, cluster):
            yield Found(finding, level, text)


def suppressed(one: Object) -> frozenset[str]:
    """Codes that the object's annotation wants to hear nothing of; `*`: of none."""
    try:
        text = one.annotations.get(documents.ANALYZE_SUPPRESS)
    except ConfigError:
        return frozenset()
    return frozenset(text.replace(",", " ").split()) if isinstance(text, str) else frozenset()


def with_namespace(data: Mapping[str, Any]) -> dict[str, Any]:
    """As kubectl would apply it: without a namespace it is `default`."""
    one = Object(data)
    return {**data, "metadata": {**one.metadata, "namespace": one.namespace or "default"}}


def found_at(finding: Finding, manifest: Manifest, path: str, text: str, level: Level = "Error") -> Found:
    return Found(finding, level, text, manifest.name, manifest.file, manifest.line(path))


def _findings(manifest: Manifest, cluster: Cluster, now: float) -> Iterator[Found]:
    one = Object(manifest.data)
    if one.kind in POLICIES:
        yield from _of_policy(manifest, now)
        return
    if str(manifest.data.get("apiVersion")).startswith("bartizan.dev/"):
        text = f'bartizan.dev has no kind "{one.kind[:100]}"{nearest(one.kind, POLICIES)}'
        yield found_at(Finding.INVALID, manifest, "kind", text)
        return
    if one.kind == KIND:
        for finding, level, path, text in network_findings(Object(with_namespace(manifest.data)), cluster):
            yield found_at(finding, manifest, path, text, level)
    for path, holder in ("", one), *_template(one):
        for problem in name_problems(holder.annotations, holder.labels):
            where = "annotations" if problem.source in holder.annotations else "labels"
            yield found_at(Finding.UNKNOWN_NAME, manifest, f"{path}metadata.{where}.{problem.source}", str(problem))
        if one.kind in ("Pod", *TEMPLATES):
            for finding, problem in _annotations(holder, one.pod, one.namespace or "default", cluster):
                line = _annotation_line(manifest, path, holder, problem)
                yield Found(finding, "Error", str(problem), manifest.name, manifest.file, line)
    if one.kind in EDGE_KINDS:
        yield from _of_edge(manifest, cluster)
    for where, text in misplaced(one):
        yield found_at(Finding.MISPLACED, manifest, where, text, "Warning")
    if one.kind in ("Pod", *TEMPLATES):
        for finding, text in _of_admission(one.pod, one.namespace or "default", cluster):
            where = _template_path(one) + "spec"
            yield found_at(finding, manifest, where, text, "Error" if finding == Finding.POD_REFUSED else "Warning")


def _of_edge(manifest: Manifest, cluster: Cluster) -> Iterator[Found]:
    """As the cluster has it, in which the default class is filled in."""
    own = Object(with_namespace(manifest.data))
    one = cluster.of_kind(own.kind).get((own.namespace, own.name), own)
    for problem in mistakes(one, cluster):
        if problem.source == documents.EDGE:
            line = _annotation_line(manifest, "", own, problem)
            yield Found(Finding.INVALID, "Error", str(problem), manifest.name, manifest.file, line)
        else:
            yield found_at(Finding.INVALID, manifest, problem.path, problem.text)
    for text in filter(lambda text: can_be_told(text, own.namespace, cluster), not_in_force(one, cluster)):
        path = text.partition(": ")[0]
        yield found_at(Finding.EDGE_WAITS, manifest, path if path.startswith(("spec.", "metadata.")) else "", text, "Warning")


def _of_policy(manifest: Manifest, now: float) -> Iterator[Found]:
    try:
        policy = read_policy(manifest.data)
    except Invalid as exc:
        for problem in exc.problems:
            yield found_at(Finding.INVALID, manifest, problem.path, problem.text)
        return
    if isinstance(policy, MeshPolicySpec) and policy.mtls is not None:
        for where, text in ended(policy.mtls, now):
            yield found_at(Finding.PERMISSIVE_OVER, manifest, f"spec.mtls.{where}", text)
    for where, text in leaves_that_ended(policy, now):
        yield found_at(Finding.LEAVE_OVER, manifest, f"spec.{where}", text)


def misplaced(one: Object) -> Iterator[tuple[str, str]]:
    """(path, text) for each name of ours that is valid and that nobody reads where it stands."""
    if documents.EDGE in one.annotations and (one.kind == "Pod" or one.kind in TEMPLATES):
        yield (f"metadata.annotations.{documents.EDGE}",
               f"{documents.EDGE}: nobody reads it on a {one.kind}; write it on the Ingress or HTTPRoute that leads there")
    if one.kind == "Pod":
        return
    if one.kind not in TEMPLATES:
        for name in one.annotations:
            if name in documents.ANNOTATIONS and name != documents.ANALYZE_SUPPRESS and not (
                name == documents.EDGE and one.kind in EDGE_KINDS
            ):
                text = f"{name}: nobody reads it on a {one.kind}; write it on the pods that it is about, or on the workload that owns them"
                yield f"metadata.annotations.{name}", text
        if documents.INJECTION in one.labels and one.kind != "Namespace":
            yield (f"metadata.labels.{documents.INJECTION}",
                   f"{documents.INJECTION}: nobody reads it on a {one.kind}; label the namespace, or the pods")
        return
    for name in SETTLED:
        if name in one.annotations:
            yield f"metadata.annotations.{name}", f"{name}: it is read from pods; write it into the template's metadata"
    if documents.INJECTION in one.labels:
        yield (f"metadata.labels.{documents.INJECTION}",
               f"{documents.INJECTION}: on a {one.kind} it means nothing; write it into the template's metadata")


def ended(mtls: Mtls, now: float) -> Iterator[tuple[str, str]]:
    """(field below `mtls`, text) for each permissive mode whose time is over.

    Args:
        now: Unix seconds.
    """
    for port, mode in (("", mtls), *mtls.ports.items()):
        if mode.until is not None and mode.until.timestamp() <= now:
            whole = f"port {port}" if port else "every port that is not listed"
            yield f"ports.{port}.until" if port else "until", f"permissive ended {mode.until.isoformat()}: {whole} is strict"


def leaves_that_ended(policy: EgressPolicySpec | MeshPolicySpec, now: float) -> Iterator[tuple[str, str]]:
    """(field below `spec`, text) for each waiver and observation whose time is over.

    Args:
        now: Unix seconds.
    """
    if isinstance(policy, MeshPolicySpec):
        if policy.egress is not None and policy.egress.until is not None and policy.egress.until.timestamp() <= now:
            yield "egress.until", f"observe ended {policy.egress.until.isoformat()}: what no EgressPolicy approves is refused"
        return
    for i, host in enumerate(policy.hosts):
        for j, waiver in enumerate(host.waivers):
            if waiver.until.timestamp() <= now:
                text = f"the waiver of {waiver.check} for {host.host} ended {waiver.until.isoformat()}: the check holds again"
                yield f"hosts[{i}].waivers[{j}].until", text


def _annotations(holder: Object, pod: Pod, namespace: str, cluster: Cluster) -> Iterator[tuple[Finding, Problem]]:
    for problem in annotation_problems(holder.annotations):
        yield Finding.INVALID, problem
    if cluster.egress_policies:
        for problem in coverage_problems(holder, Asker.of(pod, namespace, cluster), cluster):
            yield Finding.NOT_APPROVED, problem
    routes = holder.annotations.get(documents.ROUTES)
    rules = read_routes(routes).entries if isinstance(routes, str) else {}
    absent: list[str] = []
    if any(of == namespace for of, _ in cluster.services):
        absent += missing_services(rules, namespace, service_ports(cluster, namespace))
    if cluster.mesh_policies:
        mesh = mesh_settings(cluster.mesh_policies, namespace, pod.labels)
        absent += unknown_issuers(rules.values(), mesh.token_issuers)
        for problem in exclusion_problems(holder.annotations, mesh):
            yield Finding.EXCLUDED, problem
    for text in absent:
        yield Finding.ABSENT, Problem(documents.ROUTES, text)


def _of_admission(pod: Pod, namespace: str, cluster: Cluster) -> Iterator[tuple[Finding, str]]:
    """Why the pod would be refused, else what could pass its sidecar by, or does.

    Only where the namespace is known to be in the mesh; elsewhere such a pod is nobody's business.
    """
    labels = cluster.namespace_labels(namespace)
    if labels.get(documents.INJECTION) != "enabled":
        return
    mesh = mesh_settings(cluster.mesh_policies, namespace, pod.labels)
    decision = decide(pod, namespace, labels, mesh=mesh, settings=Settings())
    if isinstance(decision, Refuse):
        yield from ((Finding.POD_REFUSED, reason) for reason in decision.reasons)
    if not isinstance(decision, Inject):
        return
    bare = {**pod.data, "metadata": {**pod.metadata, "annotations": {}}}      # the annotations have been judged
    try:
        patched = Pod(patch_pod(bare, namespace, Settings(), mesh).value)
    except Invalid as exc:
        yield from ((Finding.POD_REFUSED, str(problem)) for problem in exc.problems)
        return
    yield from ((Finding.LEFT_OPEN, text) for text in left_open(patched))
    if not any(exclusion_problems(pod.annotations, mesh)):
        for text in passage(pod.annotations, mesh).words:
            yield Finding.EXCLUDED, f"{text} passes the sidecar by, as the MeshPolicy allows: nobody judges it and nobody writes it down"


def _template_path(one: Object) -> str:
    return "".join(f"{step}." for step in TEMPLATES.get(one.kind, ()))


def _template(one: Object) -> list[tuple[str, Object]]:
    return [(_template_path(one), one.template)] if one.template is not None else []


def _annotation_line(manifest: Manifest, path: str, holder: Object, problem: Problem) -> int:
    """Lines inside an annotation count from the line below its key, where it is a block; else it is all on the key's line."""
    line = manifest.line(f"{path}metadata.annotations.{problem.source}")
    is_block = "\n" in str(holder.annotations.get(problem.source, ""))
    return line + problem.line if is_block and problem.line else line
