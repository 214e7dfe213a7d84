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


def test_texts_that_mean_numbers_are_explained() -> None:
    properties = schema("routes")["$defs"]["Timeouts"]["properties"]
    assert "a duration such as 3s" in json.dumps(properties["request"])


def test_an_unknown_document_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["rotues"])
    assert "routes" in capsys.readouterr().err
