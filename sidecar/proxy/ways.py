"""The ways out of the requests of one connection: for each external host what all requests to it have in common, made once.

    ways = Ways(originator, runtime)
    plan = ways.plan(request, ...)      # for each request, which was permitted; to be awaited, where its name is to be resolved

A way lasts as long as approval, addresses and TLS settings are the very same; name resolution and judgement are asked each time.
"""

from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import NamedTuple

from sidecar.model.address import Address
from sidecar.model.decision import Permit
from sidecar.model.egress import EgressHost
from sidecar.model.message import Headers, RequestHead, ResponseHead
from sidecar.net.ends import Connection
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_external import ExternalTls
from sidecar.policy.rules import Rules
from sidecar.telemetry.access_log import Record

from .originate import Originator, connect_tls, dial
from .plan import Plan, Upstream
from .runtime import Runtime
from .stay_plain import stay_plain
from .versions import client

MOST_WAYS = 64      # hosts that one connection of the application's asks in turn


class _Way(NamedTuple):
    """
    Args:
        judged: the name; `host` is what Host says to it.
    """

    judged: str
    approval: EgressHost
    addresses: tuple[str, ...]
    context: ExternalTls | None
    port: int
    is_http2: bool
    is_permitted: Callable[[], bool]
    key: Hashable
    group: Hashable
    host: bytes
    name: str
    security: str
    adapt: Callable[[ResponseHead], ResponseHead] | None


class Ways:
    """
    Args:
        caller: of an egress gateway, whom it leads out: nobody else uses the connections.
    """

    def __init__(self, originator: Originator, runtime: Runtime, caller: str = "") -> None:
        self._originator = originator
        self._runtime = runtime
        self._caller = caller
        self._known: dict[tuple[str, bool], _Way] = {}

    def plan(
        self, request: RequestHead, headers: Headers, to: Address, permit: Permit, approval: EgressHost, rules: Rules, record: Record,
        is_permitted: Callable[[], bool],
    ) -> Plan | Awaitable[Plan]:
        """How a permitted request leaves. Raises UpstreamError or Unavailable if it cannot. At once, if the resolvers' answer is here.

        Args:
            to: what the application dialled; no host where only its own sidecar knows.
            is_permitted: connections that are made now end where it says no.
        """
        host, tls = request.host.decode("ascii"), approval.tls
        context = self._originator.context(tls, is_http2=request.is_http2) if tls is not None else None
        # Who asks in HTTP/2 may be answered, by ALPN, that the host speaks HTTP/1.1: nothing for the prompt way, which no wait leads to.
        addresses = self._originator.known_addresses(host, approval, rules) if not request.is_http2 else None
        if addresses is not None:
            return self._plan(request, headers, to, permit, approval, record, is_permitted, host, context, addresses)
        leads = partial(self._plan, request, headers, to, permit, approval, record, is_permitted, host, context)
        return self._plan_later(leads, host, approval, rules)

    async def _plan_later(self, leads: Callable[[tuple[str, ...]], Plan], host: str, approval: EgressHost, rules: Rules) -> Plan:
        return leads(await self._originator.addresses(host, approval, rules))

    def _plan(
        self, request: RequestHead, headers: Headers, to: Address, permit: Permit, approval: EgressHost, record: Record,
        is_permitted: Callable[[], bool], host: str, context: ExternalTls | None, addresses: tuple[str, ...],
    ) -> Plan:
        is_http2 = request.is_http2
        record.dst_mismatch = bool(to.host) and to.host not in addresses
        way = self._known.get((host, is_http2))
        if way is None or way.approval is not approval or way.addresses is not addresses or way.context is not context:
            way = self._make(host, to.port, approval, addresses, context, is_permitted, is_http2=is_http2)
            self._known[host, is_http2] = way
            if len(self._known) > MOST_WAYS:
                del self._known[next(iter(self._known))]
        upstream = Upstream(
            way.key, partial(_connect, way, self._runtime, record), way.host, headers, way.name,
            is_shared=is_http2, group=way.group, security=way.security, peer=self._caller,
        )
        return Plan(permit, lambda: upstream, adapt=way.adapt, spend=self._runtime.budgets.spender(approval))

    def _make(
        self, host: str, dialled: int, approval: EgressHost, addresses: tuple[str, ...], context: ExternalTls | None,
        is_permitted: Callable[[], bool], *, is_http2: bool,
    ) -> _Way:
        tls, named = approval.tls, host.encode()
        port, default, security = (dialled, 80, "plaintext") if tls is None else (tls.port, 443, "tls")
        return _Way(
            host, approval, addresses, context, port, is_http2, is_permitted,
            # A name server that tells them in another order each time tells the same. What was dialled is what the leave is for.
            key=("egress", self._caller, host, dialled, port, tuple(sorted(addresses)), context, is_http2), group=("egress", host),
            host=named if port == default else b"%b:%d" % (named, port), name=f"{host}:{port}", security=security,
            adapt=partial(stay_plain, host=named, port=dialled, tls_port=port) if tls is not None else None,
        )


async def _connect(way: _Way, runtime: Runtime, record: Record) -> Connection:
    """Without settings as the application speaks: an observed host, or one for which a policy says so."""
    settings, context = way.approval.tls, way.context
    if settings is None or context is None:
        sock, at = await dial(way.addresses, way.port, runtime)
        try:
            runtime.withdrawals.watch(sock, runtime.with_way(at, way.is_permitted))
        except BaseException:
            sock.close()
            raise
        return client(SocketStream(sock), is_http2=way.is_http2)
    stream = await connect_tls(way.judged, way.addresses, way.port, settings, context, runtime, record, way.is_permitted)
    return client(stream, is_http2=stream.connection.get_alpn_proto_negotiated() == b"h2", scheme=b"https")
