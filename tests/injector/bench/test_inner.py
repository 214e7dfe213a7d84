from typing import cast

import pytest

from injector.bench.errors import BenchError, NotAvailable
from injector.bench.inner import order, peers, run
from injector.bench.measures import Numbers
from injector.bench.proxies import PROXIES, Proxy
from injector.bench.workloads import WORKLOADS, Workload
from injector.bench.world import World

NOWHERE = cast(World, None)     # these workloads serve nothing


def test_each_round_begins_with_another_proxy() -> None:
    assert {order(PROXIES, number)[0].name for number in range(len(PROXIES))} == {proxy.name for proxy in PROXIES}
    assert all(set(order(PROXIES, number)) == set(PROXIES) for number in range(9))


def test_each_is_measured_in_what_it_is_compared_in() -> None:
    http1, opaque = (next(workload for workload in WORKLOADS if workload.name == name) for name in ("b", "g_plain"))
    assert peers(http1, is_quick=False) == list(PROXIES)
    assert [proxy.name for proxy in peers(opaque, is_quick=False)] == ["bartizan", "envoy", "nginx", "haproxy"]


def test_quick_is_beside_the_reference_alone_after_the_first() -> None:
    assert peers(WORKLOADS[0], is_quick=True) == list(PROXIES)
    assert [proxy.name for proxy in peers(WORKLOADS[1], is_quick=True)] == ["bartizan", "envoy"]


@pytest.mark.parametrize("fails", [NotAvailable("it cannot"), BenchError("it cannot"), OSError("it cannot")])
def test_rounds_are_interleaved_and_what_fails_is_not_tried_again(fails: Exception) -> None:
    asked: list[str] = []

    def work(_: World, proxy: Proxy, seconds: float) -> Numbers:
        asked.append(proxy.name)
        if proxy.name == "nginx":
            raise fails
        return {"cpu_us": seconds}

    results = run(NOWHERE, [Workload("w", "", "", work)], lambda _: PROXIES[:3], 2, 5)
    assert asked == ["bartizan", "envoy", "nginx", "envoy", "bartizan"]
    assert results == {"w": {"bartizan": ([{"cpu_us": 5}] * 2, ""), "envoy": ([{"cpu_us": 5}] * 2, ""), "nginx": ([], "it cannot")}}
