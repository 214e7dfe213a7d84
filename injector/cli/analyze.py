"""`bartizan analyze FILE...`: what admission would refuse, found without a cluster by the very functions that it uses.

What only other objects can tell is judged as far as they are among the files: egress entries once there is an EgressPolicy, token
issuers once there is a MeshPolicy, Services that a rule names once there are any in its namespace, pods once that is labelled.
"""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from injector import documents
from injector.cluster import Cluster
from injector.cluster.objects import TEMPLATES, Object, Pod
from injector.compile.egress import Asker
from injector.compile.inbound import unknown_issuers
from injector.compile.mesh import mesh_settings
from injector.compile.routes import missing_services
from injector.compile.services import service_ports
from injector.decide import Inject, Refuse, decide
from injector.documents import EgressPolicySpec, MeshPolicySpec, Mtls
from injector.exclude import exclusion_problems, passage
from injector.findings import Finding
from injector.hardening import left_open
from injector.hints import nearest
from injector.patch import patch_pod
from injector.review import coverage_problems
from injector.settings import Settings
from injector.validate import Invalid, Problem, annotation_problems, name_problems, read_policy, read_routes
from injector.yaml_text import YamlError
from sidecar.model.errors import ConfigError
from sidecar.net.clock import WallClock, wall_clock

from .manifests import Manifest, files_in, manifests_in, read_documents

EXIT_FINDINGS = 79


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan analyze", description="Find mistakes in manifests, without a cluster.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="YAML or JSON, or a folder; - is standard input")
    lines = analyze(parser.parse_args(argv).files)
    for line in lines:
        print(line)
    return EXIT_FINDINGS if any(line.startswith("Error") for line in lines) else 0


def analyze(files: list[str], wall: WallClock = wall_clock) -> list[str]:
    """One line for each finding, in the order of files and objects. What admission would let pass is a warning."""
    now = wall()
    lines: list[str] = []
    manifests: list[Manifest] = []
    for file in files_in(files):
        try:
            found = [manifest for document in read_documents(file) for manifest in manifests_in(file, document)]
        except YamlError as exc:
            lines.append(_line(Finding.UNREADABLE, file, exc.line, exc.problem))
        except ConfigError as exc:
            lines.append(_line(Finding.UNREADABLE, file, 1, exc.problem if exc.where == file else str(exc)))
        else:
            manifests += found
    readable = [manifest for manifest in manifests if _is_readable(manifest)]
    cluster = Cluster.of(_with_namespace(manifest.data) for manifest in readable)
    for manifest in manifests:
        try:
            lines += _findings(manifest, cluster, now)
        except ConfigError as exc:
            lines.append(_line(Finding.INVALID, manifest.file, manifest.line(exc.where), str(exc)))
    return list(dict.fromkeys(lines))


def _is_readable(manifest: Manifest) -> bool:
    try:
        Cluster.of([_with_namespace(manifest.data)])
    except ConfigError:
        return False
    return True


def _with_namespace(data: Mapping[str, Any]) -> dict[str, Any]:
    """As kubectl would apply it: without a namespace it is `default`."""
    one = Object(data)
    return {**data, "metadata": {**one.metadata, "namespace": one.namespace or "default"}}


def _line(finding: Finding, file: str, line: int, text: str, name: str = "", weight: str = "Error") -> str:
    where = f"{name} {file}:{line}" if name else f"{file}:{line}"
    return f"{weight} [{finding.code}] ({where}) {text}"


def _findings(manifest: Manifest, cluster: Cluster, now: float) -> Iterator[str]:
    one = Object(manifest.data)
    name = manifest.name
    if one.kind in ("EgressPolicy", "MeshPolicy"):
        try:
            policy = read_policy(manifest.data)
        except Invalid as exc:
            for problem in exc.problems:
                yield _line(Finding.INVALID, manifest.file, manifest.line(problem.path), problem.text, name)
            return
        if isinstance(policy, MeshPolicySpec) and policy.mtls is not None:
            for where, text in ended(policy.mtls, now):
                yield _line(Finding.PERMISSIVE_OVER, manifest.file, manifest.line(f"spec.mtls.{where}"), text, name)
        for where, text in leaves_that_ended(policy, now):
            yield _line(Finding.LEAVE_OVER, manifest.file, manifest.line(f"spec.{where}"), text, name)
        return
    if str(manifest.data.get("apiVersion")).startswith("bartizan.dev/"):
        text = f'bartizan.dev has no kind "{one.kind[:100]}"{nearest(one.kind, ("EgressPolicy", "MeshPolicy"))}'
        yield _line(Finding.INVALID, manifest.file, manifest.line("kind"), text, name)
        return
    for path, holder in ("", one), *_template(one):
        for problem in name_problems(holder.annotations, holder.labels):
            where = "annotations" if problem.source in holder.annotations else "labels"
            yield _line(Finding.UNKNOWN_NAME, manifest.file, manifest.line(f"{path}metadata.{where}.{problem.source}"), str(problem), name)
        if one.kind in ("Pod", *TEMPLATES):
            for finding, problem in _annotations(holder, _pod(one), one.namespace or "default", cluster):
                yield _line(finding, manifest.file, _annotation_line(manifest, path, holder, problem), str(problem), name)
    if one.kind in ("Pod", *TEMPLATES):
        line = manifest.line(_template_path(one) + "spec")
        for finding, text in _of_admission(_pod(one), one.namespace or "default", cluster):
            yield _line(finding, manifest.file, line, text, name, "Error" if finding == Finding.POD_REFUSED else "Warning")


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


def _pod(one: Object) -> Pod:
    return one.template or Pod(one.data)


def _template_path(one: Object) -> str:
    return "".join(f"{step}." for step in TEMPLATES.get(one.kind, ()))


def _template(one: Object) -> list[tuple[str, Object]]:
    return [(_template_path(one), one.template)] if one.template is not None else []


def _annotation_line(manifest: Manifest, path: str, holder: Object, problem: Problem) -> int:
    """Lines inside an annotation count from the line below its key, where it is a block; else it is all on the key's line."""
    line = manifest.line(f"{path}metadata.annotations.{problem.source}")
    is_block = "\n" in str(holder.annotations.get(problem.source, ""))
    return line + problem.line if is_block and problem.line else line
