"""`bartizan inject -f FILE`: manifests as the webhook would patch them, on standard output.

With the settings of the cluster's injector, or of a file. Who runs it wants the injection, so the namespace's label is not asked. What
admission would refuse is refused here, too; MeshPolicies are those of the cluster, and of the file. `bartizan uninject` is the way back.
"""

import argparse
import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from injector.cluster import Cluster, ref_of
from injector.cluster.objects import TEMPLATES, Object, at
from injector.compile.mesh import mesh_settings
from injector.decide import Refuse, Skip, decide
from injector.documents import INJECTION, MeshPolicySpec
from injector.exclude import exclusion_problems
from injector.patch import patch_pod
from injector.review import user_problems
from injector.settings import ROOTS, ROOTS_KEY, SYSTEM, Settings
from injector.validate import Invalid, Problem
from injector.yaml_out import write_yaml
from injector.yaml_text import YamlError
from sidecar.model.errors import ConfigError
from sidecar.model.value import convert, from_json

from .installed import config_of
from .kubectl import Kubectl, KubectlError, add_arguments
from .manifests import Manifest, manifests_in, read_documents

T = TypeVar("T")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan inject", description="Print manifests as the webhook would patch them.")
    parser.add_argument("-f", dest="files", action="append", required=True, metavar="FILE", help="YAML or JSON; - is standard input")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--config", metavar="FILE", help="the injector's config.json, instead of the cluster's")
    source.add_argument("--settings", metavar="FILE", help="JSON: image, issuerUrl, streamUrl, roots, bypass; see injector/settings.py")
    parser.add_argument("--revision", default="", metavar="NAME", help="of the control plane whose settings count")
    add_arguments(parser)
    args = parser.parse_args(argv)
    cluster = Cluster.of([])
    if args.settings:
        settings = read_settings(args.settings)
    elif args.config:
        settings = settings_of_file(args.config)
    else:
        settings, cluster = of_cluster(Kubectl.of(args), args.revision)
    manifests = read_all_of(args.files)
    policies = (manifest.data for manifest in manifests if manifest.data.get("kind") == "MeshPolicy")
    cluster = cluster.having({ref_of(Object(policy)): policy for policy in policies})
    write([inject(manifest, settings, cluster.mesh_policies) for manifest in manifests])
    return 0


def read_all_of(files: list[str]) -> list[Manifest]:
    """Raises ConfigError."""
    found: list[Manifest] = []
    for file in files:
        try:
            found += [manifest for document in read_documents(file) for manifest in manifests_in(file, document)]
        except YamlError as exc:
            raise ConfigError(file, str(exc)) from exc
    return found


def write(objects: list[dict[str, Any]]) -> None:
    print(write_yaml(objects), end="")


def read_settings(path: str) -> Settings:
    """The settings in a file. Raises ConfigError."""
    return _read(path, lambda data: from_json(data, Settings))


def settings_of_file(path: str) -> Settings:
    """Those of the injector that is started with this configuration. Raises ConfigError."""
    config = _read(path, lambda data: from_json(data, dict[str, Any]))
    roots = config.get("rootsFile")
    return _settings(config, _read(roots, bytes.decode) if isinstance(roots, str) else "")


def _settings(config: Mapping[str, Any], roots: str) -> Settings:
    """What an injector of any version says of them: its other fields are its own business. Raises ConfigError."""
    return convert({**{name: config[name] for name in Settings.__struct_encode_fields__ if name in config}, "roots": roots}, Settings)


def _read(path: str, read: Callable[[bytes], T]) -> T:
    try:
        return read(Path(path).read_bytes())
    except OSError as exc:
        raise ConfigError(path, f"cannot be read: {exc.strerror}") from exc
    except (ConfigError, UnicodeDecodeError) as exc:
        raise ConfigError(path, str(exc)) from exc


def of_cluster(kubectl: Kubectl, revision: str) -> tuple[Settings, Cluster]:
    """What its injector gives to new pods, and its MeshPolicies. Raises MeshError."""
    try:
        config = config_of(kubectl, revision)
        roots = at(kubectl.get("configmap", ROOTS, SYSTEM), "data").get(ROOTS_KEY)
        policies = Cluster.of(kubectl.list("meshpolicies.bartizan.dev"))
    except KubectlError as exc:
        raise KubectlError(f"{exc}; or give --config or --settings, and no cluster is asked") from exc
    return _settings(config, str(roots or "")), policies


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
    template = one.pod
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
    return with_template(manifest.data, path, patched) if path else patched


def with_template(data: dict[str, Any], path: tuple[str, ...], value: dict[str, Any]) -> dict[str, Any]:
    """A workload with another pod template."""
    copied = copy.deepcopy(data)
    found = copied
    for step in path[:-1]:
        found = found[step]
    found[path[-1]] = value
    return copied
