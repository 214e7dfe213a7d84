from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.audit.coverage import Coverage, Gap, KnownPod
from injector.audit.mtls import Mtls, Pair, audit_mtls
from injector.audit.store import Store, open_store
from injector.audit.tally import OTHERS
from sidecar.model.ledger import Entry

from .support import NOW, ORDERS, PAYMENTS, PERIOD, SERIALS, WEB, World

BATCH = Coverage(
    pods=(KnownPod("legacy", "batch-7", "u", "batch", ("10.0.9.9",)),),
    gaps=(Gap("permissive", "shop", "orders", "Deployment/orders", "why", "cure", 1, NOW + 60),),
)


def audit(store: Store) -> Mtls:
    return audit_mtls(store, PERIOD, NOW)


def pairs(report: Mtls) -> dict[tuple[str, str], Pair]:
    return {(pair.caller, pair.destination): pair for pair in report.pairs}


def test_pairs_are_counted_once_however_many_ends_tell(tmp_path: Path) -> None:
    world = World(tmp_path)
    for _ in range(3):
        world.mtls(WEB, ORDERS)
    world.mtls(WEB, ORDERS, ends="caller")
    world.mtls(ORDERS, PAYMENTS, ends="destination")
    report = audit(world.store())
    pair = pairs(report)[WEB, ORDERS]
    assert (pair.connections, pair.mtls, pair.both_ends, pair.one_end) == (4, 4, 3, 1)
    assert (pair.requests, pair.mtls_requests, pair.sent, pair.received) == (12, 12, 1200, 3600)
    assert pairs(report)[ORDERS, PAYMENTS].one_end == 1
    assert report.paths == report.would_break == []


def test_interim_lines_count_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.mtls(WEB, ORDERS, ends="caller", is_open=True, requests=1)
    entry = world.ledgers["shop/web-1"][-1]
    world.write("shop/web-1", msgspec.structs.replace(entry, requests=5), msgspec.structs.replace(entry, requests=9, is_open=False))
    assert (audit(world.store()).total.connections, audit(world.store()).total.requests) == (1, 9)


def test_plaintext_has_its_path_and_its_caller_no_name(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.mtls(WEB, ORDERS)
    world.plaintext(ORDERS)
    world.plaintext(ORDERS, "[10.0.9.9]:4711")
    world.plaintext(ORDERS, "10.0.9.9:4711", dst="[fd00::1]:9090", peer=WEB)      # a claim of an identity is none
    report = audit(world.store(BATCH))
    assert pairs(report)["", ORDERS].plaintext == 3
    assert pairs(report)[WEB, ORDERS].connections == 1
    first, second = report.paths
    assert (first.source, first.workload, first.destination, first.port, first.connections) == (
        "10.0.9.9", "legacy/batch-7", ORDERS, "8080", 2)
    assert (first.until, second.port) == (NOW + 60, "9090")
    [breaks] = report.would_break
    assert (breaks.caller, breaks.workload, breaks.destinations, breaks.connections) == ("10.0.9.9", "legacy/batch-7", [ORDERS], 3)


def test_a_contradiction_is_no_mtls(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.mtls(WEB, ORDERS)
    server = world.ledgers["shop/orders-1"][-1]
    world.ledgers["shop/orders-1"][-1] = msgspec.structs.replace(server, peer_serial="f" * 32)
    report = audit(world.store())
    assert (report.total.mtls, report.total.contradictory, report.total.plaintext) == (0, 1, 0)
    assert [(one.about, one.connections, one.example) for one in report.contradictions] == [("the caller's certificate", 1, server.id)]


def test_other_bytes_are_told_and_mtls_all_the_same(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.mtls(WEB, ORDERS)
    world.ledgers["shop/orders-1"][-1] = msgspec.structs.replace(world.ledgers["shop/orders-1"][-1], received=1)
    report = audit(world.store())
    assert (report.total.both_ends, [one.about for one in report.contradictions]) == (1, ["bytes"])


def test_evidence_behind_a_break_proves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    for _ in range(4):
        world.mtls(WEB, ORDERS)
    world.store()
    path = world.path("shop/web-1")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], *lines[3:]]))        # line 3 is gone
    report = audit(open_store([str(tmp_path)]))
    assert (report.total.mtls, report.total.both_ends, report.total.doubtful, report.total.one_end) == (4, 0, 3, 1)
    assert report.one_sided[0].cause == "broken"


