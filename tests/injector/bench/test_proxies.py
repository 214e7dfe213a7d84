import sys
from pathlib import Path

import pytest

from injector.bench.errors import NotAvailable
from injector.bench.layout import Job
from injector.bench.proxies import OURS, PROXIES, REFERENCE, Proxy, find_envoy, of_venv, version_in
from tests.injector.bench.support import place

BY_NAME = {proxy.name: proxy for proxy in PROXIES}


@pytest.mark.parametrize(("text", "number"), [
    ("nginx version: nginx/1.22.1\n", "1.22.1"),
    ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", "2.6.12-1+deb12u4"),
    ("envoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL", "1.40.0"),
    ("wrk debian/4.1.0-3+b2 [epoll]", "4.1.0-3+b2"), ("h2load nghttp2/1.52.0", "1.52.0"), ("no number", ""),
])
def test_versions(text: str, number: str) -> None:
    assert version_in(text) == number


@pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: proxy.name)
def test_it_listens_where_the_rules_lead(proxy: Proxy, tmp_path: Path) -> None:
    """Ours does by itself."""
    words = proxy.set_up("program", Job("http1"), place(tmp_path))
    texts = " ".join([*words, *(Path(word).read_text() for word in words if word.startswith(f"{tmp_path}/") and Path(word).is_file())])
    assert "15006" in texts or proxy.name == OURS
    assert "15006" not in texts or proxy.name != OURS


def test_the_reference_is_one_of_them() -> None:
    assert REFERENCE in BY_NAME
    assert [name for name, proxy in BY_NAME.items() if proxy.is_forward] == ["proxy.py"]


def test_envoy_is_the_binary_of_the_wheel(tmp_path: Path) -> None:
    binary = tmp_path / ".venv-bench/lib/python3.11/site-packages/envoy/_bin/envoy"
    binary.parent.mkdir(parents=True)
    binary.touch()
    assert find_envoy(tmp_path) == str(binary)


def test_what_is_not_installed_names_the_cure() -> None:
    absent = Proxy("x", lambda: None, (), lambda *_: [])
    assert absent.version() == ""
    with pytest.raises(NotAvailable, match=r"x is not installed; `\.ci/setup bench`"):
        absent.program()


@pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: proxy.name)
def test_setting_up_writes_what_the_command_names(proxy: Proxy, tmp_path: Path) -> None:
    words = proxy.set_up("program", Job("http1"), place(tmp_path))
    assert "program" in words
    assert [path for path in tmp_path.iterdir() if path.read_text()]


def test_ours_is_this_very_python() -> None:
    assert BY_NAME[OURS].find() == sys.executable


def test_python_peers_are_commands_of_their_own_environment(tmp_path: Path) -> None:
    command = tmp_path / ".venv-bench/bin/mitmdump"
    assert of_venv("mitmdump", tmp_path) is None
    command.parent.mkdir(parents=True)
    command.touch()
    assert of_venv("mitmdump", tmp_path) == str(command)
