"""`bartizan verify`: what it takes for a URL. How it asks, tests/injector/cli/test_egress_explain.py shows."""

from pathlib import Path

import pytest

from injector.cli import verify
from sidecar.model.errors import ConfigError


@pytest.mark.parametrize("url", [
    "api.partner.example", "ftp://a.test/", "http://", "http:///x", "http://a b/", "http://a@b/", "http://a.test/ x", "//a",
])
def test_what_is_no_url(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        verify.main(["shop/web", url, "--state", str(tmp_path)])
    assert caught.value.where != "--state"      # refused before anybody is asked


@pytest.mark.parametrize("method", ["POST", "DELETE", "CONNECT", "get"])
def test_nothing_is_sent_that_could_change_anything(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        verify.main(["shop/web", "http://a.test/", "--method", method])
    assert caught.value.code == 2
