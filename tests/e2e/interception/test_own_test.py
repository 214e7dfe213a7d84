"""The sidecar's own test of the packet rules: each one that is gone is noticed and named."""

import resource
import socket
from functools import partial

import pytest
import trio

from sidecar import intercept
from sidecar.control.redirect_check import FAMILIES, UNTESTED, RedirectVerdict, run_redirect_check
from sidecar.intercept import rules
from sidecar.model import ports
from sidecar.net.watched import Watched
from tests.e2e.interception.support import NETNS, UIDS, Pod, why
from tests.helpers.netns import DOMAIN, NODE

pytestmark = NETNS


async def test_the_rules_are_found_whole_and_no_canary_leaves(pod: Pod) -> None:
    pod.left()
    assert await pod.check() == RedirectVerdict()
    assert pod.left() == []


async def test_the_canaries_of_the_filter_never_leave(pod: Pod) -> None:
    pod.flush()
    pod.left()
    await pod.check()
    groups = [socket.inet_pton(DOMAIN[family], canary[family]) for family in FAMILIES
              for canary in (ports.FILTER_CANARY, ports.EXEMPT_CANARY)]
    assert not [packet for packet in pod.left() if any(group in packet for group in groups)]


@pytest.mark.parametrize("family", [4, 6])
async def test_each_rule_that_is_gone_is_noticed_and_named(pod: Pod, family: intercept.Family) -> None:
    for line in rules(family, pod.exemption, UIDS):
        pod.delete(family, line)
        expected = (f"IPv{family}: {why(line)}",) if pod.is_asked(line) else ()
        assert (await pod.check()).lost == expected, line
        pod.load()
    assert await pod.check() == RedirectVerdict()


async def test_what_passes_takes_nothing_from_the_test(passing: Pod) -> None:
    """And needs no test itself: a rule that is gone lets less pass."""
    assert await passing.check() == RedirectVerdict()
    for line in rules(4, passing.exemption, UIDS, passing.passage):
        passing.delete(4, line)
        assert (await passing.check()).lost == ((f"IPv4: {why(line)}",) if passing.is_asked(line) else ()), line
        passing.load()


async def test_all_rules_gone(pod: Pod) -> None:
    pod.flush()
    assert (await pod.check()).lost == tuple(f"IPv{family}: {rule}" for family in (4, 6) for rule in (
        intercept.DNS_REDIRECT, intercept.TCP_REDIRECT, intercept.SENDING_GUARD, intercept.LOCAL_GUARD))


async def test_the_verdict_follows_what_happens(pod: Pod) -> None:
    guard = next(line for line in rules(6, pod.exemption, UIDS) if pod.is_asked(line) and why(line) == intercept.SENDING_GUARD)
    verdict = Watched(UNTESTED)
    with trio.fail_after(10):
        async with pod.serving() as arrivals, trio.open_nursery() as nursery:
            nursery.start_soon(partial(run_redirect_check, verdict, arrivals, interval_s=0.01, within_s=1, mark=pod.mark))
            assert await verdict.wait_change(UNTESTED) == RedirectVerdict()
            pod.delete(6, guard)
            lost = await verdict.wait_change(RedirectVerdict())
            assert lost == RedirectVerdict((f"IPv6: {intercept.SENDING_GUARD}",))
            pod.load()
            assert await verdict.wait_change(lost) == RedirectVerdict()
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, limit[1]))
            try:
                failed = await verdict.wait_change(RedirectVerdict())
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            assert failed.lost[0].startswith("the test itself failed: [Errno 24]")
            assert await verdict.wait_change(failed) == RedirectVerdict()
            nursery.cancel_scope.cancel()


async def test_one_late_arrival_is_no_loss(pod: Pod) -> None:
    assert await pod.check(deaf_for=1) == RedirectVerdict()


async def test_without_a_default_route_the_guards_are_still_judged(pod: Pod) -> None:
    guards = [(family, line) for family in FAMILIES for line in rules(family, pod.exemption, UIDS)
              if why(line) == intercept.SENDING_GUARD]
    routes = [(family, f"default via {NODE[family]}") for family in (4, 6)]
    for family, route in routes:
        pod.space.run(f"ip -{family} route del {route}")
    try:
        assert await pod.check() == RedirectVerdict()
        for family, line in guards:
            pod.delete(family, line)
        assert (await pod.check()).lost == tuple(f"IPv{family}: {intercept.SENDING_GUARD}" for family in (4, 6))
    finally:
        for family, route in routes:
            pod.space.run(f"ip -{family} route add {route}")
