from pathlib import Path

import pytest

from injector.bench.layout import Job
from injector.bench.python_peers import mitmproxy_argv, proxy_py_argv
from tests.injector.bench.support import place

BOTH = pytest.mark.parametrize("argv", [mitmproxy_argv, proxy_py_argv])


@BOTH
def test_what_they_run_for_each_request_is_python(argv: object, tmp_path: Path) -> None:
    assert callable(argv)
    words = argv("program", Job("http1"), place(tmp_path))
    assert "server" not in " ".join(words)
    (module,) = tmp_path.glob("*.py")
    compile(module.read_text(), module.name, "exec")
    for word in ("x-request-id", "x-forwarded-for", "x-forwarded-proto", "json.dumps"):
        assert word in module.read_text()


@BOTH
def test_with_tls_they_show_the_servers_certificate(argv: object, tmp_path: Path) -> None:
    assert callable(argv)
    assert f"{tmp_path}/server." in " ".join(argv("program", Job("http1-mtls"), place(tmp_path)))
