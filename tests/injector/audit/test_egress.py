from pathlib import Path

from injector.audit.egress import MOST_VALUES, audit_egress, note
from injector.audit.present_egress import present_egress

from .support import NOW, ORDERS, PERIOD, WEB, World


def test_hosts_by_workload_and_manner(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.egress(WEB, "api.stripe.com")
    world.egress(WEB, "api.stripe.com", tls="TLSv1.3", dst="203.0.113.8:80")
    world.egress(WEB, "api.stripe.com", security="passthrough", peer_serial="", tls="")
    world.egress(ORDERS, "", security="passthrough", dst="[2001:db8::5]:5432")
    world.egress(ORDERS, "plain.example", security="plaintext")
    world.mtls(WEB, ORDERS)
    report = audit_egress(world.store(), PERIOD)
    assert {(one.caller, one.host, one.security): one.connections for one in report.reached} == {
        (WEB, "api.stripe.com", "tls"): 2, (WEB, "api.stripe.com", "passthrough"): 1, (ORDERS, "2001:db8::5", "passthrough"): 1,
        (ORDERS, "plain.example", "plaintext"): 1,
    }
    assert (report.connections, report.verified, report.passthrough, report.plaintext) == (5, 2, 2, 1)
    stripe = next(one for one in report.reached if one.security == "tls")
    assert (stripe.requests, stripe.sent, stripe.received, stripe.rule) == (4, 200, 4000, "stripe")
    assert (stripe.tls, stripe.serials, stripe.destinations) == (["TLSv1.2", "TLSv1.3"], ["e" * 32], ["203.0.113.7:80", "203.0.113.8:80"])


def test_whom_a_gateway_led_out(tmp_path: Path) -> None:
    """It is told with who says so: a workload that names another in its own ledger hides nothing."""
    world = World(tmp_path)
    world.egress(WEB, "api.stripe.com")
    world.egress(ORDERS, "api.stripe.com", caller=WEB)
    world.refused(ORDERS, direction="outbound", host="evil.example", code="BZ0201", caller=WEB)
    report = audit_egress(world.store(), PERIOD)
    assert [(one.caller, one.gateway, one.connections) for one in report.reached] == [(WEB, "", 1), (WEB, ORDERS, 1)]
    assert [(one.caller, one.gateway) for one in report.refusals] == [(WEB, ORDERS)]
    tables = present_egress(report).tables
    assert [row[0] for table in tables[:2] for row in table.rows] == ["shop/web", "shop/web by shop/orders", "shop/web by shop/orders"]


def test_a_host_that_never_answered_was_reached(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.egress(WEB, "slow.example", security="", received=0, detail="no byte came from the peer")
    report = audit_egress(world.store(), PERIOD)
    assert [(one.host, one.security, one.connections) for one in report.reached] == [("slow.example", "tls", 1)]


def test_refused_hosts_with_first_and_last_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    for ago in (500, 900, 700):
        world.refused(WEB, direction="outbound", host="evil.example", code="BZ0201", reason="host-not-approved", time=NOW - ago)
    world.egress(WEB, "api.stripe.com", decision="failed", security="", requests=0, rules={}, code="BZ0206", reason="server-not-verified")
    report = audit_egress(world.store(), PERIOD)
    assert [(one.host, one.code, one.count) for one in report.refusals] == [
        ("evil.example", "BZ0201", 3), ("api.stripe.com", "BZ0206", 1)]
    assert (report.refusals[0].first, report.refusals[0].last) == (NOW - 900, NOW - 500)
    assert (report.connections, report.refused) == (0, 4)


def test_a_record_behind_a_break_is_in_doubt(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.egress(WEB, "a.example")
    world.egress(WEB, "b.example")
    store = world.store()
    path = world.path("shop/web-1")
    path.write_bytes(path.read_bytes().replace(b"a.example", b"c.example"))
    report = audit_egress(store, PERIOD)
    assert [(one.host, one.doubtful) for one in report.reached] == [("b.example", 1), ("c.example", 1)]
    assert not report.ledgers[0].is_whole


def test_a_list_of_what_strangers_choose_cannot_grow() -> None:
    values: list[str] = []
    for number in range(100):
        note(values, f"{99 - number:02}")
        note(values, "")
    assert values == [f"{number:02}" for number in range(MOST_VALUES)]
