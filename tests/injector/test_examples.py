"""The examples of examples/routes/ are what admission accepts, what the compiler understands, and all that there is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from injector import documents
from injector.cli.analyze import analyze
from injector.cli.manifests import manifests_in, read_documents
from injector.cluster import Cluster
from injector.cluster.objects import Object
from injector.compile import compile_workload
from injector.compile.last_good import LastGood
from injector.documents import EndpointsRule, MeshPolicySpec, RouteRule, TokenIssuer
from injector.jwks import fetched_issuers
from injector.validate import PROTOCOLS
from injector.yaml_text import read_yaml
from sidecar.model.snapshot import parse_snapshot, render_snapshot

FOLDER = Path(__file__).parents[2] / "examples" / "routes"
FILES = sorted(FOLDER.glob("*.yaml"))
README = (FOLDER / "README.md").read_text()
WORDS = {word for code in re.findall("`([^`]+)`", README) for word in re.findall("[A-Za-z0-9]+", code)}
KEYS = '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
named = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


def _manifests(file: Path) -> list[dict[str, Any]]:
    return [manifest.data for document in read_documents(str(file)) for manifest in manifests_in(str(file), document)]


def _annotations(name: str) -> list[Any]:
    """What every example says under one annotation."""
    found = [Object(data).annotations.get(name) for file in FILES for data in _manifests(file)]
    return [read_yaml(text).data for text in found if text is not None]


@named
def test_admission_accepts_it(file: Path) -> None:
    assert analyze([str(file)]) == []


@named
def test_it_compiles_without_a_remark(file: Path) -> None:
    objects = _manifests(file)
    for deployment in [Object(data) for data in objects if data["kind"] == "Deployment"]:
        assert deployment.template is not None
        pod = {
            "kind": "Pod",
            "metadata": {**deployment.template.metadata, "name": "orders-1", "namespace": "shop", "uid": "u",
                         "ownerReferences": [{"kind": "Deployment", "name": deployment.name, "controller": True}]},
            "spec": {**deployment.template.spec, "initContainers": [{"name": "bartizan-sidecar"}]},
            "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]},
        }
        cluster = Cluster.of([*objects, pod])
        compiled = compile_workload(cluster, "u", "example.org", LastGood(), dict.fromkeys(fetched_issuers(cluster), KEYS))
        assert compiled is not None
        assert compiled.problems == ()
        assert parse_snapshot(render_snapshot(compiled.snapshot)) == compiled.snapshot


# -- every field is shown


def _fields(kind: msgspec.inspect.Type) -> Iterator[tuple[str, str]]:
    """(struct, field) of all that a value of this type can hold."""
    for one in _parts(kind):
        if isinstance(one, msgspec.inspect.StructType):
            for field in one.fields:
                yield one.cls.__name__, field.encode_name
                yield from _fields(field.type)
        elif isinstance(one, msgspec.inspect.VarTupleType):
            yield from _fields(one.item_type)


def _shown(kind: msgspec.inspect.Type, data: Any) -> Iterator[tuple[str, str]]:
    """(struct, field) of what `data` does hold."""
    for one in _parts(kind):
        if isinstance(one, msgspec.inspect.StructType) and isinstance(data, dict):
            for field in one.fields:
                if field.encode_name in data:
                    yield one.cls.__name__, field.encode_name
                    yield from _shown(field.type, data[field.encode_name])
        elif isinstance(one, msgspec.inspect.VarTupleType) and isinstance(data, list):
            for item in data:
                yield from _shown(one.item_type, item)


def _parts(kind: msgspec.inspect.Type) -> tuple[msgspec.inspect.Type, ...]:
    kind = kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind
    return kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)


@pytest.mark.parametrize(("annotation", "document"), [
    (documents.ROUTES, tuple[RouteRule, ...]), (documents.ENDPOINTS, EndpointsRule),
])
def test_every_field_of_an_annotation_is_shown_and_explained(annotation: str, document: Any) -> None:
    kind = msgspec.inspect.type_info(document)
    there, shown = set(_fields(kind)), {field for data in _annotations(annotation) for field in _shown(kind, data)}
    assert len(there) > 15
    assert there - shown == set()
    assert {field for _, field in there} - WORDS == set()


def test_every_new_field_of_a_mesh_policy_is_shown() -> None:
    policies = [data["spec"] for file in FILES for data in _manifests(file) if data["kind"] == "MeshPolicy"]
    shown = {field for spec in policies for field in _shown(msgspec.inspect.type_info(MeshPolicySpec), spec)}
    assert {("MeshPolicySpec", "acceptHttp10"), *_fields(msgspec.inspect.type_info(TokenIssuer))} <= shown


def test_every_protocol_is_shown() -> None:
    assert {protocol for data in _annotations(documents.PORTS) for protocol in data.values()} == set(PROTOCOLS)


@named
def test_the_table_names_every_file(file: Path) -> None:
    assert f"`{file.name}`" in README or (file.name.startswith("endpoints-") and "`endpoints*.yaml`" in README)
