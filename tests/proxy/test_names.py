"""Names below approved wildcards. What becomes of those that are refused: test_dns_guard.py, test_egress.py, test_gateway.py."""

from functools import partial

from trio.testing import MockClock

from sidecar.model.decision import Denied
from sidecar.model.egress import DnsLimits, EgressHost, GatewayCaller, Outbound
from sidecar.model.reason import Reason
from sidecar.policy.rules import Rules
from sidecar.proxy.names import Names
from sidecar.telemetry.access_log import Record
from tests.helpers.gateway import gateway_rules
from tests.helpers.pki import WEB
from tests.helpers.runtime import rules

WILD = EgressHost("*.store.example", "store")
LONG = "a." * 60 + "store.example"


def limited(limits: DnsLimits) -> Rules:
    return rules(outbound=Outbound(dns=limits))


def record() -> Record:
    return Record(0.0, "outbound")


async def test_long_names_and_too_many(autojump_clock: MockClock) -> None:
    names, known = Names(), limited(DnsLimits(per_s=1, burst=2))
    denied = names.judge(LONG, WILD, known, record())
    assert isinstance(denied, Denied)
    assert (denied.reason, denied.rule) == (Reason.NAME_SUSPICIOUS, "store")
    found = [names.judge(f"{name}.store.example", WILD, known, record()) for name in "abcab"]
    assert [one is None for one in found] == [True, True, False, True, True]


async def test_what_is_approved_by_its_own_name_carries_nothing(autojump_clock: MockClock) -> None:
    names, known = Names(), limited(DnsLimits(per_s=1, burst=1))
    for name in (LONG, "a.store.example", "b.store.example"):
        assert names.judge(name, EgressHost(name, "exact"), known, record()) is None


async def test_what_is_observed_is_written_down(autojump_clock: MockClock) -> None:
    for mode, is_observed in (("observe", False), ("enforce", True)):
        told = record()
        assert Names().judge(LONG, WILD, limited(DnsLimits(mode=mode)), told, is_observed=partial(bool, is_observed)) is None
        assert told.detail.startswith("BZ0212 name-suspicious: ")


async def test_each_caller_has_its_own_and_who_is_led_no_longer_is_forgotten(autojump_clock: MockClock) -> None:
    names, ours = Names(), gateway_rules(GatewayCaller(WEB), dns=DnsLimits(per_s=1, burst=1))
    assert names.judge("a.store.example", WILD, ours, record(), caller="spiffe://example.org/ns/a/sa/gone") is None
    assert names.judge("a.store.example", WILD, ours, record()) is None
    assert names.judge("b.store.example", WILD, ours, record(), caller=WEB) is None
    assert names.judge("c.store.example", WILD, ours, record(), caller=WEB) is not None
    assert set(names._new) == {"", WEB}
