import sys
from pathlib import Path

import pytest

from injector.bench.errors import NotAvailable
from injector.bench.layout import ADDRESS, Job
from injector.bench.proxies import OURS, PROXIES, REFERENCE, Proxy, find_envoy, version_in
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


def test_ours_goes_through_the_redirect_and_the_others_do_not() -> None:
    job = Job("http1")
    assert {proxy.pod(job) for proxy in PROXIES} == set(ADDRESS)
    assert (BY_NAME[OURS].pod(job), BY_NAME[OURS].port(job)) == ("mesh", 8080)
    assert {(proxy.pod(job), proxy.port(job)) for proxy in PROXIES if proxy.name != OURS} == {("plain", 9000)}
    assert REFERENCE in BY_NAME


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
    words = proxy.set_up("program", Job("http1", routes=10), place(tmp_path))
    assert words[0] == "program"
    files = [word for word in words if word.startswith(f"{tmp_path}/")]
    assert files
    assert all(Path(file).read_text() for file in files)


def test_ours_is_this_very_python() -> None:
    assert BY_NAME[OURS].find() == sys.executable


def test_a_gateway_is_behind_no_redirect() -> None:
    job = Job("gateway")
    assert {(proxy.pod(job), proxy.port(job)) for proxy in PROXIES} == {("plain", 9000)}


def test_ours_is_asked_to_lead_out_as_an_application_does() -> None:
    assert {proxy.name: proxy.port(Job("origination")) for proxy in PROXIES} == {
        OURS: 80, **{proxy.name: 9000 for proxy in PROXIES if proxy.name != OURS}
    }
