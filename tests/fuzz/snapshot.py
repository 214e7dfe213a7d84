"""Any bytes: a snapshot that can be put to work and says the same when written and read again, or a ConfigError."""

from sidecar.model.errors import ConfigError
from sidecar.model.snapshot import parse_snapshot, render_snapshot
from sidecar.policy.rules import Rules

PIECES = (
    b'"workload"', b'"identity"', b'"spiffe://a/ns/b/sa/c"', b'"inbound":{', b'"routes":[', b'"outbound":{', b'"services":[', b'"hosts":[',
    b'"ranges":[', b'"cidr"',
    b'"0.0.0.0/0"', b'"::/0"', b'"path"', b'"type"', b'"Exact"', b'"RegularExpression"', b'"/"', b'"ports"', b'"addresses"', b'"fd00::1"',
    b"{", b"}", b"[", b"]", b",", b":",
    b"null", b"true", b"0", b"-1", b"1e999", b"65536", b"1" * 400, b'""', b'"\\ud800"', b'"\\u0000"', b"[" * 2000, b'{"a":' * 2000, b"\xff",
    b'"(a+)+$"', b"*",
)


def fuzz(data: bytes) -> None:
    try:
        value = parse_snapshot(data)
    except ConfigError:
        return
    text = render_snapshot(value)
    again = parse_snapshot(text)
    assert again == value
    assert render_snapshot(again) == text
    Rules.of(value, "digest")
