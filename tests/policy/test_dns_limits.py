"""What looks like a tunnel, and what like a name."""

import base64
import hashlib

import pytest

from sidecar.model.egress import DnsLimits
from sidecar.policy import dns_limits
from sidecar.policy.dns_limits import NewNames, entropy, why_suspicious

DEFAULT = DnsLimits()


@pytest.mark.parametrize(("text", "bits"), [("aaaa", 0), ("abab", 1), ("abcd", 2), ("aab", 0.9183), ("a", 0)])
def test_entropy(text: str, bits: float) -> None:
    assert entropy(text) == pytest.approx(bits, abs=1e-4)


@pytest.mark.parametrize("below", [
    "www", "a.b.c", "eu-west-1", "my-bucket-with-a-rather-long-name", "production-customer-invoices-2026", "internationalisation",
    hashlib.sha256(b"x").hexdigest(),       # of an object, say: hex has four bits at most
    "abcdefghijk", "db-7f8d9c6b5-x2x4z",
])
def test_names_as_people_and_machines_give_them(below: str) -> None:
    assert why_suspicious(below, DEFAULT) == ""


@pytest.mark.parametrize(("below", "limit"), [
    (base64.b32encode(hashlib.sha512(b"secret").digest())[:60].decode().lower(), "labelBits"),
    ("www." + base64.b32encode(hashlib.sha512(b"x").digest())[:60].decode().lower() + ".a", "labelBits"),
    ("a" * 63 + "." + "b" * 37, "nameBytes"), (".".join("a" * 51), "nameBytes"),
])
def test_names_that_carry_something(below: str, limit: str) -> None:
    assert limit in why_suspicious(below, DEFAULT)


def test_limits_are_what_they_say() -> None:
    assert why_suspicious("a" * 20, DnsLimits(name_bytes=20)) == ""
    assert "21 bytes" in why_suspicious("a" * 21, DnsLimits(name_bytes=20))
    assert why_suspicious("abcdabcdabcd", DnsLimits(label_bits=2.0)) == ""
    assert "2.24 bits" in why_suspicious("abcdabcdabcde", DnsLimits(label_bits=2.0))
    assert why_suspicious("abcdefghijk", DnsLimits(label_bits=2.0)) == "", "eleven characters"


# -- different names


def taken(names: NewNames, limits: DnsLimits, now: float, prefix: str, most: int = 1000) -> int:
    """How many new names pass at once."""
    return next(i for i in range(most) if not names.take(f"{prefix}{i}.store.example", limits, now))


def test_new_names_are_paid_for_and_known_ones_are_free() -> None:
    names, limits = NewNames(), DnsLimits(per_s=10, burst=100)
    assert taken(names, limits, 0, "a") == 100
    assert all(names.take("a7.store.example", limits, 0) for _ in range(1000))
    assert not names.take("b.store.example", limits, 0.099)
    assert names.take("b.store.example", limits, 0.1)
    assert not names.take("c.store.example", limits, 0.1)
    assert taken(names, limits, 2.1, "d") == 20
    assert taken(names, limits, 1000, "e") == 100, "no more than the burst is saved up"


def test_a_name_that_was_refused_is_not_known() -> None:
    names, limits = NewNames(), DnsLimits(per_s=1, burst=1)
    assert names.take("a.store.example", limits, 0)
    assert not names.take("b.store.example", limits, 0)
    assert not names.take("b.store.example", limits, 0)


def test_the_memory_is_bounded() -> None:
    names, limits = NewNames(), DnsLimits(per_s=1, burst=dns_limits.MOST_NAMES + 1)
    for i in range(dns_limits.MOST_NAMES + 1):
        assert names.take(f"a{i}.store.example", limits, 0)
    assert names.take(f"a{dns_limits.MOST_NAMES}.store.example", limits, 0)
    assert not names.take("a0.store.example", limits, 0), "the oldest was forgotten, and has to be paid for again"


def test_a_snapshot_with_another_limit_holds_at_once() -> None:
    names = NewNames()
    assert taken(names, DnsLimits(per_s=1, burst=5), 0, "a") == 5
    assert taken(names, DnsLimits(per_s=1, burst=8), 0, "b") == 3
