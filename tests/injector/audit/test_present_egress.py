import csv
import io
from pathlib import Path

from injector.audit.as_csv import as_csv
from injector.audit.as_html import as_html
from injector.audit.egress import audit_egress
from injector.audit.present_egress import present_egress

from .support import ORDERS, PERIOD, WEB, World

HOSTILE = "=cmd|'<script>'!A0"


def test_the_verdict(tmp_path: Path) -> None:
    world = World(tmp_path)
    for _ in range(3):
        world.egress(WEB, "api.stripe.com")
    world.egress(ORDERS, "cdn.example", security="passthrough")
    world.refused(WEB, direction="outbound", host="evil.example", code="BZ0201")
    document = present_egress(audit_egress(world.store(), PERIOD))
    assert document.verdict == (
        "75.00 % of 4 connections out of the mesh were TLS that a sidecar spoke and verified; 1 passed through, 0 were plaintext; "
        "1 were refused or failed.")
    assert document.is_good


def test_plaintext_is_no_good_news(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.egress(WEB, "a.example", security="plaintext")
    assert not present_egress(audit_egress(world.store(), PERIOD)).is_good


def test_a_hostile_host_name_is_text_in_every_form(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.refused(WEB, direction="outbound", host=HOSTILE, code="BZ0201", detail=HOSTILE, reason=HOSTILE)
    document = present_egress(audit_egress(world.store(), PERIOD))
    assert "<script>" not in as_html(document)
    [row] = csv.DictReader(io.StringIO(as_csv(next(table for table in document.tables if table.name == "refusals"))))
    assert row["Host"] == row["Detail"] == row["Reason"] == "'" + HOSTILE
    assert "Ask for the host" in row["Cure"]


def test_nothing_recorded(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.mtls(WEB, ORDERS)
    assert "No connection out of the mesh" in present_egress(audit_egress(world.store(), PERIOD)).verdict
