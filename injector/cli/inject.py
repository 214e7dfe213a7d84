"""`bartizan inject -f FILE`: manifests as the webhook would patch them, on standard output.

Who runs it wants the injection, so the namespace's label is not asked. What admission would refuse is refused here, too; the
MeshPolicies are those of the file.
"""

import argparse
import copy
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml  # noqa: TID251 -- the one writer of YAML

from injector.cluster import Cluster
from injector.cluster.objects import TEMPLATES, Object, Pod
from injector.compile.mesh import mesh_settings
from injector.decide import Refuse, Skip, decide
from injector.documents import INJECTION, MeshPolicySpec
from injector.exclude import exclusion_problems
from injector.patch import patch_pod
from injector.review import user_problems
from injector.settings import Settings
from injector.validate import Invalid, Problem
from injector.yaml_text import YamlError
from sidecar.model.errors import ConfigError
from sidecar.model.value import from_json

from .manifests import Manifest, manifests_in, read_documents


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan inject", description="Print manifests as the webhook would patch them.")
    parser.add_argument("-f", dest="file", required=True, metavar="FILE", help="YAML or JSON; - is standard input")
    parser.add_argument("--settings", metavar="FILE", help="JSON: image, issuerUrl, streamUrl, roots, bypass; see injector/settings.py")
    args = parser.parse_args(argv)
    settings = read_settings(args.settings) if args.settings else Settings()
    try:
        manifests = [manifest for document in read_documents(args.file) for manifest in manifests_in(args.file, document)]
        policies = Cluster.of(manifest.data for manifest in manifests if manifest.data.get("kind") == "MeshPolicy").mesh_policies
        patched = [inject(manifest, settings, policies) for manifest in manifests]
    except YamlError as exc:
        raise ConfigError(args.file, str(exc)) from exc
    yaml.safe_dump_all(patched, sys.stdout, sort_keys=False, allow_unicode=True, explicit_start=True)
    return 0


def read_settings(path: str) -> Settings:
    """The settings in a file. Raises ConfigError."""
    try:
        return from_json(Path(path).read_bytes(), Settings)
    except OSError as exc:
        raise ConfigError(path, f"cannot be read: {exc.strerror}") from exc
    except ConfigError as exc:
        raise ConfigError(path, str(exc)) from exc


def inject(manifest: Manifest, settings: Settings, policies: Mapping[str, MeshPolicySpec]) -> dict[str, Any]:
    """The object with our parts in its pod, or in its template; any other object as it is. Raises ConfigError.

    Args:
        policies: MeshPolicies, by name.
    """
    one = Object(manifest.data)
    if one.kind not in ("Pod", *TEMPLATES):
        return manifest.data
    where = f"{manifest.file}:{manifest.line('')}: {manifest.name}"
    namespace = one.namespace or "default"
    template = one.template or Pod(one.data)
    problems = [*user_problems(one), *(user_problems(template) if one.template is not None else ())]
    mesh = replace(mesh_settings(policies, namespace, template.labels), opt_out=True)
    decision = decide(template, namespace, {INJECTION: "enabled"}, mesh=mesh, settings=settings)
    if isinstance(decision, Refuse):
        problems += [Problem("pod", reason) for reason in decision.reasons]
    if not isinstance(decision, Skip):
        problems += exclusion_problems(template.annotations, mesh)
    if problems:
        raise ConfigError(where, str(Invalid(problems)))
    if isinstance(decision, Skip):
        return manifest.data
    try:
        patched = patch_pod(template.data, namespace, settings, mesh).value
    except Invalid as exc:
        raise ConfigError(where, str(exc)) from exc
    path = TEMPLATES.get(one.kind)
    return _replaced(manifest.data, path, patched) if path else patched


def _replaced(data: dict[str, Any], path: tuple[str, ...], value: dict[str, Any]) -> dict[str, Any]:
    copied = copy.deepcopy(data)
    found = copied
    for step in path[:-1]:
        found = found[step]
    found[path[-1]] = value
    return copied
