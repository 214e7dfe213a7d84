"""What counts as an arrival. The probes themselves meet real rules in tests/e2e/interception."""

import pytest

from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.net.canary import CanaryArrivals

CANARY = Address(ports.NAT_CANARY[4], ports.CANARY_PORT)


def test_a_connection_counts_by_canary_and_port() -> None:
    arrivals = CanaryArrivals()
    with arrivals.expect(Address(CANARY.host, 40000)) as event:
        assert arrivals.tcp(CANARY, 40001)
        assert arrivals.tcp(Address(ports.NAT_CANARY[6], ports.CANARY_PORT), 40000)
        assert not event.is_set()
        assert arrivals.tcp(CANARY, 40000)
        assert event.is_set()


@pytest.mark.parametrize("to", [
    Address(CANARY.host, 80), Address("203.0.113.10", ports.CANARY_PORT), Address("127.0.0.1", ports.OUTBOUND),
])
def test_any_other_destination_is_traffic(to: Address) -> None:
    arrivals = CanaryArrivals()
    with arrivals.expect(Address(CANARY.host, 40000)) as event:
        assert not arrivals.tcp(to, 40000)
        assert not event.is_set()


def test_a_datagram_counts_by_all_its_bytes() -> None:
    arrivals = CanaryArrivals()
    with arrivals.expect(b"bartizan canary 1") as event:
        assert arrivals.udp(b"bartizan canary 2")  # a canary, but nobody's
        assert not event.is_set()
        assert arrivals.udp(b"bartizan canary 1")
        assert event.is_set()


def test_a_dns_query_is_no_canary() -> None:
    assert not CanaryArrivals().udp(bytes.fromhex("ba72010000010000000000000161000001") + b"\0\1")


def test_what_nobody_expects_any_more_is_forgotten() -> None:
    arrivals = CanaryArrivals()
    with arrivals.expect(b"bartizan canary 1") as event:
        pass
    assert arrivals.udp(b"bartizan canary 1")
    assert not event.is_set()
