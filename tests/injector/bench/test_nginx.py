from pathlib import Path
from typing import get_args

import pytest

from injector.bench.errors import NotAvailable
from injector.bench.layout import ANSWER_BYTES, OUTSIDE, Job, Kind
from injector.bench.nginx import nginx_config, origin_config, outside_config
from tests.injector.bench.support import place


def test_mtls_demands_a_certificate(tmp_path: Path) -> None:
    text = nginx_config(Job("http1-mtls"), place(tmp_path))
    assert "listen 15006 ssl;" in text
    assert "ssl_verify_client on;" in text
    assert f"ssl_client_certificate {tmp_path}/roots.pem;" in text
    assert "ssl" not in nginx_config(Job("http1"), place(tmp_path)).replace("$ssl_", "")


def test_each_prefix_has_its_location_and_nothing_else_has(tmp_path: Path) -> None:
    text = nginx_config(Job("http1", routes=10), place(tmp_path))
    assert text.count("proxy_pass ") == 10
    assert "location / {" not in text
    assert "location / {" in nginx_config(Job("http1"), place(tmp_path))


def test_every_kind_keeps_connections_and_writes_its_log(tmp_path: Path) -> None:
    for job in map(Job, get_args(Kind)):
        if job.kind in ("call", "gateway"):
            continue
        text = nginx_config(job, place(tmp_path))
        assert "worker_processes 1;" in text
        assert "access_log /dev/null told;" in text
        assert text.count("{") == text.count("}")
    assert "keepalive 128;" in nginx_config(Job("http2"), place(tmp_path))
    assert "listen 15006 http2;" in nginx_config(Job("http2"), place(tmp_path))


def test_the_origin_answers_with_so_many_bytes(tmp_path: Path) -> None:
    text = origin_config(place(tmp_path))
    assert f'"{"x" * ANSWER_BYTES}"' in text
    assert "access_log off;" in text
    assert "listen 8082 http2;" in text
    assert "dav_methods PUT;" in text
    assert "add_trailer grpc-status 0;" in text


def test_the_host_outside_speaks_tls_and_nothing_else(tmp_path: Path) -> None:
    text = outside_config(place(tmp_path))
    assert text.count("listen ") == text.count(f"listen {OUTSIDE}:443 ssl;") == 1
    assert f"ssl_certificate {tmp_path}/outside.pem;" in text
    assert f'"{"x" * ANSWER_BYTES}"' in text


def test_who_is_called_by_identity_it_cannot_verify(tmp_path: Path) -> None:
    with pytest.raises(NotAvailable, match="names of hosts only"):
        nginx_config(Job("call"), place(tmp_path))


def test_origination_is_verified_and_no_other_host_is_let_out(tmp_path: Path) -> None:
    job = Job("origination", hosts=10)
    text = nginx_config(job, place(tmp_path))
    assert "listen 15001;" in text
    assert "proxy_ssl_verify on;" in text
    assert f"proxy_ssl_name {job.names[-1]};" in text
    assert [name for name in job.names if f" {name} 1;" in text] == job.names
    assert "if ($is_known = 0) { return 404; }" in text


def test_bytes_through_mtls_need_a_certificate(tmp_path: Path) -> None:
    assert "ssl_verify_client on;" in nginx_config(Job("tcp-mtls"), place(tmp_path))


def test_only_origins_run_as_root(tmp_path: Path) -> None:
    assert "user root;" in origin_config(place(tmp_path))
    assert "user root;" not in nginx_config(Job("http1"), place(tmp_path))
