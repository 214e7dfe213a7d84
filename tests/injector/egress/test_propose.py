"""What is proposed, read back by the compiler: all that was seen is let out, and nothing else is."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.audit.period import Period
from injector.cli.analyze import analyze
from injector.cluster import Cluster
from injector.compile import compile_workload
from injector.compile.last_good import LastGood
from injector.egress.propose import MANY_NAMES, propose
from injector.egress.seen import Place, Seen, Workload, seen
from injector.yaml_text import read_all
from sidecar.model.address import Address
from sidecar.model.decision import Denied
from sidecar.model.identity import parse
from sidecar.policy.egress import Kind, OutboundTable
from tests.injector.audit.support import NOW, PAYMENTS, WEB, World

from .support import SINCE, made, refuse, tell

PERIOD = Period(SINCE, NOW)
KINDS: tuple[Kind, ...] = ("plain", "tls", "tcp")


def objects(text: str) -> list[dict[str, Any]]:
    return [document.data for document in read_all(text, 1 << 20) if document.data]


def table(text: str, identity: str = WEB) -> OutboundTable:
    """The judge of a pod of that workload, once the proposal is applied: the policies, and the annotation on its pod."""
    _, namespace, account = parse(identity).removeprefix("spiffe://").replace("/ns/", "/").replace("/sa/", "/").split("/")
    found = objects(text)
    for pod in (one for one in found if one["kind"] == "Pod"):
        pod["metadata"]["uid"] = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        pod["status"] = {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]}
    cluster = Cluster.of(found)
    assert cluster.problems == ()
    compiled = compile_workload(cluster, f"{namespace}/{account}", "mesh", LastGood())
    assert compiled is not None
    assert compiled.problems == ()
    return OutboundTable(compiled.snapshot.outbound)


def let_out(judge: OutboundTable, names: list[str], ports: list[int]) -> set[tuple[str, str, int]]:
    """Of all that could be asked for."""
    hosts = {(name, kind, port) for name in names for port in ports for kind in KINDS
             if not isinstance(judge.host(name, port, kind, NOW), Denied)}
    ranges = {(name, "tcp", port) for name in names if name[0].isdigit() for port in ports
              if judge.range(Address(name, port)) is not None}
    return hosts | ranges


NAMES = ["a.example", "b.a.example", "c.example", "x.c.example", "203.0.113.7", "203.0.113.8"]
PORTS = [25, 80, 443, 5432, 8080, 8443]
ACCEPTED = settings(deadline=None, max_examples=60)


@ACCEPTED
@given(st.sets(st.tuples(
    st.sampled_from(NAMES), st.sampled_from([("plain", 80), ("plain", 8080), ("tls", 443), ("tls", 8443), ("tcp", 25), ("tcp", 5432)]),
), min_size=1))
def test_all_that_was_seen_is_let_out_and_nothing_else_is(ways: set[tuple[str, tuple[str, int]]]) -> None:
    """Any set of places: a proposal, compiled, permits each and no other of all names, kinds and ports."""
    places: dict[str, Place] = {}
    expected = set()
    for name, (kind, port) in sorted(ways):
        is_host = not name[0].isdigit()
        if is_host and kind == "tcp":
            continue        # an observation has no synthetic addresses: names are reached by HTTP or TLS
        places.setdefault(name, Place(name, rules={"(observed)"})).ports(kind if is_host else "tcp").add(port)
        expected.add((name, kind if is_host else "tcp", port))
    if places:
        text = propose(Seen({WEB: Workload("shop", "web", places)}))
        assert let_out(table(text), NAMES, PORTS) == expected


def test_from_ledger_to_judge(tmp_path: Path) -> None:
    world = World(tmp_path)
    tell(world, "plain.example", "plain:80")
    tell(world, "both.example", "plain:8080")
    tell(world, "both.example", "tls:443")
    tell(world, "own.example", "tls:8443")
    tell(world, "", "tcp:5432", dst="203.0.113.7:5432")
    tell(world, "pay.example", "tls:443", local=PAYMENTS)
    text = propose(seen(world.store(), PERIOD))
    (tmp_path / "proposal.yaml").write_text(text)
    assert analyze([str(tmp_path / "proposal.yaml")]) == []
    names, ports = ["plain.example", "both.example", "own.example", "pay.example", "203.0.113.7"], [80, 443, 5432, 8080, 8443]
    assert let_out(table(text), names, ports) == {
        ("plain.example", "plain", 80), ("both.example", "plain", 8080), ("both.example", "tls", 443), ("own.example", "tls", 8443),
        ("203.0.113.7", "tcp", 5432),
    }
    assert let_out(table(text, PAYMENTS), names, ports) == {("pay.example", "tls", 443)}


def test_plaintext_stays_plaintext_and_is_pointed_out(tmp_path: Path) -> None:
    text = propose(seen(made(tmp_path, ("a.example", "plain:80"), ("a.example", "tls:443"), ("b.example", "plain:80")), PERIOD))
    judge = table(text)
    for name in ("a.example", "b.example"):
        approval = judge.named(name)
        assert approval is not None
        assert approval.tls is None
    assert text.count("allowPlaintext: true") == 2
    assert text.count("It speaks TLS, too, on port 443") == 1       # where the other way was seen to be open


def test_what_was_originated_stays_so(tmp_path: Path) -> None:
    world = World(tmp_path)
    tell(world, "a.example", "plain:80", security="tls", dst="203.0.113.7:8443", rule="partners/a.example")
    text = propose(seen(world.store(), PERIOD))
    approval = table(text).named("a.example")
    assert approval is not None
    assert approval.tls is not None
    assert (approval.plain_ports, approval.tls_ports, approval.tls.port) == ((80,), (), 8443)
    assert 'Approved already by "partners/a.example"' in text
    assert "allowPlaintext" not in text


def test_what_was_refused_is_marked_and_never_plaintext(tmp_path: Path) -> None:
    world = World(tmp_path)
    refuse(world, "a.example", "plain:80")
    refuse(world, "", "tcp:80", "BZ0202", dst="169.254.169.254:80")
    text = propose(seen(world.store(), PERIOD, with_refused=True))
    assert text.count("# Refused whenever it was tried.") == 2
    assert "allowPlaintext" not in text
    assert "special address" in text
    assert let_out(table(text), ["a.example", "169.254.169.254"], [80, 443]) == {
        ("a.example", "plain", 80), ("169.254.169.254", "tcp", 80)}


def test_a_port_that_spoke_both_is_asked_for_as_tls(tmp_path: Path) -> None:
    text = propose(seen(made(tmp_path, ("a.example", "plain:8443"), ("a.example", "tls:8443")), PERIOD))
    assert let_out(table(text), ["a.example"], [8443]) == {("a.example", "tls", 8443)}
    assert "was spoken to in plain HTTP, too" in text


@pytest.mark.parametrize(("count", "is_suggested"), [(MANY_NAMES, False), (MANY_NAMES + 1, True)])
def test_a_wildcard_is_suggested_and_not_proposed(count: int, is_suggested: bool, tmp_path: Path) -> None:
    names = [f"h{number}.parent.example" for number in range(count)]
    text = propose(seen(made(tmp_path, *((name, "tls:443") for name in names), ("h.example", "tls:443")), PERIOD))
    assert ("# 6 names below parent.example" in text) is is_suggested
    assert let_out(table(text), [*names, "other.parent.example"], [443]) == {(name, "tls", 443) for name in names}
    top = [(f"h{number}.example", "tls:443") for number in range(count)]
    assert "*.example" not in propose(seen(made(tmp_path / "top", *top), PERIOD))


def test_a_rule_cannot_leave_its_comment(tmp_path: Path) -> None:
    world = World(tmp_path)
    tell(world, "a.example", "tls:443", rule='x\n- {cidr: "0.0.0.0/0"}\n')
    text = propose(seen(world.store(), PERIOD))
    assert let_out(table(text), ["a.example", "203.0.113.7"], [443]) == {("a.example", "tls", 443)}


def test_nothing_seen_is_nothing_proposed() -> None:
    assert propose(Seen()) == ""
