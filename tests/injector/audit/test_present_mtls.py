import csv
import io
import re
from pathlib import Path

import pytest

from injector.audit.as_csv import as_csv
from injector.audit.as_html import as_html
from injector.audit.as_text import as_text
from injector.audit.coverage import Coverage, Gap
from injector.audit.mtls import Mtls, audit_mtls
from injector.audit.present_mtls import present_mtls, verdict

from .support import NOW, ORDERS, PAYMENTS, PERIOD, WEB, World


@pytest.fixture
def report(tmp_path: Path) -> Mtls:
    world = World(tmp_path)
    for _ in range(7):
        world.mtls(WEB, ORDERS)
    world.mtls(ORDERS, PAYMENTS, ends="caller")
    world.plaintext(ORDERS)
    world.plaintext(PAYMENTS, security="passthrough")
    world.refused(ORDERS, peer="spiffe://mesh/ns/x/sa/y", detail="<b>=1+1</b>", source="=1")
    world.ended()
    return audit_mtls(world.store(Coverage(gaps=(Gap("host-network", "kube-system", "a", "DaemonSet/a", "why", "cure"),))), PERIOD, NOW)


def test_the_verdict(report: Mtls) -> None:
    assert verdict(report) == (
        "80.00 % of 10 connections were mTLS, 70.00 % proved from both ends: 1 told by one end or in doubt, 0 contradictory, "
        "1 with TLS of the application's own, 1 plaintext on 1 path. "
        "Besides: 0 calls of pods to themselves, 0 connections out of the mesh (audit egress), 0 on which no byte came back.")


def test_nothing_recorded_is_no_proof(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.egress(WEB, "a.example")
    document = present_mtls(audit_mtls(world.store(), PERIOD, NOW))
    assert "nothing is proved" in document.verdict
    assert document.headline == "nothing"
    assert any("no coverage.json" in warning for warning in document.warnings)


def test_it_is_good_only_if_all_is_mtls_and_every_chain_holds(tmp_path: Path, report: Mtls) -> None:
    assert not present_mtls(report).is_good
    world = World(tmp_path / "good")
    world.mtls(WEB, ORDERS)
    good = audit_mtls(world.store(), PERIOD, NOW)
    assert present_mtls(good).is_good
    good.ledgers[0].breaks = 1
    assert not present_mtls(good).is_good


def test_a_record_that_nothing_explains_is_warned_of(report: Mtls) -> None:
    assert ["although the other's ledgers are whole" in warning for warning in present_mtls(report).warnings] == [True]


def test_every_form_has_the_same_numbers(report: Mtls) -> None:
    document = present_mtls(report)
    rows = list(csv.DictReader(io.StringIO(as_csv(document.tables[0]))))
    in_csv = {(row["Caller"], row["Destination"], int(row["Connections"]), f"{row['mTLS']} %") for row in rows}
    table = as_text(document).partition("PAIRS OF WORKLOADS\n")[2].partition("\n\n")[0].splitlines()[1:]
    in_text = {(cells[0], cells[1], int(cells[2]), cells[3]) for line in table if (cells := re.split(r"  +", line.strip()))}
    section = as_html(document).partition("<h2>Pairs of workloads</h2>")[2].partition("</table>")[0]
    in_html = set()
    for row in re.findall(r"<tbody><tr>(.*?)</tr>", section):
        cells = [re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<td.*?>(.*?)</td>", row)]
        in_html.add((cells[0], cells[1], int(cells[2]), cells[3]))
    assert in_csv == in_text == in_html
    assert {(caller, destination, count) for caller, destination, count, _ in in_csv} == {
        ("shop/web", "shop/orders", 7), ("shop/orders", "pay/payments", 1), ("not proved", "shop/orders", 1),
        ("not proved", "pay/payments", 1)}
    assert sum(int(row["Connections"]) for row in rows) == report.total.connections


def test_every_table_of_every_form(report: Mtls) -> None:
    document = present_mtls(report)
    text, page = as_text(document), as_html(document)
    for table in document.tables:
        assert len(list(csv.reader(io.StringIO(as_csv(table))))) == len(table.rows) + 1
        if table.rows:
            assert table.title.upper() in text
            assert table.title in page
    assert "<b>=1+1" not in page
    assert "bartizan audit verify" in page
