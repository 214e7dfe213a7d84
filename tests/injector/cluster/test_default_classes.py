from pathlib import Path

import pytest
import yaml

from injector.cluster.default_classes import IS_DEFAULT, with_classes
from injector.cluster.directory import Directory


def classes(found: list[dict[str, object]]) -> list[tuple[object, str]]:
    return [(one["kind"], one["metadata"]["name"]) for one in found if str(one["kind"]).endswith("Class")]       # type: ignore[index]


def ingress(**spec: object) -> dict[str, object]:
    return {"kind": "Ingress", "metadata": {"name": "i"}, "spec": spec}


def other(default: str, name: str = "nginx") -> dict[str, object]:
    return {"kind": "IngressClass", "metadata": {"name": name, "annotations": {IS_DEFAULT: default}}, "spec": {"controller": "x"}}


def test_ours_are_there_where_there_are_no_others() -> None:
    assert classes(list(map(dict, with_classes([])))) == [("IngressClass", "bartizan"), ("GatewayClass", "bartizan")]
    assert classes(list(map(dict, with_classes([other("false")])))) == [("IngressClass", "nginx"), ("GatewayClass", "bartizan")]


@pytest.mark.parametrize(("given", "name"), [
    ([], "bartizan"), ([other("true")], "nginx"), ([other("false")], None), ([other("true"), other("true", "b")], None),
])
def test_an_ingress_without_a_class_gets_the_default_one(given: list[dict[str, object]], name: str | None) -> None:
    written = ingress()
    made = with_classes([written, *given])
    assert made[0]["spec"].get("ingressClassName") == name
    assert written == ingress()


def test_one_with_a_class_keeps_it() -> None:
    old = {"kind": "Ingress", "metadata": {"name": "i", "annotations": {"kubernetes.io/ingress.class": "nginx"}}, "spec": {}}
    assert with_classes([ingress(ingressClassName="own"), old])[:2] == [ingress(ingressClassName="own"), old]


def test_a_directory_has_them(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(ingress(rules=[])))
    found = Directory(tmp_path).read()
    assert found.of_kind("Ingress")["default", "i"].spec["ingressClassName"] == "bartizan"
    assert set(found.of_kind("IngressClass")) == {("", "bartizan")}
