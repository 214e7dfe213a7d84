from pathlib import Path

import pytest

from injector.bench.errors import NotAvailable
from injector.bench.haproxy import haproxy_config, originator_config
from injector.bench.layout import Job
from tests.injector.bench.support import place


def test_mtls_demands_a_certificate(tmp_path: Path) -> None:
    text = haproxy_config(Job("http1-mtls"), place(tmp_path))
    assert f"ssl crt {tmp_path}/server.both.pem ca-file {tmp_path}/roots.pem verify required" in text
    assert "ssl" not in haproxy_config(Job("http1"), place(tmp_path))


def test_kinds(tmp_path: Path) -> None:
    assert haproxy_config(Job("http2"), place(tmp_path)).count("proto h2") == 2
    assert "mode tcp" in haproxy_config(Job("tcp"), place(tmp_path))
    assert "10.9.2.2:8081" in haproxy_config(Job("tcp"), place(tmp_path))
    for job in (Job("http1"), Job("http2"), Job("tcp")):
        assert "log global" in haproxy_config(job, place(tmp_path))


def test_what_no_prefix_lets_through_is_refused(tmp_path: Path) -> None:
    assert f"deny unless {{ path_beg -f {tmp_path}/prefixes.lst }}" in haproxy_config(Job("http1", routes=10), place(tmp_path))
    assert "deny" not in haproxy_config(Job("http1"), place(tmp_path))


def test_the_originator_verifies_and_never_resumes(tmp_path: Path) -> None:
    servers = [line for line in originator_config("10.9.1.2", 8080, place(tmp_path)).splitlines() if "server proxy" in line]
    assert len(servers) == 2
    for line in servers:
        assert "server proxy 10.9.1.2:8080 ssl" in line
        assert "verify required" in line
        assert "alpn bartizan/h1" in line
        assert "no-ssl-reuse" in line


def test_it_is_not_compared_at_origination(tmp_path: Path) -> None:
    with pytest.raises(NotAvailable):
        haproxy_config(Job("origination"), place(tmp_path))
