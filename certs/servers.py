"""The mesh's own HTTPS servers: which account gets a certificate for which DNS names.

An entry may speak of several accounts by one `*` at the end of its name, as the injectors of all revisions have accounts that begin
alike: `bartizan-injector-*` gets `bartizan-injector-*.bartizan-system.svc`, each with what stands in for its own.

Trust: who may make accounts in an entry's namespace may have its names; that is the platform team's namespace.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from sidecar.model.errors import ConfigError
from sidecar.model.identity import SERVICE_ACCOUNT
from sidecar.model.value import Name, Value

from .ca import Authority
from .profile import DNS_NAME, check_names

ANY = "*"


class Server(Value, frozen=True):
    """One of them, which gets its certificate by POST /v1/https.

    Args:
        service_account: or the beginning of several: `injector-*`.
        names: the DNS names that it gets, all of them; in each `*` is what the account's name has in its place.
    """

    namespace: Name
    service_account: Name
    names: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]


class Servers:
    """All of them, made ready for asking."""

    def __init__(self, servers: Sequence[Server]) -> None:
        """ConfigError if two of them are the same account, or an entry means no account that can be."""
        self._servers = tuple(servers)
        if len({(server.namespace, server.service_account) for server in servers}) < len(servers):
            raise ConfigError("servers", "two of them are the same service account; write its names together")
        for i, server in enumerate(servers):
            account = server.service_account
            if SERVICE_ACCOUNT.fullmatch(account.removesuffix(ANY) + ("x" if account.endswith(ANY) else "")) is None:
                raise ConfigError(f"servers[{i}].serviceAccount", f"{account!r} is no name of an account; a {ANY} may stand at its end")
            if not account.endswith(ANY) and any(ANY in name for name in server.names):
                raise ConfigError(f"servers[{i}].names", f"a {ANY} has nothing to stand for, since serviceAccount has none")

    def check(self, authority: Authority) -> None:
        """ConfigError unless the authority may sign for all of the names."""
        for i, server in enumerate(self._servers):
            check_names(authority, [name.replace(ANY, "x") for name in server.names], f"servers[{i}].names")

    def names_of(self, namespace: str, account: str) -> tuple[str, ...] | None:
        """The DNS names of the account; None: it is none of these servers. Who is named whole is not meant by a beginning."""
        of_there = [server for server in self._servers if server.namespace == namespace]
        for server in sorted(of_there, key=lambda server: server.service_account.endswith(ANY)):
            if server.service_account == account:
                return server.names
            rest = account.removeprefix(server.service_account.removesuffix(ANY))
            if server.service_account.endswith(ANY) and rest and rest != account:
                names = tuple(name.replace(ANY, rest) for name in server.names)
                # An account's name may hold dots, and then stand for more than one label.
                return names if "." not in rest and all(DNS_NAME.fullmatch(name) for name in names) else None
        return None
