import pytest

from injector.yaml_out import write_yaml
from injector.yaml_text import read_all

SAME = {"a": [1]}


@pytest.mark.parametrize("data", [
    {"z": 1, "a": [True, None, "no", "1", "on", "2026-01-01", 1.5]}, {"text": "two\nlines\n"}, {"text": " a: b\n\n#c"},
    {"one": SAME, "two": SAME},
    {"text": "ü \t x"}, {},
])
def test_what_is_written_reads_the_same(data: object) -> None:
    assert [document.data for document in read_all(write_yaml([data, data]))] == [data, data]


def test_people_can_read_it() -> None:
    assert write_yaml([{"z": "1\n2\n", "a": "b"}]) == "z: |\n  1\n  2\na: b\n"
