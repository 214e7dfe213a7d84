"""What counts as seen, and that nobody but the workload's own whole chain says so."""

from pathlib import Path
from typing import Any

import pytest

from injector.audit.period import Period
from injector.audit.store import Store, open_store
from injector.egress.propose import propose
from injector.egress.seen import MOST_PLACES, MOST_RULES, Seen, seen
from sidecar.model.address import is_address
from tests.injector.audit.support import NOW, ORDERS, PAYMENTS, PODS, WEB, World

from .support import SINCE, made, refuse, tell

PERIOD = Period(SINCE, NOW)


def ways(found: Seen, identity: str = WEB) -> dict[str, tuple[set[int], set[int], set[int]]]:
    workload = found.workloads.get(identity)
    return {name: (place.plain, place.tls, place.tcp) for name, place in workload.places.items()} if workload else {}


def test_hosts_by_how_and_where_they_were_spoken_to(tmp_path: Path) -> None:
    store = made(tmp_path, ("a.example", "plain:80"), ("a.example", "plain:8080"), ("a.example", "tls:443"), ("b.example", "tcp:5432"))
    assert ways(seen(store, PERIOD)) == {"a.example": ({80, 8080}, {443}, set()), "b.example": (set(), set(), {5432})}


def test_bytes_without_a_name_are_of_the_address(tmp_path: Path) -> None:
    world = World(tmp_path)
    tell(world, "", "tcp:5432", dst="203.0.113.7:5432")
    tell(world, "", "tcp:25", dst="[2001:db8::7]:25")
    tell(world, "203.0.113.9", "plain:80", dst="198.51.100.1:80")      # HTTP whose Host is an address leads there
    found = seen(world.store(), PERIOD)
    assert ways(found) == {
        "203.0.113.7": (set(), set(), {5432}), "2001:db8::7": (set(), set(), {25}), "203.0.113.9": (set(), set(), {80}),
    }
    assert all(is_address(name) for name in found.workloads[WEB].places)


def test_sums_and_dates(tmp_path: Path) -> None:
    world = World(tmp_path)
    tell(world, "a.example", "tls:443", sent=5, opened=NOW - 900.0, time=NOW - 800.0)
    tell(world, "a.example", "tls:443", sent=7, rule="partners/a", opened=NOW - 700.0, time=NOW - 600.0)
    place = seen(world.store(), PERIOD).workloads[WEB].places["a.example"]
    assert (place.connections, place.sent, place.first, place.last) == (2, 12, NOW - 900, NOW - 600)
    assert place.rules == {"(observed)", "partners/a"}


@pytest.mark.parametrize("said", [
    {"dst": "203.0.113.7:x", "security": "tls"}, {"dst": "203.0.113.7:" + "9" * 5000, "security": "tls"},
    {"dst": "203.0.113.7:99999", "security": "tls"}, {"opened": -1e18}, {"opened": -1e308}, {"opened": NOW + 1e18}, {"opened": 1e308},
])
def test_nothing_that_a_ledger_says_ends_a_proposal(said: dict[str, Any], tmp_path: Path) -> None:
    world = World(tmp_path)
    tell(world, "a.example", "plain:80", **said)
    found = seen(world.store(), PERIOD)
    place = found.workloads[WEB].places["a.example"]
    assert place.tls_port is None or place.tls_port < 65536
    assert 0 < place.first <= place.last
    assert "a.example" in propose(found)


