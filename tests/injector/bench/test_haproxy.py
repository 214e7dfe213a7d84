import json
from pathlib import Path

import pytest

from injector.bench.haproxy import haproxy_config, originator_config
from injector.bench.layout import OUTSIDE, Job, Kind
from tests.injector.bench.support import place


def test_mtls_demands_a_certificate(tmp_path: Path) -> None:
    text = haproxy_config(Job("http1-mtls"), place(tmp_path))
    assert f"ssl crt {tmp_path}/server.both.pem ca-file {tmp_path}/roots.pem verify required" in text
    assert " ssl " not in haproxy_config(Job("http1"), place(tmp_path))


def test_kinds(tmp_path: Path) -> None:
    assert haproxy_config(Job("http2"), place(tmp_path)).count("proto h2") == 2
    assert "mode tcp" in haproxy_config(Job("tcp"), place(tmp_path))
    assert "10.9.1.2:8081" in haproxy_config(Job("tcp"), place(tmp_path))
    for job in (Job("http1"), Job("http2"), Job("tcp")):
        assert "log global" in haproxy_config(job, place(tmp_path))


def test_what_no_prefix_lets_through_is_refused(tmp_path: Path) -> None:
    assert f"deny unless {{ path_beg -f {tmp_path}/prefixes.lst }}" in haproxy_config(Job("http1", routes=10), place(tmp_path))
    assert "deny" not in haproxy_config(Job("http1"), place(tmp_path))


def test_the_originator_verifies_and_never_resumes(tmp_path: Path) -> None:
    servers = [line for line in originator_config("10.9.1.2", 8080, place(tmp_path)).splitlines() if "server proxy" in line]
    assert len(servers) == 3
    for line in servers:
        assert "server proxy 10.9.1.2:8080 ssl" in line
        assert "verify required" in line
        assert "alpn bartizan/" in line
        assert "no-ssl-reuse" in line


def test_origination_is_verified_by_name_and_no_other_host_is_let_out(tmp_path: Path) -> None:
    job = Job("origination")
    text = haproxy_config(job, place(tmp_path))
    assert f"server app {OUTSIDE}:443 ssl ca-file {tmp_path}/roots.pem verify required sni str({job.names[-1]}) verifyhost" in text
    assert f"deny unless {{ req.hdr(host),lower -f {tmp_path}/hosts.lst }}" in text
    assert "set-header" not in text


def test_a_call_shows_a_certificate_and_demands_one(tmp_path: Path) -> None:
    text = haproxy_config(Job("call"), place(tmp_path))
    assert f"server app 10.9.1.2:8080 ssl crt {tmp_path}/client.both.pem ca-file {tmp_path}/roots.pem verify required" in text
    assert "bind *:15001\n" in text


@pytest.mark.parametrize("kind", ["http1", "tcp"])
def test_its_log_is_json_in_one_line(tmp_path: Path, kind: Kind) -> None:
    (line,) = [line for line in haproxy_config(Job(kind), place(tmp_path)).splitlines() if "log-format" in line]
    fields = json.loads(line.strip().removeprefix("log-format ").strip("'"))
    assert {"time", "dst", "source", "rule", "upstream", "received", "sent", "duration_ms"} <= set(fields)
    assert ("request_id" in fields) == (kind == "http1")
