"""EgressPolicy and MeshPolicy as CustomResourceDefinitions: what the API server refuses by itself, before any webhook is asked.

A JSON Schema becomes a structural one: no reference, a type everywhere, and unknown fields named by their absence (the API server
refuses or prunes them). Defaults stay out, or they would be written into every object and outlive the version that meant them.

Spec: apiextensions.k8s.io/v1; RE2 for patterns, which knows no lookahead and whose `$` is the end of the text anyway.
"""

from collections.abc import Mapping
from typing import Any

from injector.documents import API_VERSION
from injector.semantics.text import HOST

Schema = dict[str, Any]

_HOST = {"pattern": f"^({HOST.pattern})$", "maxLength": 253}

_LEFT_OUT = {"title", "default", "examples", "additionalProperties"}


def _rule(expression: str, message: str) -> Schema:
    return {"x-kubernetes-validations": [{"rule": expression, "message": message}]}


# What the types cannot say, where the API server's own words are short. Admission says all of it: semantics/policies.py.
MORE: Mapping[str, Schema] = {
    "Subject": {"oneOf": [{"required": ["namespace"]}, {"required": ["namespaceSelector"]}]},
    "TokenIssuer": {"oneOf": [{"required": ["jwks"]}, {"required": ["jwksUri"]}]},
    "Egress": _rule("has(self.until) == (self.mode == 'observe')", "observe needs `until`; enforce has no end"),
    "Mtls": _rule("has(self.until) == (self.mode == 'permissive')", "permissive needs `until`; strict has no end"),
}
FIELDS: Mapping[tuple[str, str], Schema] = {("ApprovedHost", "host"): _HOST}
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "EgressPolicy": {"Gateway": ".spec.gateway.service"},    # of a list only the first item would be shown
    "MeshPolicy": {"mTLS": ".spec.mtls.mode", "Egress": ".spec.egress.mode", "Hardening": ".spec.hardening"},
}


def definition(kind: str, schema: Schema) -> Schema:
    """The CustomResourceDefinition of one of COLUMNS.

    Args:
        schema: its JSON Schema, with `$defs`.
    """
    group, _, version = API_VERSION.partition("/")
    plural = f"{kind.lower().removesuffix('y')}ies"
    spec = structural(schema["$defs"][f"{kind}Spec"], schema["$defs"])
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Cluster",
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower(), "categories": ["bartizan"]},
            "versions": [{
                "name": version, "served": True, "storage": True, "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    *({"name": name, "type": "string", "jsonPath": path} for name, path in COLUMNS[kind].items()),
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": schema["$defs"][kind]["description"],
                    "required": ["spec"],
                    "properties": {
                        "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}, "spec": spec,
                        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    },
                }},
            }],
        },
    }


def structural(schema: Schema, defs: Mapping[str, Schema]) -> Schema:
    """The same demands as a structural schema."""
    if "$ref" in schema:
        return structural(defs[schema["$ref"].removeprefix("#/$defs/")], defs)
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    about = {"description": schema["description"]} if "description" in schema else {}
    if len(kinds) == 1:
        return {**structural(kinds[0], defs), **about}
    if kinds:       # a size: a number, or text
        number, text = (next(structural(kind, defs) for kind in kinds if kind["type"] == name) for name in ("integer", "string"))
        return {"x-kubernetes-int-or-string": True, "minimum": number["minimum"], "pattern": text["pattern"], **about}
    found = {key: value for key, value in schema.items() if key not in _LEFT_OUT}
    if "enum" in found:
        found["type"] = "string"
    if "pattern" in found:
        found["pattern"] = found["pattern"].replace(r"(?!\n)$", "$")
    if "exclusiveMinimum" in found:
        found |= {"minimum": found["exclusiveMinimum"], "exclusiveMinimum": True}
    if "items" in found:
        found["items"] = structural(found["items"], defs)
    if "properties" in found:
        title = schema["title"]
        found["properties"] = {
            name: {**structural(field, defs), **FIELDS.get((title, name), {})} for name, field in found["properties"].items()
        }
        found |= MORE.get(title, {})
        found = {key: value for key, value in found.items() if value != []}      # `required: []`
    elif isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = structural(schema["additionalProperties"], defs)
    return found


