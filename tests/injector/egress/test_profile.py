"""What is learned of a workload, and what is forgotten."""

import random
from typing import Any

import msgspec
import pytest

from injector.egress.profile import (
    DAY_S,
    HOUR_S,
    MOST_HOSTS,
    MOST_ID,
    MOST_OPEN,
    MOST_REFUSED,
    MOST_WORKLOADS,
    OTHERS,
    Profile,
    forget,
    learn,
    note,
    told,
)
from sidecar.model.ledger import Entry
from tests.injector.audit.support import ORDERS, WEB

DAY = 20_000                        # since 1970
NOW = float(DAY * DAY_S + 12 * HOUR_S)


def entry(host: str = "a.example", at: float = NOW, sent: int = 100, **more: Any) -> Entry:
    made = Entry(
        "connection", id=f"{host} {at}", time=at, opened=at, direction="outbound", security="passthrough", local=WEB, host=host,
        dst="203.0.113.7:443", rules={"partners/a": 1}, spoken={"tls:443": 1}, sent=sent,
    )
    return msgspec.structs.replace(made, **more)


def refusal(host: str, at: float = NOW) -> Entry:
    return entry(host, at, 0, kind="refusal", decision="refused", code="BZ0201", id="")


def profile_of(*entries: Entry, now: float = NOW, days: int = 7) -> Profile:
    return learn(entries, now, days)


def test_hosts_and_hours() -> None:
    profile = profile_of(entry(at=NOW - HOUR_S), entry(at=NOW), entry("b.example", at=NOW - 1), refusal("c.example"))
    workload = profile.workloads[WEB]
    assert {name: (host.first, host.last) for name, host in workload.hosts.items()} == {
        "a.example": (NOW - HOUR_S, NOW), "b.example": (NOW - 1, NOW - 1), "c.example": (NOW, NOW)}
    assert workload.hours == {11: DAY, 12: DAY}
    assert workload.first == NOW - HOUR_S


def test_all_pods_of_an_identity_teach_one_profile_and_others_another() -> None:
    profile = profile_of(entry(), entry("b.example"), entry("c.example", local=ORDERS))
    assert {identity: set(workload.hosts) for identity, workload in profile.workloads.items()} == {
        WEB: {"a.example", "b.example"}, ORDERS: {"c.example"}}


@pytest.mark.parametrize("other", [
    Entry("start"), Entry("head"), entry(direction="inbound"), entry(security="mtls", peer=ORDERS), entry(local=""),
    entry(caller="anybody"),
    entry(security="plaintext", rules={"service/orders.shop": 1}), entry(kind="refusal", decision="refused", code="BZ0207"),
    entry(kind="refusal", decision="refused", code="BZ0206", rules={"service/orders.shop": 1}),
])
def test_what_is_no_egress_teaches_nothing(other: Entry) -> None:
    assert told(other, NOW) is None
    assert profile_of(other).workloads == {}


def test_the_busiest_hour_of_each_day_once_it_is_over() -> None:
    hours = [(0, 10), (0, 20), (1, 50), (2, 5), (24, 7), (25, 0)]
    profile = profile_of(*(entry(at=NOW - 2 * DAY_S + hour * HOUR_S + index, sent=sent) for index, (hour, sent) in enumerate(hours)))
    assert profile.workloads[WEB].hosts["a.example"].most == {DAY - 2: 50, DAY - 1: 7}
    assert profile.workloads[WEB].hosts["a.example"].sent == 0


def test_what_is_observed_is_learned_at_once() -> None:
    profile = profile_of(entry(sent=70, rules={"(observed)": 1}))
    assert profile.workloads[WEB].hosts["a.example"].most == {DAY: 70}
    assert profile.workloads[WEB].known == NOW
    assert profile_of(entry()).workloads[WEB].known == NOW + DAY_S


