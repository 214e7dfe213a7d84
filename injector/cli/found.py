"""A finding of `analyze`, and the three forms in which findings are printed: for people, for programs, for code scanners.

Spec: SARIF 2.1.0 (OASIS).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from injector.findings import Finding
from injector.version import own_version

from .terminal import printable

Level = Literal["Error", "Warning", "Info"]
LEVELS: tuple[Level, ...] = ("Error", "Warning", "Info")
_SARIF = {"Error": "error", "Warning": "warning", "Info": "note"}


@dataclass(frozen=True, slots=True)
class Found:
    """
    Args:
        name: of the object, `Deployment orders.shop`; empty: of no object.
        file: where it stands; empty: in the cluster.
        line: from 1.
    """

    finding: Finding
    level: Level
    text: str
    name: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        """`Error [BZ0701] (Deployment orders.shop orders.yaml:14) what is wrong`"""
        place = " ".join(filter(None, (self.name, f"{self.file}:{self.line}" if self.file else "")))
        return printable(f"{self.level} [{self.finding.code}] {f'({place}) ' if place else ''}{self.text}")


def as_json(found: Iterable[Found]) -> str:
    return json.dumps([_json(one) for one in found], indent=2)


def _json(one: Found) -> dict[str, Any]:
    kind, _, name = one.name.partition(" ")
    plain, _, namespace = name.rpartition(".") if "." in name else (name, "", "")
    return {
        "code": one.finding.code, "token": one.finding.token, "level": one.level.lower(), "message": one.text,
        **({"kind": kind, "name": plain} if kind else {}), **({"namespace": namespace} if namespace else {}),
        **({"file": one.file, "line": one.line} if one.file else {}),
    }


def as_sarif(found: Iterable[Found]) -> str:
    """One run; the codes are its rules."""
    results, rules = [], {}
    for one in found:
        finding = one.finding
        rules[finding.code] = {
            "id": finding.code, "name": finding.token, "shortDescription": {"text": finding.cause}, "help": {"text": finding.cure},
        }
        location: dict[str, Any] = {}
        if one.file:
            place = {"artifactLocation": {"uri": one.file}, "region": {"startLine": max(one.line, 1)}}
            location["physicalLocation"] = place
        if one.name:
            location["logicalLocations"] = [{"fullyQualifiedName": one.name}]
        results.append({"ruleId": finding.code, "level": _SARIF[one.level], "message": {"text": one.text}, "locations": [location]})
    driver = {"name": "bartizan analyze", "version": own_version(), "rules": [rules[code] for code in sorted(rules)]}
    run = {"tool": {"driver": driver}, "results": results}
    return json.dumps({"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}, indent=2)
