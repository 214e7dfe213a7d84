"""The keys of token issuers, fetched where a MeshPolicy says: kept fresh, and the last good ones kept when that fails.

Trust: who writes a MeshPolicy says where to ask; no application can. The host is verified, what it answers is bounded and judged
(`key_set.py`), a redirection is a failure. A name that leads to a special address is refused unless the policy names that range.
Attacked by tests/injector/test_jwks.py.
"""

import ipaddress
import sys
from collections.abc import Awaitable, Callable, Mapping

import trio

from sidecar.model.address import canonical, is_special
from sidecar.model.errors import BadResponse, ConnectFailed, MeshError
from sidecar.net.dial import Dialer
from sidecar.net.service import call_with, control_addresses
from sidecar.net.tls_context import origination
from sidecar.net.watched import Watched

from .cluster import Cluster
from .documents import TokenIssuer
from .key_set import public_keys

REFRESH_S = 300.0
RETRY_S = 15.0
FETCH_WITHIN_S = 10.0


class JwksWatch:
    """
    Args:
        fetch: the keys of one issuer now; raises MeshError.

    Attributes:
        keys: by issuer, as the policy describes it: one that is described anew is another.
    """

    def __init__(self, cluster: Watched[Cluster], fetch: Callable[[TokenIssuer], Awaitable[str]]) -> None:
        self.keys: Watched[Mapping[TokenIssuer, str]] = Watched({})
        self._cluster = cluster
        self._fetch = fetch
        self._due_at: dict[TokenIssuer, float] = {}

    async def run(self) -> None:
        """For ever."""
        while True:
            cluster = self._cluster.current
            wanted = fetched_issuers(cluster)
            self._due_at = {issuer: self._due_at.get(issuer, 0.0) for issuer in wanted}
            self.keys.set({issuer: text for issuer, text in self.keys.current.items() if issuer in self._due_at})
            async with trio.open_nursery() as nursery:
                for issuer in wanted:
                    if self._due_at[issuer] <= trio.current_time():
                        nursery.start_soon(self._refresh, issuer)
            with trio.move_on_at(min(self._due_at.values(), default=trio.current_time() + REFRESH_S)):
                await self._cluster.wait_change(cluster)

    async def _refresh(self, issuer: TokenIssuer) -> None:
        wait_s = RETRY_S
        try:
            with trio.fail_after(FETCH_WITHIN_S):
                text = await self._fetch(issuer)
        except (MeshError, trio.TooSlowError) as exc:
            kept = "the last ones are kept" if issuer in self.keys.current else "there are none yet"
            why = str(exc) or "no answer in time"
            print(f"bartizan: keys of {issuer.issuer} from {issuer.jwks_uri}: {why}; {kept}", file=sys.stderr, flush=True)
        else:
            self.keys.set({**self.keys.current, issuer: text})
            wait_s = REFRESH_S
        self._due_at[issuer] = trio.current_time() + wait_s


def fetched_issuers(cluster: Cluster) -> list[TokenIssuer]:
    """Those of all policies whose keys are elsewhere."""
    named = (issuer for policy in cluster.mesh_policies.values() for issuer in policy.token_issuers or ())
    return list(dict.fromkeys(issuer for issuer in named if issuer.jwks_uri is not None))


async def fetch_keys(issuer: TokenIssuer) -> str:
    """Ask the issuer's host. Raises UpstreamError or ConfigError."""
    assert issuer.jwks_uri is not None, "only issuers with an address are fetched"
    context = origination(min_version="1.2", roots=issuer.ca_bundle, chain=None, key=None)
    addresses = permitted(await control_addresses(issuer.jwks_uri), issuer)
    answer = await call_with(context, Dialer(), addresses, issuer.jwks_uri, "GET", headers=[(b"accept", b"application/json")])
    if answer.status != 200:
        raise BadResponse(f"the host answered {answer.status}")
    return public_keys(answer.body)


def permitted(addresses: list[str], issuer: TokenIssuer) -> list[str]:
    """Those that the issuer's name may lead to. Raises ConnectFailed if none is left."""
    ranges = [ipaddress.ip_network(text) for text in issuer.special_addresses]
    ips = [canonical(address) for address in addresses]
    kept = [str(ip) for ip in ips if not is_special(ip) or any(ip in network for network in ranges)]
    if not kept:
        named = ", ".join(map(str, ips)) or "nothing"
        raise ConnectFailed(f"its name leads to {named}; special addresses must stand in the policy's specialAddresses")
    return kept
