"""Facts to verdict. Where the facts come from, and the loop around them, tests/e2e/interception shows with real rules."""

import pytest
from msgspec.structs import fields, replace

from sidecar import intercept
from sidecar.control.redirect_check import UNTESTED, RedirectVerdict, judge
from sidecar.net.canary import Facts

GOOD = Facts(tcp_arrived=True, dns_arrived=True, own_dns_arrived=False, could_send=True, guard_refused=True, local_stayed=True)
RULE = {
    "tcp_arrived": intercept.TCP_REDIRECT, "dns_arrived": intercept.DNS_REDIRECT, "own_dns_arrived": intercept.NAT_EXEMPTION,
    "could_send": intercept.SENDING_EXEMPTION, "guard_refused": intercept.SENDING_GUARD, "local_stayed": intercept.LOCAL_GUARD,
}


def test_good_facts_show_no_loss() -> None:
    assert judge(4, GOOD) == ()


@pytest.mark.parametrize("fact", [field.name for field in fields(Facts)])
def test_each_fact_speaks_for_one_rule(fact: str) -> None:
    assert judge(6, replace(GOOD, **{fact: not getattr(GOOD, fact)})) == (f"IPv6: {RULE[fact]}",)


@pytest.mark.parametrize("fact", [field.name for field in fields(Facts)])
def test_what_could_not_be_asked_is_not_judged(fact: str) -> None:
    assert judge(4, replace(GOOD, **{fact: None})) == ()


def test_before_the_first_test_nothing_is_intact() -> None:
    assert not UNTESTED.is_intact
    assert RedirectVerdict().is_intact
