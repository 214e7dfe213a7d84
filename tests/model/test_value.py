import pytest

from sidecar.model.errors import ConfigError
from sidecar.model.value import Port, Value, convert, from_json, path_of


class Inner(Value, frozen=True):
    some_port: Port


class Outer(Value, frozen=True):
    inner: tuple[Inner, ...] = ()
    anything: object = None


def test_names_are_camel_case_in_json() -> None:
    assert from_json(b'{"inner": [{"somePort": 80}]}', Outer) == Outer((Inner(80),))


@pytest.mark.parametrize(("text", "where"), [
    (b'{"inner": [{"somePort": 80}, {"somePort": 0}]}', "inner[1].somePort"),
    (b'{"inner": [{"some_port": 80}]}', "inner[0]"),
    (b'{"outer": []}', ""),
    (b'{"inner": [', ""),
    (b"\xff", ""),
    (b'{"anything": ' + b"[" * 100_000, ""),
])
def test_what_is_wrong_is_refused_with_its_path(text: bytes, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_json(text, Outer)
    assert caught.value.where == where


def test_path_of() -> None:
    assert path_of("Expected `int` - at `$.a.b[0]`") == ("a.b[0]", "Expected `int`")
    assert path_of("truncated") == ("", "truncated")


def test_what_was_json_already_is_read_alike() -> None:
    assert convert({"inner": [{"somePort": 80}]}, Outer) == Outer((Inner(80),))
    with pytest.raises(ConfigError) as caught:
        convert({"inner": [{"somePort": 0}]}, Outer)
    assert caught.value.where == "inner[0].somePort"
