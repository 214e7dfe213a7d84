"""The chart in the repository is the one that the renderers make. Helm itself renders it in tests/e2e/kubernetes/test_chart.py."""

import json
import re
from pathlib import Path

import msgspec

from injector.manifests.chart import ALL, NOTES, chart, main, schema
from injector.manifests.plan import Plan, plan_of, values_of
from injector.yaml_text import read_yaml

FOLDER = Path(__file__).parents[3] / "chart" / "bartizan"


def test_the_chart_is_what_the_renderers_make() -> None:
    """If not: make chart."""
    there = {str(path.relative_to(FOLDER)): path.read_text() for path in FOLDER.rglob("*") if path.is_file()}
    made = chart()
    assert there.keys() == made.keys()
    assert [path for path in made if there[path] != made[path]] == []


def test_it_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    assert main([str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "templates" / "NOTES.txt").read_text() == NOTES


def test_its_values_are_the_plans_defaults() -> None:
    values = read_yaml(chart()["values.yaml"]).data
    assert values == values_of(Plan())
    assert isinstance(values, dict)
    assert plan_of(values) == Plan()


def test_every_value_is_explained_and_bounded() -> None:
    found = schema()["$defs"]
    assert all("description" in one for one in found["Plan"]["properties"].values())
    assert all(one["additionalProperties"] is False for one in found.values())


def test_no_value_of_the_plan_is_forgotten() -> None:
    """Each is a mark, or decides what is there."""
    switched = {"create_namespace", "network_policies"}
    assert {one.name for one in msgspec.structs.fields(Plan) if "XX" not in str(getattr(ALL, one.name))} == switched
    text = "".join(chart().values())
    for one in msgspec.structs.fields(Plan):
        assert re.search(rf"\$\.Values\.{one.encode_name}\b", text), one.name


def test_no_mark_is_left() -> None:
    assert "XX" not in json.dumps(chart())
