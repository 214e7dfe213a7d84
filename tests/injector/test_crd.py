"""What a schema must be to be structural, by the API server's own list; tests/e2e/kubernetes/ asks a real one."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import re2

from injector.cli.schema import schema
from injector.crd import COLUMNS, FIELDS, MORE, definition, structural

DEFINITIONS = {kind: definition(kind, schema(kind.lower())) for kind in COLUMNS}
named = pytest.mark.parametrize("kind", DEFINITIONS)


def _schema(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = DEFINITIONS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def _nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, field in node.get("properties", {}).items():
        yield from _nodes(field, f"{path}.{name}")
    if "items" in node:
        yield from _nodes(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from _nodes(node["additionalProperties"], f"{path}{{}}")


ALLOWED = {
    "type", "description", "properties", "required", "items", "additionalProperties", "enum", "pattern", "format", "oneOf",
    "minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "minItems", "maxItems",
    "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations",
}


@named
def test_it_is_structural(kind: str) -> None:
    nodes = list(_nodes(_schema(kind)))
    assert len(nodes) > 40
    for path, node in nodes:
        assert node.keys() <= ALLOWED, path
        assert ("type" in node) != ("x-kubernetes-int-or-string" in node), path
        assert not {"properties", "additionalProperties"} <= node.keys(), path
        assert node.get("exclusiveMinimum", True) is True, path
        assert node.get("required", ["something"]), path
        assert node.get("type") != "array" or "items" in node, path


@named
def test_patterns_are_such_as_the_api_server_reads_and_mean_the_whole_text(kind: str) -> None:
    patterns = [(path, node["pattern"]) for path, node in _nodes(_schema(kind)) if "pattern" in node]
    for path, pattern in patterns:
        assert (pattern[0], pattern[-1]) == ("^", "$"), path
        assert re2.compile(pattern).search("x\n") is None


def test_every_field_of_the_spec_is_in_it() -> None:
    paths = {path for kind in COLUMNS for path, _ in _nodes(_schema(kind))}
    assert {".spec.subjects[].namespaceSelector.matchLabels{}", ".spec.hosts[].waivers[].until", ".spec.ranges[].gateway.port",
            ".spec.mtls.ports{}.mode", ".spec.dns.labelBits", ".spec.exclusions.outboundCidrs[]", ".spec.udp[].ports[]"} <= paths
    pins = dict(_nodes(_schema("EgressPolicy")))
    assert pins[".spec.hosts[].bytesPerHour"]["x-kubernetes-int-or-string"] is True
    assert pins[".spec.hosts[].ports[]"] == {"type": "integer", "minimum": 1, "maximum": 65535}
    assert dict(_nodes(_schema("MeshPolicy")))[".spec.dns.perS"]["exclusiveMinimum"] is True


def test_what_the_tables_name_is_there() -> None:
    structs = {**schema("egresspolicy")["$defs"], **schema("meshpolicy")["$defs"]}
    assert MORE.keys() <= structs.keys()
    assert all(field in structs[struct]["properties"] for struct, field in FIELDS)
    text = json.dumps(DEFINITIONS)
    assert all(json.dumps(more)[1:-1] in text for more in (*MORE.values(), *FIELDS.values()))


def test_columns_lead_somewhere() -> None:
    for kind, columns in COLUMNS.items():
        paths = {path for path, _ in _nodes(_schema(kind))}
        assert set(columns.values()) <= paths


def test_a_nullable_field_is_one_that_may_be_left_out() -> None:
    assert structural({"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}, {}) == {"type": "string"}
