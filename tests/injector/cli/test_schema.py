import json

import pytest

from injector.cli.schema import DOCUMENTS, main, schema


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_schema_is_whole(document: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([document]) == 0
    text = capsys.readouterr().out
    found = json.loads(text)
    assert found["$schema"].startswith("https://json-schema.org/")
    for reference in {line.split('"')[3] for line in text.splitlines() if '"$ref"' in line}:
        assert reference.removeprefix("#/$defs/") in found["$defs"]


def test_unknown_fields_are_refused_by_the_schema_too() -> None:
    definitions = schema("egress")["$defs"]
    assert definitions["HostRequest"]["additionalProperties"] is False
    assert definitions["HostRequest"]["required"] == ["host"]
    assert definitions["RangeRequest"]["required"] == ["cidr"]
    assert {"name", "allow", "timeouts", "requestHeaders"} < set(schema("routes")["$defs"]["RouteRule"]["properties"])
    assert set(schema("endpoints")["$defs"]["EndpointsRule"]["properties"]) == {
        "balancing", "zonePreference", "slowStart", "connectTimeout", "ejection", "limits",
    }


def test_a_field_is_explained_where_an_editor_looks() -> None:
    definitions = schema("egresspolicy")["$defs"]
    host, waiver = definitions["ApprovedHost"]["properties"], definitions["PolicyWaiver"]
    assert host["caBundle"]["description"].startswith("PEM to verify the host with")
    assert host["methods"]["description"].startswith("of plain HTTP")
    assert host["paths"]["description"] == host["methods"]["description"]
    assert waiver["properties"]["reason"]["description"] == "for whoever reads the log."
    assert waiver["description"] == "A check that is relaxed until a date; each connection that needs it is written down."
    assert "Args:" not in json.dumps([schema(document) for document in DOCUMENTS])


def test_the_definitions_are_what_kubectl_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crd"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["apiVersion"], found["kind"]) == ("v1", "List")
    assert [item["metadata"]["name"] for item in found["items"]] == ["egresspolicies.bartizan.dev", "meshpolicies.bartizan.dev"]


def test_texts_that_mean_numbers_are_explained() -> None:
    properties = schema("routes")["$defs"]["Timeouts"]["properties"]
    assert "a duration such as 3s" in json.dumps(properties["request"])


def test_an_unknown_document_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["rotues"])
    assert "routes" in capsys.readouterr().err
