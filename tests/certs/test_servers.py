"""Which account gets which DNS names: by its whole name, or by how it begins."""

from typing import Any

import pytest

from certs.servers import Server, Servers
from sidecar.model.errors import ConfigError

SYSTEM = "bartizan-system"
SERVERS = Servers([
    Server(SYSTEM, "injector-*", ("injector-*.bartizan-system.svc", "all.bartizan-system.svc")),
    Server(SYSTEM, "injector", ("injector.bartizan-system.svc",)),
    Server(SYSTEM, "injector-odd", ("odd.bartizan-system.svc",)),
])


@pytest.mark.parametrize(("namespace", "account", "names"), [
    (SYSTEM, "injector", ("injector.bartizan-system.svc",)),
    (SYSTEM, "injector-v2", ("injector-v2.bartizan-system.svc", "all.bartizan-system.svc")),
    (SYSTEM, "injector-odd", ("odd.bartizan-system.svc",)),
    (SYSTEM, "injector-", None), (SYSTEM, "injectorv2", None), (SYSTEM, "issuer", None), ("shop", "injector-v2", None),
    (SYSTEM, "injector-v2.bank", None), (SYSTEM, "xinjector-v2", None),
])
def test_whose_names(namespace: str, account: str, names: tuple[str, ...] | None) -> None:
    assert SERVERS.names_of(namespace, account) == names


@pytest.mark.parametrize(("servers", "why"), [
    ([("a", "b", ("b.svc",)), ("a", "b", ("c.svc",))], "the same service account"),
    ([("a", "*b", ("b.svc",))], "no name of an account"),
    ([("a", "b-*-c", ("b.svc",))], "no name of an account"),
    ([("a", "b", ("*.svc",))], "nothing to stand for"),
])
def test_what_is_refused(servers: list[tuple[Any, ...]], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Servers([Server(*server) for server in servers])
