"""What is unusual, each kind with what is just not."""

import pytest

from injector.egress.anomalies import LEAST_VOLUME_BYTES, Anomaly, anomalies
from injector.egress.profile import DAY_S, HOUR_S, OTHERS, Profile, note, told
from sidecar.model.ledger import Entry
from tests.injector.audit.support import ORDERS, WEB

from .test_profile import NOW, entry, profile_of, refusal

MIB = 1 << 20
OBSERVED = {"(observed)": 1}


def taught(*entries: Entry, days: int = 7) -> Profile:
    """By an observation of an hour ago, at every hour of seven days, and by `entries`."""
    hours = [entry(at=NOW - hour * HOUR_S, sent=MIB, rules=OBSERVED) for hour in range(1, 7 * 24)]
    return profile_of(*hours, *entries, days=days)


def kinds(found: list[Anomaly]) -> list[str]:
    return [one.kind for one in found]


def after(profile: Profile, *entries: Entry, now: float = NOW + DAY_S) -> list[str]:
    """The kinds that `entries` raise, one after the other, learned meanwhile."""
    found = []
    for each in entries:
        found += kinds(anomalies(profile, each, now))
        said = told(each, now)
        if said is not None:
            note(profile, said)
    return found


def test_the_usual_is_nothing() -> None:
    assert after(taught(), entry(sent=MIB), entry(at=NOW + 60, sent=MIB)) == []


# -- a new host


def test_a_new_host_once() -> None:
    profile = taught()
    (found,) = anomalies(profile, entry("new.example"), NOW)
    assert found == Anomaly("new-host", WEB, "new.example", NOW, "reached a host that is new to it, or tried to")
    assert after(profile, entry("new.example"), entry("new.example")) == ["new-host"]


def test_a_new_host_that_was_refused() -> None:
    profile = taught()
    (found,) = anomalies(profile, refusal("new.example"), NOW)
    assert "was refused" in found.detail
    assert after(profile, refusal("new.example"), refusal("new.example"), entry("new.example")) == ["new-host"]


def test_bytes_without_a_name_are_of_their_address() -> None:
    assert [one.host for one in anomalies(taught(), entry("", dst="203.0.113.9:25"), NOW)] == ["203.0.113.9"]


def test_the_host_of_another_workload_is_new() -> None:
    other = entry("b.example", at=NOW - HOUR_S, local=ORDERS, rules=OBSERVED)
    assert kinds(anomalies(taught(other), entry("b.example"), NOW)) == ["new-host"]
    assert kinds(anomalies(taught(other), entry("b.example", local=ORDERS), NOW)) == []


def test_nothing_is_unusual_while_it_is_observed() -> None:
    assert after(taught(), entry("new.example", rules=OBSERVED, sent=100 * MIB)) == []


@pytest.mark.parametrize(("age_s", "expected"), [(DAY_S - 1, []), (DAY_S, ["new-host"])])
def test_what_was_never_observed_is_given_a_day(age_s: float, expected: list[str]) -> None:
    profile = profile_of(entry(at=NOW - age_s))
    assert kinds(anomalies(profile, entry("new.example"), NOW)) == expected


def test_a_workload_of_which_nothing_is_known() -> None:
    assert anomalies(Profile(7), entry(), NOW) == []


def test_what_is_forgotten_is_new_again() -> None:
    profile = taught(entry("old.example", at=NOW - 8 * DAY_S, rules=OBSERVED))
    assert kinds(anomalies(profile, entry("old.example"), NOW)) == ["new-host"]


def test_hosts_beyond_those_that_are_told_apart_are_one() -> None:
    profile = taught(*(entry(f"{number}.example", rules=OBSERVED) for number in range(2100)))
    assert OTHERS in profile.workloads[WEB].hosts
    assert kinds(anomalies(profile, entry("new.example"), NOW)) == []


# -- volume


@pytest.mark.parametrize(("sent", "expected"), [(3 * MIB, []), (3 * MIB + 1, ["volume"])])
def test_more_than_three_times_the_most(sent: int, expected: list[str]) -> None:
    assert kinds(anomalies(taught(), entry(sent=sent), NOW)) == expected


@pytest.mark.parametrize(("sent", "expected"), [(LEAST_VOLUME_BYTES - 1, []), (LEAST_VOLUME_BYTES, ["volume"])])
def test_a_mebibyte_at_least(sent: int, expected: list[str]) -> None:
    profile = taught(entry("small.example", at=NOW - HOUR_S, sent=10, rules=OBSERVED))
    assert kinds(anomalies(profile, entry("small.example", sent=sent), NOW)) == expected


def test_an_hour_is_added_up_and_the_next_begins_anew() -> None:
    pieces = [entry(at=NOW + second, sent=MIB) for second in range(3)]
    assert after(taught(), *pieces, entry(at=NOW + 100, sent=1)) == ["volume"]
    assert after(taught(), *pieces, entry(at=NOW + HOUR_S, sent=MIB)) == []


def test_what_the_hour_before_had_is_usual_in_the_next() -> None:
    profile = taught()
    assert after(profile, entry(sent=10 * MIB)) == ["volume"]
    assert kinds(anomalies(profile, entry(at=NOW + HOUR_S, sent=30 * MIB), NOW + HOUR_S)) == []
    assert kinds(anomalies(profile, entry(at=NOW + HOUR_S, sent=31 * MIB), NOW + HOUR_S)) == ["volume"]


def test_a_connection_that_goes_on_is_noticed_while_it_does_and_counted_once() -> None:
    lines = [entry(at=NOW + 600 * number, sent=number * MIB, id="c", is_open=True) for number in range(1, 5)]
    profile = taught()
    assert after(profile, *lines[:3]) == []
    assert kinds(anomalies(profile, lines[3], NOW + DAY_S)) == ["volume"]
    assert kinds(anomalies(profile, entry(at=NOW + 2000, sent=3 * MIB, id="c"), NOW + DAY_S)) == []


def test_a_new_host_with_much_is_both() -> None:
    assert kinds(anomalies(taught(), entry("new.example", sent=MIB), NOW)) == ["new-host", "volume"]


# -- the hour of the day


def by_day(active: int, days: int = 7) -> Profile:
    """Active at noon alone, so many days before."""
    return profile_of(*(entry(at=NOW - day * DAY_S, rules=OBSERVED) for day in range(active + 1)), days=days)


@pytest.mark.parametrize(("days", "expected"), [(6, []), (7, ["period"])])
def test_an_hour_in_which_it_never_was_active(days: int, expected: list[str]) -> None:
    profile = by_day(days)
    assert kinds(anomalies(profile, entry(at=NOW + 30 * 60), NOW + HOUR_S)) == []
    assert kinds(anomalies(profile, entry(at=NOW + HOUR_S), NOW + HOUR_S)) == expected


def test_the_hour_is_the_workloads_whichever_host_it_was() -> None:
    profile = by_day(7)
    found = [one for said in (entry(at=NOW + HOUR_S), refusal("a.example", NOW + HOUR_S)) for one in anomalies(profile, said, NOW + HOUR_S)]
    assert [one.key for one in found] == ["period", "period"]
    assert after(profile, entry(at=NOW + HOUR_S), entry(at=NOW + HOUR_S + 1)) == ["period"]


def test_as_many_days_as_the_profile_looks_back() -> None:
    assert kinds(anomalies(by_day(2, days=2), entry(at=NOW + HOUR_S), NOW + HOUR_S)) == ["period"]
    assert kinds(anomalies(by_day(1, days=2), entry(at=NOW + HOUR_S), NOW + HOUR_S)) == []
