from pathlib import Path
from typing import Any

import msgspec
import pytest

from injector.audit.certs import Certs, audit_certs
from injector.audit.store import Store
from sidecar.model.errors import ConfigError

from .support import NOW, ORDERS, PERIOD, SERIALS, WEB, World, issuance


def used(tmp_path: Path, **more: Any) -> Store:
    """WEB calls ORDERS twice; one end tells of the second call."""
    world = World(tmp_path / "store")
    world.mtls(WEB, ORDERS)
    world.mtls(WEB, ORDERS, ends="destination", **more)
    return world.store()


def audit(tmp_path: Path, store: Store, revoked: list[dict[str, Any]] | None = None, **more: Any) -> Certs:
    if revoked is not None:
        (tmp_path / "revoked.json").write_bytes(msgspec.json.encode({"entries": revoked}))
    log = issuance(tmp_path / "issuance.log", **more)
    return audit_certs(store, PERIOD, NOW, log, str(tmp_path / "revoked.json") if revoked is not None else None)


def alarms(report: Certs) -> list[tuple[str, str]]:
    return [(one.trouble, one.serial) for one in report.alarms]


def test_every_certificate_and_its_use(tmp_path: Path) -> None:
    report = audit(tmp_path, used(tmp_path))
    assert {one.identity: (one.connections, one.is_live) for one in report.certificates} == {
        WEB: (2, True), ORDERS: (2, True), "spiffe://mesh/ns/pay/sa/payments": (0, True)}
    assert (report.alarms, report.issued, sum(one.never_used for one in report.workloads)) == ([], 3, 1)
    assert report.certificates[-1].last == NOW - 3600


def test_a_serial_that_was_never_issued(tmp_path: Path) -> None:
    report = audit(tmp_path, used(tmp_path), but=(WEB,))
    assert alarms(report) == [("never issued", SERIALS[WEB])]
    assert (report.alarms[0].identity, report.alarms[0].tellers) == (WEB, ["shop/orders-1", "shop/web-1"])


def test_a_serial_under_another_name(tmp_path: Path) -> None:
    report = audit(tmp_path, used(tmp_path, peer="spiffe://mesh/ns/shop/sa/thief"))
    assert alarms(report) == [("another identity", SERIALS[WEB])]


def test_a_key_in_another_pod(tmp_path: Path) -> None:
    report = audit(tmp_path, used(tmp_path), pod_uid="uid-web-1")
    assert ("another pod", SERIALS[ORDERS]) in alarms(report)
    assert ("another pod", SERIALS[WEB]) not in alarms(report)


@pytest.mark.parametrize(("not_after", "expected"), [(NOW - 3605 - 61, 2), (NOW - 3605 - 59, 0)])
def test_a_certificate_that_was_used_after_its_end(tmp_path: Path, not_after: float, expected: int) -> None:
    report = audit(tmp_path, used(tmp_path), not_after=not_after)
    assert [trouble for trouble, _ in alarms(report)] == ["used after its end"] * expected


@pytest.mark.parametrize(("kind", "value"), [
    ("identity", WEB), ("pod", "uid-web-1"), ("serial", SERIALS[WEB]), ("key", "k" * 64),
])
def test_a_revoked_certificate_that_is_used_all_the_same(tmp_path: Path, kind: str, value: str) -> None:
    report = audit(tmp_path, used(tmp_path), [{"kind": kind, "value": value, "time": NOW - 3700, "reason": "stolen", "until": 0.0}])
    assert ("revoked, yet used", SERIALS[WEB]) in alarms(report)
    assert [one.revoked for one in report.certificates if one.identity == WEB] == ["stolen"]


def test_a_revocation_has_its_time_to_take_hold(tmp_path: Path) -> None:
    """The connections of `used` began 3605 s ago and lasted for 5 s."""
    for time, expected in ((NOW - 3605, []), (NOW - 3611, ["revoked, yet used"])):
        report = audit(tmp_path, used(tmp_path), [{"kind": "serial", "value": SERIALS[WEB], "time": time}])
        assert [trouble for trouble, _ in alarms(report)] == expected


def test_who_was_revoked_may_try_in_vain(tmp_path: Path) -> None:
    world = World(tmp_path / "store")
    world.mtls(WEB, ORDERS, requests=0, rules={})
    report = audit(tmp_path, world.store(), [{"kind": "identity", "value": WEB, "time": NOW - 3700}])
    assert alarms(report) == []


def test_certificates_of_other_times_are_left_out_unless_used(tmp_path: Path) -> None:
    report = audit(tmp_path, used(tmp_path), issued=NOW - 900_000, not_after=NOW - 800_000)
    assert sorted(one.identity for one in report.certificates) == [ORDERS, WEB]
    assert report.issued == 3


def test_a_log_that_was_edited_is_told(tmp_path: Path) -> None:
    log = Path(issuance(tmp_path / "issuance.log"))
    log.write_bytes(log.read_bytes().replace(b"10.0.0.1", b"10.0.0.2", 1))
    report = audit_certs(used(tmp_path), PERIOD, NOW, str(log), None)
    assert (report.log.is_whole, report.log.broken_line) == (False, 2)


def test_unreadable_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gone"):
        audit_certs(used(tmp_path), PERIOD, NOW, str(tmp_path / "gone"), None)


@pytest.mark.parametrize("text", ['{"entries": [{"kind": 1}]}', '{"revoked": []}', '[]', ''])
def test_a_list_that_cannot_be_read_does_not_count_as_an_empty_one(tmp_path: Path, text: str) -> None:
    log, bad = issuance(tmp_path / "issuance.log"), tmp_path / "bad.json"
    bad.write_text(text)
    for path in bad, tmp_path / "gone.json":
        with pytest.raises(ConfigError, match=path.name):
            audit_certs(used(tmp_path), PERIOD, NOW, log, str(path))
