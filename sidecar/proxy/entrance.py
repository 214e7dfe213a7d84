"""The way into the application: whether a request or a connection may take it, and where it leads. Steps 4 to 6 of `inbound.py`.

It is asked again for every request, and by the rules of that moment.

Trust: the request is a stranger's, the peer was verified before. Who is allowed what is decided in `policy/authorize.py` alone.
"""

from collections.abc import Callable
from functools import partial

from sidecar.model.address import Address
from sidecar.model.call import Peer
from sidecar.model.decision import Denied, Permit
from sidecar.model.message import Headers, RequestHead
from sidecar.model.reason import Reason
from sidecar.net.ends import Connection
from sidecar.net.socket_stream import SocketStream
from sidecar.net.verify import read_svid
from sidecar.policy.authorize import Asker, authorize, find_route
from sidecar.policy.route_table import Found

from .plan import Decision, Upstream
from .runtime import Runtime
from .versions import client, speaks_http2

SETTLED = (Reason.PLAINTEXT, Reason.PERMISSIVE_ENDED, Reason.NETWORK_POLICY_IN)     # nothing that plaintext could still say changes it


class Entrance:
    """What all requests of one connection to the application have in common: who asks, and where they go.

    Args:
        to: the application's address.
        peer: verified; None: plaintext.
        source: its address.
    """

    __slots__ = ("_caller", "_identity", "_peer", "_runtime", "_source", "_to", "_ways")

    def __init__(self, to: Address, peer: Peer | None, source: str, runtime: Runtime) -> None:
        self._to = to
        self._peer = peer
        self._source = source
        self._runtime = runtime
        self._identity = peer.identity if peer else None
        self._caller = Asker(self._identity, source)
        self._ways: dict[bool, partial[Upstream]] = {}      # by whether HTTP/2 is spoken

    @property
    def caller(self) -> str:
        """Who is counted: plaintext has no name but its address."""
        return self._identity or self._source

    def judge(self, request: RequestHead | None, now: float | None = None) -> Permit | Denied:      # 4
        """
        Args:
            request: None for a TCP connection.
            now: Unix seconds, of whoever has just looked at the clock.
        """
        peer, runtime, port = self._peer, self._runtime, self._to.port
        rules, now = runtime.rules.current, runtime.wall() if now is None else now
        if rules is None:
            return Denied(Reason.NO_SNAPSHOT)
        if peer is not None and (why := runtime.why_no_longer(peer, now)):
            return Denied(Reason.PEER_NOT_VERIFIED if peer.not_after <= now else Reason.REVOKED, detail=why)
        inbound = rules.snapshot.inbound
        found = find_route(port, request, is_plaintext=peer is None, inbound=inbound, table=rules.routes, now=now)
        if rules.entering is not None and not (isinstance(found, Denied) and found.reason in SETTLED):
            denied = rules.why_no_entry(self._source, port, self._identity)
            if denied is not None:
                return denied
        if isinstance(found, Found):
            asker = self._caller
            if (jwt := found.rule.jwt) is not None and request is not None:
                try:
                    asker = Asker(self._identity, self._source, runtime.tokens.claims(request, jwt, inbound.issuers, now))
                except ValueError as exc:
                    return Denied(Reason.TOKEN_REFUSED, found.rule.name, f"the token: {exc}")
            judged = authorize(found, asker, rules.trust_domain)
        else:
            judged = found
        if request is None and isinstance(judged, Permit):
            protocol = inbound.ports.get(port)
            # A caller must not choose whether it is read: bytes that pass unread could be HTTP that names another caller.
            if protocol in ("http", "http1", "http2") or (protocol is None and peer is not None):
                return Denied(Reason.NOT_HTTP, judged.rule)
        return judged

    def is_permitted(self, request: RequestHead | None = None) -> bool:
        """Asked again and again while a connection that was begun so lasts."""
        return isinstance(self.judge(request), Permit)

    def decide(self, request: RequestHead, headers: Headers, now: float) -> Decision:
        """Whether one request may go to the application, and how it gets there; `headers` say who calls."""
        judged = self.judge(request, now)
        if isinstance(judged, Denied):
            return judged
        return self._runtime.admission.admit(                                                       # 5
            judged, request, self.caller, partial(self._upstream, headers), partial(self.is_permitted, request), rng=self._runtime.rng,
        )

    def _upstream(self, headers: Headers, sent: RequestHead) -> Callable[[], Upstream]:             # 6
        rules = self._runtime.rules.current
        is_http2 = speaks_http2(sent, rules.snapshot.inbound.ports.get(self._to.port) if rules else None)
        way = self._ways.get(is_http2)
        if way is None:
            to = self._to
            way = self._ways[is_http2] = partial(
                Upstream, ("app", to, is_http2), partial(self._connect, is_http2), name=f"app {to}", is_shared=is_http2, group=("app", to),
            )
        return partial(way, sent.host if sent.port is None else sent.host + b":%d" % sent.port, headers)

    async def _connect(self, is_http2: bool) -> Connection:
        return client(SocketStream(await self._runtime.dialer.connect(self._to)), is_http2=is_http2)


def ourselves(runtime: Runtime) -> Peer:
    """This workload as its own caller: a Service may well choose the very pod that asks. Unavailable without a certificate."""
    tls = runtime.own_tls()
    return read_svid(tls.credentials.chain[0], tls.credentials.trust_domain)