def test_names_and_rules_take_no_more_room(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(MOST_PLACES + 10):
        tell(world, f"h{number}.example", "tls:443")
    for number in range(MOST_RULES + 10):
        tell(world, "h0.example", "tls:443", rule=f"{number}" * 300)
    found = seen(world.store(), PERIOD)
    places = found.workloads[WEB].places
    assert (len(places), found.beyond) == (MOST_PLACES, 10)
    assert len(places["h0.example"].rules) == MOST_RULES
    assert max(map(len, places["h0.example"].rules)) == 253


def test_workloads_are_apart(tmp_path: Path) -> None:
    world = World(tmp_path)
    tell(world, "a.example", "tls:443")
    tell(world, "b.example", "tls:443", local=PAYMENTS)
    assert seen(world.store(), PERIOD).workloads.keys() == {WEB, PAYMENTS}
    assert seen(world.store(), PERIOD, only=("pay", "payments")).workloads.keys() == {PAYMENTS}


def test_what_the_mesh_did_is_no_egress(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.mtls(WEB, ORDERS)
    world.plaintext(ORDERS)
    found = seen(world.store(), PERIOD)
    assert (found.workloads, found.unclear) == ({}, 0)


@pytest.mark.parametrize("with_refused", [False, True])
def test_nobody_speaks_for_another(with_refused: bool, tmp_path: Path) -> None:
    world = World(tmp_path)
    tell(world, "a.example", "tls:443", led=ORDERS)
    refuse(world, "a.example", "tls:443", caller=ORDERS)
    assert seen(world.store(), PERIOD, with_refused=with_refused).workloads == {}


def test_the_period_counts(tmp_path: Path) -> None:
    world = World(tmp_path)
    tell(world, "old.example", "tls:443", time=NOW - 8 * 86400.0)
    assert seen(world.store(), PERIOD).workloads == {}


@pytest.mark.parametrize(("host", "spoken"), [
    ("a.example", "(others)"), ("a.example", "udp:53"), ("a.example", "tls:0"), ("a.example", "tls:70000"), ("a.example", "tls:443\n"),
    ("a.example\n- cidr: 0.0.0.0/0", "tls:443"), ("*.example.com", "tls:443"), ("*", "tls:443"), ("A.example", "tls:443"),
])
def test_what_no_sidecar_writes_is_left_out_and_counted(host: str, spoken: str, tmp_path: Path) -> None:
    found = seen(made(tmp_path, (host, spoken)), PERIOD)
    assert (found.workloads, found.unclear) == ({}, 1)


# -- refusals


def test_refusals_only_where_they_are_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    refuse(world, "a.example", "plain:80")
    refuse(world, "", "tcp:5432", "BZ0202", dst="203.0.113.7:5432")
    refuse(world, "b.example", "plain:80", "BZ0204")        # what no approval of a host cures
    store = world.store()
    assert seen(store, PERIOD).workloads == {}
    found = seen(open_store([str(tmp_path)]), PERIOD, with_refused=True)
    assert ways(found) == {"a.example": ({80}, set(), set()), "203.0.113.7": (set(), set(), {5432})}
    assert all(not place.rules and place.connections == 0 for place in found.workloads[WEB].places.values())


# -- evidence that cannot be believed


def spoilt(world: World, change: str) -> Store:
    world.store()
    path = world.path(PODS[WEB])
    lines = path.read_bytes().splitlines(keepends=True)
    if change == "edited":
        lines[1] = lines[1].replace(b"a.example", b"evil.test")
    elif change == "removed":
        del lines[1]
    path.write_bytes(b"".join(lines))
    return open_store([str(world.folder)])


@pytest.mark.parametrize("change", ["edited", "removed"])
@pytest.mark.parametrize("with_refused", [False, True])
def test_nothing_is_believed_behind_a_break(change: str, with_refused: bool, tmp_path: Path) -> None:
    world = World(tmp_path)
    for host in ("a.example", "b.example", "c.example"):
        tell(world, host, "tls:443")
        refuse(world, host, "tls:443")
    found = seen(spoilt(world, change), PERIOD, with_refused=with_refused)
    assert "evil.test" not in ways(found)
    assert not {"b.example", "c.example"} & ways(found).keys()
    assert found.doubtful >= 2


def test_a_ledger_speaks_for_no_other_namespace(tmp_path: Path) -> None:
    world = World(tmp_path)
    tell(world, "evil.example", "tls:443", local=PAYMENTS)
    world.ledgers[PODS[WEB]] = world.ledgers.pop(PODS[PAYMENTS])
    for with_refused in (False, True):
        refuse(world, "evil.example", "tls:443")
        found = seen(world.store(), PERIOD, with_refused=with_refused)
        assert PAYMENTS not in found.workloads
        assert found.doubtful >= 1
