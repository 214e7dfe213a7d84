"""Without a redirect. With one: tests/e2e/interception."""

import socket

import pytest

from sidecar.net.original_dst import original_dst
from tests.helpers.sockets import tcp


def test_a_connection_that_nobody_redirected_went_to_its_listener_or_nowhere() -> None:
    """The kernel says so either way, by whether it tracks connections here; callers compare ports."""
    with tcp() as (_, theirs):
        assert original_dst(theirs) in (None, theirs.getsockname())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_on_a_dual_stack_listener(host: str) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection((host, port)), listener.accept()[0] as sock:
            assert original_dst(sock) in (None, (host, port))
