from pathlib import Path

import pytest

from injector.bench.errors import NotAvailable
from injector.bench.layout import ANSWER_BYTES, OUTSIDE, Job
from injector.bench.nginx import nginx_config, origin_config, outside_config
from tests.injector.bench.support import place


def test_mtls_demands_a_certificate(tmp_path: Path) -> None:
    text = nginx_config(Job("http1-mtls"), place(tmp_path))
    assert "listen 9000 ssl;" in text
    assert "ssl_verify_client on;" in text
    assert f"ssl_client_certificate {tmp_path}/roots.pem;" in text
    assert "ssl" not in nginx_config(Job("http1"), place(tmp_path)).replace("$ssl_", "")


def test_each_prefix_has_its_location_and_nothing_else_has(tmp_path: Path) -> None:
    text = nginx_config(Job("http1", routes=10), place(tmp_path))
    assert text.count("location ") == 10
    assert "location / {" not in text
    assert "location / {" in nginx_config(Job("http1"), place(tmp_path))


def test_every_kind_keeps_connections_and_writes_its_log(tmp_path: Path) -> None:
    for job in (Job("http1"), Job("http1-mtls"), Job("http2"), Job("tcp")):
        text = nginx_config(job, place(tmp_path))
        assert "worker_processes 1;" in text
        assert "access_log /dev/null told;" in text
        assert text.count("{") == text.count("}")
    assert "keepalive 128;" in nginx_config(Job("http2"), place(tmp_path))
    assert "listen 9000 http2;" in nginx_config(Job("http2"), place(tmp_path))


def test_the_origin_answers_with_so_many_bytes(tmp_path: Path) -> None:
    text = origin_config(place(tmp_path))
    assert f'"{"x" * ANSWER_BYTES}"' in text
    assert "access_log off;" in text
    assert "listen 8082 http2;" in text


def test_the_host_outside_speaks_tls_and_nothing_else(tmp_path: Path) -> None:
    text = outside_config(place(tmp_path))
    assert text.count("listen ") == text.count(f"listen {OUTSIDE}:443 ssl;") == 1
    assert f"ssl_certificate {tmp_path}/outside.pem;" in text
    assert f'"{"x" * ANSWER_BYTES}"' in text
    with pytest.raises(NotAvailable):
        nginx_config(Job("origination"), place(tmp_path))
