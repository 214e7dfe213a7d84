"""Addresses that stand for names."""

import ipaddress
import json
from pathlib import Path

import pytest

from sidecar.proxy import synthetic
from sidecar.proxy.synthetic import Synthetic

SAME_PLACE = "h4012.example", "h8237.example"
RANGE = ipaddress.ip_network("240.0.0.0/4")


def test_each_name_has_one_address_and_keeps_it() -> None:
    table = Synthetic()
    one, two = table.address("a.example"), table.address("b.example")
    assert one is not None
    assert two is not None
    assert one != two
    assert table.address("a.example") == one
    assert table.name(one) == "a.example"
    assert table.name("240.9.9.9") is None
    assert all(ipaddress.ip_address(text) in RANGE for text in (one, two))


def test_every_replica_gives_the_same_whatever_was_asked_before() -> None:
    one, other = Synthetic(), Synthetic()
    names = [f"h{i}.example" for i in range(100)]
    found = {name: one.address(name) for name in names}
    assert {name: other.address(name) for name in reversed(names)} == found
    assert found["h0.example"] == "254.195.187.141", "as it ever was: an application may remember"


def test_who_would_have_the_same_place_gets_the_next() -> None:
    table = Synthetic()
    assert [table.address(name) for name in SAME_PLACE] == ["249.16.252.9", "249.16.252.10"]


def test_the_ends_of_the_range_are_nobodys() -> None:
    last = ipaddress.IPv4Address(synthetic.FIRST + synthetic.PLACES - 1)
    assert (str(ipaddress.IPv4Address(synthetic.FIRST)), str(last)) == ("240.0.0.1", "255.255.255.254")


def test_there_is_an_end_to_them() -> None:
    table = Synthetic()
    table.give(f"h{i}.example" for i in range(synthetic.MOST_NAMES + 1))
    assert table.address("h0.example") is not None
    assert table.address(f"h{synthetic.MOST_NAMES - 1}.example") is not None
    assert table.address(f"h{synthetic.MOST_NAMES}.example") is None
    assert table.address("one.too.many") is None


# -- over a restart


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "synthetic.json"


def test_they_outlive_the_process(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = Synthetic(str(path))
    found = {name: str(first.address(name)) for name in reversed(SAME_PLACE)}       # of which the order decides
    again = Synthetic(str(path))
    assert {again.name(address): address for address in found.values()} == found, "before anybody asks"
    assert {name: again.address(name) for name in SAME_PLACE} == found
    assert path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", [
    "", "{", "[]", '{"a.example": 1}', '{"a.example": "x"}', '{"a.example": "192.0.2.1"}', '{"a.example": "255.255.255.255"}',
    '{"a.example": "240.0.0.0"}', '{"a.example": "240.0.0.1", "b.example": "240.0.0.1"}', '{"a.example": "2001:db8::1"}', "\ud800",
    json.dumps({f"h{i}.example": str(ipaddress.IPv4Address(synthetic.FIRST + i)) for i in range(synthetic.MOST_NAMES + 1)}),
])
def test_a_file_that_cannot_be_used_is_as_good_as_none(text: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(text.encode(errors="surrogatepass"))
    table = Synthetic(str(path))
    assert f"{path} cannot be used" in capsys.readouterr().err
    assert table.name("240.0.0.1") is None
    address = table.address("a.example")
    assert address == Synthetic().address("a.example")
    assert Synthetic(str(path)).name(str(address)) == "a.example", "it was written anew"


def test_no_file_is_nothing_to_talk_about(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Synthetic(str(path))
    assert capsys.readouterr().err == ""


def test_where_nothing_can_be_kept_they_are_given_all_the_same(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = Synthetic(str(path / "missing" / "file"))
    assert table.address("a.example") is not None
    assert "not kept over a restart" in capsys.readouterr().err


def test_what_is_known_is_not_written_again(path: Path) -> None:
    table = Synthetic(str(path))
    table.address("a.example")
    written = path.stat()
    table.address("a.example")
    table.give(("a.example",))
    assert path.stat().st_ino == written.st_ino
