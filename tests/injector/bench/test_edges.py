"""All four are asked for the same: TLS 1.3 without resumption on both sides, the pod verified, each host known and no other."""

import json
from pathlib import Path
from typing import Any

import pytest

from injector.bench.edges import (
    NAMED_PORT,
    SNAPSHOT,
    SVID_PORT,
    bartizan_gateway,
    endpoint_config,
    envoy_gateway,
    haproxy_gateway,
    nginx_gateway,
)
from injector.bench.layout import ENDPOINT, LISTEN, SERVER, Job, Place
from sidecar.model.config import parse_config
from sidecar.model.snapshot import parse_snapshot
from sidecar.policy.rules import Rules
from tests.injector.bench.support import place as bare_place

JOB = Job("gateway", hosts=10, workers=2)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for kind in ("pem", "key"):
        (tmp_path / f"outside.{kind}").write_text(kind)
    return bare_place(tmp_path)


def test_ours(place: Place) -> None:
    config = parse_config(bartizan_gateway(JOB, place).encode())
    assert (config.workers, config.listen.edge) == (2, {443: LISTEN})
    rules = Rules.of(parse_snapshot((place.folder / SNAPSHOT).read_bytes()), "")
    assert rules.snapshot.edge is not None
    assert [route.hosts for route in rules.snapshot.edge.routes] == [(name,) for name in JOB.names]
    (service,) = rules.snapshot.outbound.services
    assert [(one.address, one.port, one.identity) for one in service.endpoints] == [(ENDPOINT, SVID_PORT, SERVER)]


def test_nginx(place: Place) -> None:
    text = nginx_gateway(JOB, place)
    assert "worker_processes 2;" in text
    assert f"listen {LISTEN} ssl http2 reuseport;" in text
    assert "reuseport" not in nginx_gateway(Job("gateway"), place)
    assert "proxy_ssl_verify on;" in text
    assert f"server {ENDPOINT}:{NAMED_PORT};" in text
    assert [name for name in JOB.names if f" {name} 1;" in text] == JOB.names
    assert "access_log /dev/null told;" in text
    assert text.count("{") == text.count("}")


def test_haproxy(place: Place) -> None:
    text = haproxy_gateway(JOB, place)
    assert "nbthread 2" in text
    assert "alpn h2,http/1.1" in text
    assert f"server app {ENDPOINT}:{SVID_PORT} ssl" in text
    assert "verify required" in text
    assert "log-format" in text
    assert (place.folder / "hosts.lst").read_text().split() == JOB.names


def test_envoy(place: Place) -> None:
    resources: dict[str, Any] = json.loads(envoy_gateway(JOB, place))["static_resources"]
    (chain,) = resources["listeners"][0]["filter_chains"]
    manager = chain["filters"][0]["typed_config"]
    assert [host["domains"] for host in manager["route_config"]["virtual_hosts"]] == [[name] for name in JOB.names]
    assert manager["access_log"]
    tls = resources["clusters"][0]["transport_socket"]["typed_config"]["common_tls_context"]
    assert tls["validation_context"]["match_typed_subject_alt_names"] == [{"san_type": "URI", "matcher": {"exact": SERVER}}]
    assert tls["tls_certificates"]
    assert chain["transport_socket"]["typed_config"]["disable_stateless_session_resumption"] is True


def test_the_pods_end_demands_a_certificate_at_both_ports(place: Place) -> None:
    lines = [line for line in endpoint_config(place).splitlines() if "    bind " in line]
    assert len(lines) == 2
    assert all("verify required" in line and "alpn bartizan/h1" in line for line in lines)