def test_a_connection_that_goes_on_is_counted_once() -> None:
    """Its lines tell of all that was sent so far."""
    lines = [entry(at=NOW + second, sent=sent, id="c", is_open=sent < 600) for second, sent in ((0, 100), (1, 350), (2, 600))]
    profile = profile_of(*lines, now=NOW + 2)
    assert profile.workloads[WEB].hosts["a.example"].sent == 600
    assert profile.open == {}


def test_connections_that_never_end_take_no_more_room() -> None:
    profile = Profile(7)
    for number in range(MOST_OPEN + 10):
        said = told(entry(id=str(number), is_open=True), NOW)
        assert said is not None
        note(profile, said)
    assert len(profile.open) == MOST_OPEN
    assert "0" not in profile.open, "the oldest make room, or those that died with their sidecar would keep it for ever"
    assert str(MOST_OPEN + 9) in profile.open
    said = told(entry(id="x" * 16_000, is_open=True), NOW)
    assert said is not None
    assert len(said.connection) == MOST_ID


def test_workloads_take_no_more_room() -> None:
    profile = Profile(7)
    for number in range(MOST_WORKLOADS + 10):
        said = told(entry(caller=f"spiffe://example.org/ns/shop/sa/a{number}"), NOW)
        assert said is not None
        note(profile, said)
    assert len(profile.workloads) == MOST_WORKLOADS


@pytest.mark.parametrize("host", [
    "x" * 16_000 + ".example", "\x1b]0;mine\x07.example", "a\u202e.example", "a\nb.example", "a\u009b2J", "*.example.com", "A.EXAMPLE",
])
def test_what_no_sidecar_writes_for_a_name_is_one_of_the_others(host: str) -> None:
    """So that nobody can write to a terminal with it, nor fill the memory."""
    said = told(entry(host), NOW)
    assert said is not None
    assert said.host == OTHERS


@pytest.mark.parametrize("host", ["a.example", "_srv.a.example", "203.0.113.7", "[2001:db8::1]", "intranet"])
def test_a_name_is_a_name(host: str) -> None:
    said = told(entry(host), NOW)
    assert said is not None
    assert said.host == host.strip("[]")


def test_names_take_no_more_room_and_refused_ones_push_out_no_other() -> None:
    refused = [refusal(f"r{number}.example", NOW + number) for number in range(MOST_REFUSED + 50)]
    reached = [entry(f"h{number}.example", NOW + 5000 + number) for number in range(MOST_HOSTS)]
    hosts = profile_of(*refused, *reached, now=NOW + 10_000).workloads[WEB].hosts
    assert len(hosts) == MOST_HOSTS
    assert OTHERS in hosts
    assert sum(name.startswith("h") for name in hosts) > MOST_HOSTS - MOST_REFUSED - 2


def test_a_time_to_come_is_now() -> None:
    said = told(entry(at=NOW + 10 * DAY_S), NOW)
    assert said is not None
    assert said.time == NOW


@pytest.mark.parametrize("seed", range(3))
def test_the_order_does_not_matter(seed: int) -> None:
    rng = random.Random(seed)
    entries = [entry(f"{number % 7}.example", NOW - number * 500.0, number) for number in range(500)]
    shuffled = rng.sample(entries, len(entries))
    assert profile_of(*shuffled) == profile_of(*entries)


def test_what_is_not_seen_for_long_is_forgotten() -> None:
    profile = profile_of(entry("old.example", NOW - 6.5 * DAY_S), entry(at=NOW - 3 * DAY_S), now=NOW)
    assert set(profile.workloads[WEB].hosts) == {"old.example", "a.example"}
    forget(profile, NOW + DAY_S)
    assert set(profile.workloads[WEB].hosts) == {"a.example"}
    forget(profile, NOW + 5 * DAY_S)
    assert profile.workloads == {}
    assert profile_of(entry(at=NOW - 8 * DAY_S)).workloads == {}


def test_it_survives_its_file() -> None:
    profile = profile_of(*(entry(f"{number}.example", NOW - number * HOUR_S, is_open=number % 2 == 0) for number in range(50)))
    assert msgspec.json.decode(msgspec.json.encode(profile), type=Profile) == profile
