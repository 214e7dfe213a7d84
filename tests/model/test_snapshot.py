import json
from typing import Any

import pytest

from sidecar.model.errors import ConfigError
from sidecar.model.snapshot import Inbound, PortMode, digest, parse_snapshot, render_snapshot

ID = "spiffe://example.org/ns/shop/sa/orders"
FULL: dict[str, Any] = {
    "workload": {"identity": ID, "namespace": "shop", "pod": "orders-0", "addresses": ["10.1.0.5", "fd00::5"]},
    "inbound": {
        "mode": "permissive", "permissiveUntil": 1.8e9, "withoutRoutes": "nothing", "ports": {"5432": "opaque"},
        "portModes": {"8080": {"mode": "strict"}, "9090": {"mode": "permissive", "permissiveUntil": 1.9e9}},
        "routes": [{"name": "read", "port": 8080, "allow": [{"serviceAccount": "web", "namespace": "shop"}],
                    "matches": [{"path": {"value": "/orders"}, "method": "GET", "headers": [{"name": "x-v", "value": "1"}]}]}],
    },
    "outbound": {
        "services": [{"name": "stock.shop", "port": 80, "addresses": ["10.96.0.9"],
                      "endpoints": [{"address": "10.1.0.6", "port": 8080, "identity": ID}]}],
        "hosts": [{"host": "*.example.com", "rule": "partners", "specialAddresses": ["10.0.0.0/8"]}],
        "ranges": [{"cidr": "203.0.113.0/24", "rule": "db", "ports": [5432]}],
        "resolvers": ["10.96.0.10", "[fd00::a]:5353"], "clusterRanges": ["10.96.0.0/12"],
    },
}


def changed(path: str, value: object) -> bytes:
    """The full snapshot with one value replaced: `outbound.hosts.0.host`."""
    document = json.loads(json.dumps(FULL))
    *way, last = path.split(".")
    place = document
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    place[int(last) if isinstance(place, list) else last] = value
    return json.dumps(document).encode()


def test_there_and_back() -> None:
    snapshot = parse_snapshot(json.dumps(FULL).encode())
    text = render_snapshot(snapshot)
    assert parse_snapshot(text) == snapshot
    assert render_snapshot(parse_snapshot(text)) == text
    assert digest(text) == digest(bytes(text)) != digest(text + b" ")


@pytest.mark.parametrize(("path", "value", "where"), [
    ("workload.identity", "spiffe://example.org/x", "workload.identity"),
    ("workload.addresses.1", "::ffff:10.0.0.1", "workload.addresses[1]"),
    ("workload.addresses.0", "orders", "workload.addresses[0]"),
    ("version", 2, "version"),
    ("inbound.mode", "open", "inbound.mode"),
    ("inbound.permissiveUntil", None, "inbound.permissiveUntil"),
    ("inbound.portModes.9090.permissiveUntil", None, "inbound.portModes.9090.permissiveUntil"),
    ("inbound.portModes.9090.mode", "open", "inbound.portModes[...].mode"),
    ("inbound.portModes.8080.until", 1, "inbound.portModes[...]"),
    ("inbound.routes.0.port", 0, "inbound.routes[0].port"),
    ("inbound.routes.0.name", "", "inbound.routes[0].name"),
    ("inbound.routes.0.timeout", 3, "inbound.routes[0]"),
    ("inbound.routes.0.matches.0.method", "get", "inbound.routes[0].matches[0].method"),
    ("inbound.routes.0.matches.0.path.value", "orders", "inbound.routes[0].matches[0].path.value"),
    ("inbound.routes.0.matches.0.path.value", "//", "inbound.routes[0].matches[0].path.value"),
    ("inbound.routes.0.matches.0.path.type", "Regex", "inbound.routes[0].matches[0].path.type"),
    ("inbound.routes.0.matches.0.headers.0.name", "x v", "inbound.routes[0].matches[0].headers[0].name"),
    ("inbound.routes.0.matches.0.headers.0.name", "x-v\n", "inbound.routes[0].matches[0].headers[0].name"),
    ("outbound.services.0.addresses.0", "10.096.0.9", "outbound.services[0].addresses[0]"),
    ("outbound.services.0.endpoints.0.address", "0:0::1", "outbound.services[0].endpoints[0].address"),
    ("outbound.services.0.endpoints.0.identity", "web", "outbound.services[0].endpoints[0].identity"),
    ("outbound.hosts.0.host", "*", "outbound.hosts[0].host"),
    ("outbound.hosts.0.host", "a.*.com", "outbound.hosts[0].host"),
    ("outbound.hosts.0.host", "*.*.com", "outbound.hosts[0].host"),
    ("outbound.hosts.0.host", "f*.example.com", "outbound.hosts[0].host"),
    ("outbound.hosts.0.host", "Example.com", "outbound.hosts[0].host"),
    ("outbound.hosts.0.host", "example.com.", "outbound.hosts[0].host"),
    ("outbound.hosts.0.host", "example.com\n", "outbound.hosts[0].host"),
    ("outbound.hosts.0.tls", {"minVersion": "1.1"}, "outbound.hosts[0].tls.minVersion"),
    ("outbound.hosts.0.tls", {"verify": False}, "outbound.hosts[0].tls"),
    ("outbound.hosts.0.specialAddresses.0", "10.0.0.1/8", "outbound.hosts[0].specialAddresses[0]"),
    ("outbound.ranges.0.cidr", "203.0.113.0/33", "outbound.ranges[0].cidr"),
    ("outbound.ranges.0.ports", [0], "outbound.ranges[0].ports[0]"),
    ("outbound.resolvers.0", "dns.example.com", "outbound.resolvers[0]"),
    ("outbound.resolvers.1", "10.96.0.10:0", "outbound.resolvers[1]"),
    ("outbound.resolvers.1", "10.96.0.10:99999", "outbound.resolvers[1]"),
    ("outbound.clusterRanges.0", "all", "outbound.clusterRanges[0]"),
])
def test_one_wrong_value_is_refused_with_its_place(path: str, value: object, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_snapshot(changed(path, value))
    assert caught.value.where == where
    assert caught.value.problem


def test_two_routes_of_one_name() -> None:
    routes = FULL["inbound"]["routes"]
    with pytest.raises(ConfigError, match="earlier route"):
        parse_snapshot(changed("inbound.routes", [*routes, *routes]))


@pytest.mark.parametrize("data", [b"", b"{}", b"{", b"[]", b"null", b"\xff\xfe", b'{"a":' * 100_000])
def test_what_is_no_snapshot_at_all(data: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_snapshot(data)


def test_a_port_has_its_own_mode_or_the_common_one() -> None:
    inbound = parse_snapshot(json.dumps(FULL).encode()).inbound
    assert inbound.mode_at(8080) == PortMode("strict")
    assert inbound.mode_at(9090) == PortMode("permissive", 1.9e9)
    assert inbound.mode_at(80) == PortMode("permissive", 1.8e9)
    assert Inbound().mode_at(80) == PortMode("strict")
