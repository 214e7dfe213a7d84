"""Findings in their three forms."""

import json

from injector.cli.found import Found, as_json, as_sarif
from injector.findings import Finding

IN_FILE = Found(Finding.INVALID, "Error", "no \x1b[2J", "Deployment orders.shop", "a/x.yaml", 14)
LIVE = Found(Finding.NOT_INJECTED, "Warning", "label it", "Namespace shop")
OF_A_FILE = Found(Finding.UNREADABLE, "Info", "bad", file="a/x.yaml", line=1)


def test_for_people() -> None:
    assert list(map(str, (IN_FILE, LIVE, OF_A_FILE))) == [
        r"Error [BZ0701] (Deployment orders.shop a/x.yaml:14) no \x1b[2J", "Warning [BZ0711] (Namespace shop) label it",
        "Info [BZ0705] (a/x.yaml:1) bad",
    ]
    assert str(Found(Finding.CNI_BESIDES, "Info", "of all of them")) == "Info [BZ0722] of all of them"


def test_for_programs() -> None:
    assert json.loads(as_json([IN_FILE, LIVE, OF_A_FILE])) == [
        {"code": "BZ0701", "token": "document-invalid", "level": "error", "message": "no \x1b[2J", "kind": "Deployment", "name": "orders",
         "namespace": "shop", "file": "a/x.yaml", "line": 14},
        {"code": "BZ0711", "token": "namespace-not-injected", "level": "warning", "message": "label it", "kind": "Namespace",
         "name": "shop"},
        {"code": "BZ0705", "token": "file-unreadable", "level": "info", "message": "bad", "file": "a/x.yaml", "line": 1},
    ]


def test_for_code_scanners() -> None:
    found = json.loads(as_sarif([IN_FILE, LIVE, IN_FILE]))
    assert found["version"] == "2.1.0"
    run, = found["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["BZ0701", "BZ0711"]
    assert rules[0]["help"]["text"] == Finding.INVALID.cure
    assert [(one["ruleId"], one["level"]) for one in run["results"]] == [("BZ0701", "error"), ("BZ0711", "warning"), ("BZ0701", "error")]
    location, = run["results"][0]["locations"]
    assert location["physicalLocation"] == {"artifactLocation": {"uri": "a/x.yaml"}, "region": {"startLine": 14}}
    assert location["logicalLocations"] == [{"fullyQualifiedName": "Deployment orders.shop"}]
    assert "physicalLocation" not in run["results"][1]["locations"][0]
