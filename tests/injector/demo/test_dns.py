import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from injector.demo.dns import Zone


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[Zone]:
    names = {"orders.shop.svc.cluster.local": ["10.96.7.1", "fd00:10:96::7:1"], "four": ["1.2.3.4"]}
    (tmp_path / "table.json").write_text(json.dumps(names))
    with closing(Zone(tmp_path / "table.json", tmp_path / "evidence.jsonl")) as made:
        yield made


def ask(zone: Zone, name: str, kind: str) -> tuple[int, list[str]]:
    wire = zone.answer(dns.message.make_query(name, kind).to_wire(), "10.244.0.10")
    assert wire is not None
    answer = dns.message.from_wire(wire)
    return answer.rcode(), [str(item) for found in answer.answer for item in found]


@pytest.mark.parametrize(("name", "kind", "rcode", "addresses"), [
    ("orders.shop.svc.cluster.local", "A", dns.rcode.NOERROR, ["10.96.7.1"]),
    ("ORDERS.shop.svc.cluster.local.", "AAAA", dns.rcode.NOERROR, ["fd00:10:96::7:1"]),
    ("four", "AAAA", dns.rcode.NOERROR, []),
    ("four", "TXT", dns.rcode.NOERROR, []),
    ("absent", "A", dns.rcode.NXDOMAIN, []),
])
def test_answers(zone: Zone, name: str, kind: str, rcode: int, addresses: list[str]) -> None:
    assert ask(zone, name, kind) == (rcode, addresses)


def test_a_new_table_counts_at_once(zone: Zone, tmp_path: Path) -> None:
    assert ask(zone, "absent", "A")[0] == dns.rcode.NXDOMAIN
    (tmp_path / "new").write_text(json.dumps({"absent": ["1.1.1.1"]}))
    (tmp_path / "new").replace(tmp_path / "table.json")
    assert ask(zone, "absent", "A") == (dns.rcode.NOERROR, ["1.1.1.1"])


def test_queries_are_recorded_and_noise_is_not_answered(zone: Zone, tmp_path: Path) -> None:
    assert zone.answer(b"\0" * 5, "1.2.3.4") is None
    assert zone.answer(b"\0" * 12, "1.2.3.4") is None
    ask(zone, "four", "A")
    assert json.loads((tmp_path / "evidence.jsonl").read_text()) == {"name": "four", "type": "A", "client": "10.244.0.10"}
