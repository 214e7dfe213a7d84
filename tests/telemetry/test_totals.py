from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.totals import Totals

REQUESTS = "bartizan_requests_total"
RULE = (("rule", 'a {b} "c" 1'),)


def text(count: int, *, ready: float = 1, not_after: float = 100, skew: float = 0) -> str:
    """What a process says."""
    metrics = Metrics()
    metrics.count(REQUESTS, RULE, by=count)
    metrics.count(REQUESTS, by=count)
    return metrics.render({
        "bartizan_ready": ready, "bartizan_identity_not_after_seconds": not_after, "bartizan_clock_skew_seconds": skew,
        "bartizan_bugs_total": 1,
    })


def values(told: str) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in told.splitlines() if not line.startswith("#")]
    assert len({name for name, _, _ in lines}) == len(lines)
    return {name: float(value) for name, _, value in lines}


def test_one_process_is_told_as_it_tells_itself() -> None:
    totals = Totals()
    totals.take(1, text(3))
    assert totals.render({1}, {}) == text(3)


def test_counters_are_added_and_of_gauges_the_worst_is_told() -> None:
    totals = Totals()
    totals.take(1, text(3, ready=1, not_after=300, skew=1))
    totals.take(2, text(4, ready=0, not_after=200, skew=2))
    assert values(totals.render({1, 2}, {})) == {
        REQUESTS: 7, REQUESTS + '{rule="a {b} \\"c\\" 1"}': 7, "bartizan_bugs_total": 2,
        "bartizan_ready": 0, "bartizan_identity_not_after_seconds": 200, "bartizan_clock_skew_seconds": 2,
    }


def test_each_name_is_explained_once() -> None:
    totals = Totals()
    totals.take(1, text(1))
    totals.take(2, text(1))
    assert totals.render({1, 2}, {}).count(f"# TYPE {REQUESTS} counter\n") == 1


def test_no_sum_falls_when_a_process_is_silent_ends_or_begins_anew() -> None:
    totals = Totals()
    totals.take(1, text(3, ready=1))
    totals.take(2, text(4, ready=0))
    assert values(totals.render({1}, {}))[REQUESTS] == 7
    assert values(totals.render({1}, {}))["bartizan_ready"] == 1     # the gauge of who is silent is not told
    totals.ended(2)
    assert values(totals.render({1}, {}))[REQUESTS] == 7
    totals.take(2, text(1))
    assert values(totals.render({1, 2}, {}))[REQUESTS] == 8
    totals.ended(2)
    totals.ended(2)     # before it was asked for the first time
    assert values(totals.render({1}, {}))[REQUESTS] == 8


def test_what_is_said_besides_goes_before() -> None:
    totals = Totals()
    totals.take(1, text(1))
    told = values(totals.render({1}, {"bartizan_ready": 0, "bartizan_workers": 2}))
    assert (told["bartizan_ready"], told["bartizan_workers"]) == (0, 2)