def test_refusals_by_caller_and_reason(tmp_path: Path) -> None:
    world = World(tmp_path)
    for _ in range(2):
        world.refused(ORDERS, peer=WEB, detail="no")
    world.refused(ORDERS, source="10.0.9.9:1", code="BZ0103", time=NOW - 5)
    world.refused(WEB, direction="outbound", peer="", dst="10.96.0.9:80", code="BZ0502", decision="failed")
    world.refused(WEB, direction="outbound", host="evil.example", code="BZ0201")      # egress tells of it
    world.mtls(WEB, PAYMENTS, decision="refused", code="BZ0504", ends="destination")
    found = {(one.caller, one.destination, one.code, one.decision): one for one in audit(world.store()).refusals}
    assert {key: one.count for key, one in found.items()} == {
        (WEB, ORDERS, "BZ0102", "refused"): 2, ("10.0.9.9", ORDERS, "BZ0103", "refused"): 1,
        (WEB, "10.96.0.9:80", "BZ0502", "failed"): 1, (WEB, PAYMENTS, "BZ0504", "refused"): 1,
    }
    assert found[WEB, ORDERS, "BZ0102", "refused"].detail == "no"


def test_what_never_leaves_a_pod_and_what_leaves_the_mesh_is_no_pair(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.plaintext(ORDERS, security="in-process")
    world.egress(WEB, "api.stripe.com")
    report = audit(world.store())
    assert (report.total.connections, report.in_process, report.egress, report.pairs) == (0, 1, 1, [])


def test_strangers_cannot_fill_our_memory(tmp_path: Path) -> None:
    """No more paths are told apart than the limit; the rest are counted all the same."""
    world = World(tmp_path)
    for number in range(20):
        world.plaintext(ORDERS, f"10.1.0.{number}")
    report = audit_mtls(world.store(), PERIOD, NOW, most_rows=5)
    assert len(report.paths) == 6
    assert sum(path.connections for path in report.paths) == report.total.plaintext == 20
    assert OTHERS in {path.destination for path in report.paths}


CALLS = st.lists(st.tuples(
    st.sampled_from(list(SERIALS)), st.sampled_from(list(SERIALS)), st.sampled_from(["both", "caller", "destination", "plaintext"]),
    st.integers(0, 5), st.sampled_from(["mtls", "passthrough", "in-process", "", "other"]),
), max_size=30)


@given(calls=CALLS)
def test_the_totals_of_pairs_are_those_of_the_lines(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[str, str, str, int, str]],
) -> None:
    """Whatever is recorded: every connection of the mesh is in exactly one pair, and every part of a sum in exactly one column."""
    world = World(tmp_path_factory.mktemp("store"))
    world.write("shop/web-1", Entry("start"))
    ids: set[str] = set()
    requests = 0
    for caller, destination, ends, count, security in calls:
        if ends == "plaintext":
            world.plaintext(destination, security="plaintext", requests=count)
            ids.add(f"plain {len(ids)}")
        else:
            each = world.mtls(caller, destination, ends=ends, security=security, requests=count)
            if security == "in-process":
                continue
            ids.add(each)
        requests += count
    report = audit(world.store())
    assert report.total.connections == len(ids)
    assert report.total.requests == requests
    for name in Pair.__struct_fields__[2:]:
        assert getattr(report.total, name) == sum(getattr(pair, name) for pair in report.pairs)
    for pair in (report.total, *report.pairs):
        assert pair.connections == pair.mtls + pair.contradictory + pair.plaintext + pair.passthrough
        assert pair.mtls == pair.both_ends + pair.one_end + pair.doubtful
    assert report.total.plaintext == sum(path.connections for path in report.paths if path.security == "plaintext")
    assert report.total.passthrough == sum(path.connections for path in report.paths if path.security == "passthrough")
    assert report.total.one_end == sum(one.connections for one in report.one_sided)
    assert report.total.contradictory == sum(one.connections for one in report.contradictions if one.about != "bytes")
