from pathlib import Path

import msgspec
import pytest

from injector.audit.coverage import NOTHING, Coverage, KnownPod
from injector.audit.join import Connection
from injector.audit.store import Store, open_store
from sidecar.model.chain import hash_of
from sidecar.model.errors import ConfigError
from sidecar.model.ledger import Entry

from .support import NOW, ORDERS, PAYMENTS, PERIOD, WEB, World, chained


def read(store: Store) -> tuple[list[Connection], list[Entry]]:
    refusals: list[Entry] = []
    return list(store.connections(PERIOD, refusals.append)), refusals


def test_the_ledgers_of_a_folder(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.mtls(WEB, ORDERS)
    world.refused(PAYMENTS)
    world.write("shop/web-1", Entry("shed", time=NOW - 5, count=7), Entry("clock", time=NOW - 4), Entry("end", time=NOW - 3))
    store = world.store(Coverage((KnownPod("shop", "web-1", "u", "web", ("10.0.0.1",)),)))
    connections, refusals = read(store)
    assert [(one.caller, one.destination, len(one.sides)) for one in connections] == [(WEB, ORDERS, 2)]
    assert [entry.local for entry in refusals] == [PAYMENTS]
    web = next(ledger for ledger in store.ledgers if ledger.name == "shop/web-1")
    assert (web.pod, web.namespace, web.identities, web.shed, web.clock_jumps, web.has_ended, web.last) == (
        "uid-web-1", "shop", [WEB], 7, 1, True, NOW - 3)
    assert all(ledger.is_whole and ledger.countersigned == ledger.lines for ledger in store.ledgers)
    assert store.coverage.pods[0].name == "web-1"


def test_what_lies_outside_of_the_period_is_not_counted(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.mtls(WEB, ORDERS, ago=86401)
    world.mtls(WEB, ORDERS, ago=-1)
    world.refused(ORDERS, time=NOW + 1)
    world.write("shop/web-1", Entry("shed", time=NOW - 90_000, count=7))
    store = world.store()
    assert read(store) == ([], [])
    assert sum(ledger.shed for ledger in store.ledgers) == 0


def test_a_single_file_is_a_store_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.mtls(WEB, ORDERS)
    world.store()
    store = open_store([str(world.path("shop/web-1"))])
    connections, _ = read(store)
    assert [one.server for one in connections] == [None]
    assert (store.coverage, store.has_coverage) == (NOTHING, False)


def test_a_line_that_speaks_for_another_namespace_proves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.mtls(WEB, ORDERS, ends="destination")
    world.write("pay/payments-1", msgspec.structs.replace(world.ledgers["shop/orders-1"][-1], id="f"))
    store = world.store()
    connections, _ = read(store)
    assert sorted((one.main.entry.id == "f", one.main.is_sound) for one in connections) == [(False, True), (True, False)]
    assert [ledger.foreign for ledger in store.ledgers if ledger.name == "pay/payments-1"] == [1]


def test_the_files_of_one_pod_are_one_chain(tmp_path: Path) -> None:
    """The first was removed as too old, which was written down."""
    lines = chained([Entry("refusal", time=NOW - 9, local=WEB, code=str(number)) for number in range(6)])
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, part in ("web-1@2-3", lines[2:4]), ("web-1@10-5", lines[4:]):
        (folder / f"{name}.uid-web-1.jsonl").write_bytes(b"".join(part))
    removal = {"time": 1.0, "why": "age", "file": "shop/web-1.uid-web-1.jsonl", "first": 1, "last": 2, "head": hash_of(lines[1][:-1])}
    (tmp_path / "removed.jsonl").write_bytes(msgspec.json.encode(removal) + b'\n{"torn')
    store = open_store([str(tmp_path)])
    _, refusals = read(store)
    assert [entry.code for entry in refusals] == ["2", "3", "4", "5"]
    assert [(ledger.name, ledger.pod, ledger.lines, ledger.removed, ledger.is_whole) for ledger in store.ledgers] == [
        ("shop/web-1", "uid-web-1", 6, 2, True)]
    (tmp_path / "removed.jsonl").unlink()
    store = open_store([str(tmp_path)])
    read(store)
    assert not store.ledgers[0].is_whole


def test_a_ledger_that_is_gone_is_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.mtls(WEB, ORDERS)
    world.store()
    gone = world.path("shop/orders-1")
    head = hash_of(gone.read_bytes().splitlines()[-1])
    gone.unlink()
    store = open_store([str(tmp_path)])
    read(store)
    assert [(ledger.name, ledger.is_cut) for ledger in store.ledgers if not ledger.is_whole] == [("pod uid-orders-1", True)]
    removal = {"time": 1.0, "why": "age", "file": "shop/orders-1.uid-orders-1.jsonl", "first": 1, "last": 2, "head": head}
    (tmp_path / "removed.jsonl").write_bytes(msgspec.json.encode(removal) + b"\n")
    store = open_store([str(tmp_path)])
    read(store)
    assert all(ledger.is_whole for ledger in store.ledgers)


@pytest.mark.parametrize("name", ["heads.json", "coverage.json"])
def test_a_document_that_cannot_be_read_is_an_error(tmp_path: Path, name: str) -> None:
    world = World(tmp_path)
    world.mtls(WEB, ORDERS)
    world.store()
    (tmp_path / name).write_text("{")
    with pytest.raises(ConfigError, match=name):
        open_store([str(tmp_path)])


def test_no_evidence_is_an_error(tmp_path: Path) -> None:
    """Else nothing at all would pass for a mesh without plaintext."""
    with pytest.raises(ConfigError, match="nothing can be said"):
        open_store([str(tmp_path)])
    with pytest.raises(ConfigError, match="there is no"):
        open_store([str(tmp_path / "x")])
