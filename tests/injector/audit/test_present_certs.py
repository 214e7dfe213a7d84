from pathlib import Path

from injector.audit.as_html import as_html
from injector.audit.as_text import as_text
from injector.audit.certs import audit_certs
from injector.audit.present_certs import certs_tables, present_certs

from .support import NOW, ORDERS, PERIOD, SERIALS, WEB, World, issuance


def test_alarms_are_the_headline(tmp_path: Path) -> None:
    world = World(tmp_path / "store")
    world.mtls(WEB, ORDERS)
    log = issuance(tmp_path / "issuance.log", but=(WEB,))
    report = audit_certs(world.store(), PERIOD, NOW, log, None)
    document = present_certs(report)
    assert (document.headline, document.is_good) == ("1 alarm", False)
    for text in as_text(document), as_html(document):
        assert SERIALS[WEB] in text
        assert "never issued" in text
        assert "2 lines, holds" in text or text == as_text(document)
    assert [table.name for table in certs_tables(report)] == ["alarms", "workloads"]


def test_no_alarm(tmp_path: Path) -> None:
    world = World(tmp_path / "store")
    world.mtls(WEB, ORDERS)
    document = present_certs(audit_certs(world.store(), PERIOD, NOW, issuance(tmp_path / "issuance.log"), None))
    assert (document.headline, document.is_good) == ("no alarm", True)
    assert document.verdict.startswith("Every certificate in use is one that the issuer knows")


def test_a_log_that_does_not_hold_is_no_good_news(tmp_path: Path) -> None:
    world = World(tmp_path / "store")
    world.mtls(WEB, ORDERS)
    log = Path(issuance(tmp_path / "issuance.log"))
    log.write_bytes(log.read_bytes().replace(b"10.0.0.1", b"10.0.0.2", 1))
    document = present_certs(audit_certs(world.store(), PERIOD, NOW, str(log), None))
    assert not document.is_good
    assert "issuance.log" in document.warnings[0]
