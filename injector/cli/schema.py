"""`bartizan schema DOCUMENT`: its JSON Schema, for editors and for whoever generates documents. It comes from the structs themselves."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from injector.documents import EgressPolicy, EndpointsRule, HostRequest, MeshPolicy, RangeRequest, RouteRule
from sidecar.model.config import Config
from sidecar.model.service import Protocol
from sidecar.model.snapshot import Snapshot

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan schema", description="Print the JSON Schema of a document.")
    parser.add_argument("document", choices=DOCUMENTS)
    print(json.dumps(schema(parser.parse_args(argv).document), indent=2))
    return 0


DOCUMENTS: Mapping[str, Any] = {
    "routes": tuple[RouteRule, ...], "egress": None, "ports": None, "endpoints": EndpointsRule,
    "egresspolicy": EgressPolicy, "meshpolicy": MeshPolicy,
    "snapshot": Snapshot, "config": Config,
}


def schema(document: str) -> dict[str, Any]:
    """The schema of one of DOCUMENTS."""
    if document == "egress":        # one of two structs without a tag, which msgspec does not express
        variants, components = msgspec.json.schema_components((HostRequest, RangeRequest), ref_template="#/$defs/{name}")
        return {"$schema": DRAFT, "type": "array", "items": {"oneOf": list(variants)}, "$defs": components}
    if document == "ports":         # keys are text that spells a number
        protocol = msgspec.json.schema(Protocol)
        return {"$schema": DRAFT, "type": "object", "propertyNames": {"pattern": "^[1-9][0-9]{0,4}$"}, "additionalProperties": protocol}
    return {"$schema": DRAFT, **msgspec.json.schema(DOCUMENTS[document])}
