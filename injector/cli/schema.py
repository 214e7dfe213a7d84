"""`bartizan schema DOCUMENT`: its JSON Schema, for editors and for whoever generates documents. It comes from the structs themselves.

`bartizan schema crd` prints what the API server has to know: `bartizan schema crd | kubectl apply -f -`.
"""

import argparse
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from injector.crd import COLUMNS, definition
from injector.documents import EdgeRule, EgressPolicy, EndpointsRule, Exclusions, HostRequest, MeshPolicy, RangeRequest, RouteRule
from sidecar.model.config import Config
from sidecar.model.service import Protocol
from sidecar.model.snapshot import Snapshot

DRAFT = "https://json-schema.org/draft/2020-12/schema"
CRD = "crd"
# `name, other: text` of a docstring, with the lines below it that are indented further.
_ARGUMENT = re.compile(r"^([a-z_]\w*(?:, [a-z_]\w*)*): (.*(?:\n +.*)*)", re.MULTILINE)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan schema", description="Print the JSON Schema of a document.")
    parser.add_argument("document", choices=[*DOCUMENTS, CRD], help="crd: the CustomResourceDefinitions of the policies, for kubectl")
    document = parser.parse_args(argv).document
    print(json.dumps(definitions() if document == CRD else schema(document), indent=2))
    return 0


DOCUMENTS: Mapping[str, Any] = {
    "routes": tuple[RouteRule, ...], "egress": None, "ports": None, "endpoints": EndpointsRule, "exclude": Exclusions,
    "edge": EdgeRule, "egresspolicy": EgressPolicy, "meshpolicy": MeshPolicy,
    "snapshot": Snapshot, "config": Config,
}


def schema(document: str) -> dict[str, Any]:
    """The schema of one of DOCUMENTS."""
    if document == "egress":        # one of two structs without a tag, which msgspec does not express
        variants, components = msgspec.json.schema_components((HostRequest, RangeRequest), ref_template="#/$defs/{name}")
        return explained({"$schema": DRAFT, "type": "array", "items": {"oneOf": list(variants)}, "$defs": components})
    if document == "ports":         # keys are text that spells a number
        protocol = msgspec.json.schema(Protocol)
        return {"$schema": DRAFT, "type": "object", "propertyNames": {"pattern": "^[1-9][0-9]{0,4}$"}, "additionalProperties": protocol}
    return explained({"$schema": DRAFT, **msgspec.json.schema(DOCUMENTS[document])})


def definitions() -> dict[str, Any]:
    """What the API server has to know of the policies."""
    return {"apiVersion": "v1", "kind": "List", "items": [definition(kind, schema(kind.lower())) for kind in COLUMNS]}


def explained(found: dict[str, Any]) -> dict[str, Any]:
    """What a docstring says of an argument stands at the field, in the place where an editor or `kubectl explain` looks for it."""
    for struct in found["$defs"].values():
        about, _, arguments = struct.pop("description", "").partition("Args:\n")
        if about := _one_line(about):
            struct["description"] = about
        for name, text in _arguments(arguments):
            if name in struct.get("properties", {}):
                struct["properties"][name] = {"description": text, **struct["properties"][name]}
    return found


def _arguments(text: str) -> Iterator[tuple[str, str]]:
    for names, about in _ARGUMENT.findall(textwrap.dedent(text)):
        for name in names.split(", "):
            first, *others = name.split("_")
            yield first + "".join(map(str.capitalize, others)), _one_line(about)


def _one_line(text: str) -> str:
    return " ".join(text.split())
