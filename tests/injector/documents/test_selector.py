from typing import Any

import msgspec
import pytest

from injector.documents.selector import Selector


def selector(**fields: Any) -> Selector:
    return msgspec.convert(fields, Selector)


def requirement(operator: str, *values: str) -> dict[str, Any]:
    return {"key": "app", "operator": operator, **({"values": values} if values else {})}


@pytest.mark.parametrize(("fields", "chosen"), [
    ({}, "none web api"), ({"matchLabels": None, "matchExpressions": None}, "none web api"),
    ({"matchLabels": {"app": "web"}}, "web"),
    ({"matchExpressions": [requirement("In", "web", "api")]}, "web api"),
    ({"matchExpressions": [requirement("NotIn", "web")]}, "none api"),
    ({"matchExpressions": [requirement("Exists")]}, "web api"),
    ({"matchExpressions": [requirement("DoesNotExist")]}, "none"),
    ({"matchLabels": {"app": "web"}, "matchExpressions": [requirement("NotIn", "web")]}, ""),
])
def test_all_that_stands_there_must_hold(fields: dict[str, Any], chosen: str) -> None:
    labels: dict[str, dict[str, str]] = {"none": {}, "web": {"app": "web"}, "api": {"app": "api", "tier": "back"}}
    assert [name for name, of in labels.items() if selector(**fields).selects(of)] == chosen.split()


@pytest.mark.parametrize(("fields", "only"), [
    ({}, None), ({"matchLabels": {"app": "web"}}, {"web"}), ({"matchLabels": {"tier": "web"}}, None),
    ({"matchExpressions": [requirement("In", "web", "api")]}, {"web", "api"}),
    ({"matchExpressions": [requirement("NotIn", "web")]}, None), ({"matchExpressions": [requirement("Exists")]}, None),
])
def test_the_only_values_that_a_label_can_have(fields: dict[str, Any], only: set[str] | None) -> None:
    assert selector(**fields).only("app") == only
