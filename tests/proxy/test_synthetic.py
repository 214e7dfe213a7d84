"""Addresses that stand for names."""

import ipaddress

from sidecar.proxy import synthetic
from sidecar.proxy.synthetic import Synthetic


def test_each_name_has_one_address_and_keeps_it() -> None:
    table = Synthetic()
    one, two = table.address("a.example"), table.address("b.example")
    assert one is not None
    assert two is not None
    assert one != two
    assert table.address("a.example") == one
    assert table.name(one) == "a.example"
    assert table.name("240.9.9.9") is None
    assert all(ipaddress.ip_address(text) in ipaddress.ip_network("240.0.0.0/4") for text in (one, two))


def test_there_is_an_end_to_them() -> None:
    table = Synthetic()
    for i in range(synthetic.MOST_NAMES):
        assert table.address(f"h{i}.example") is not None
    assert table.address("one.too.many") is None
    assert table.address("h0.example") is not None
