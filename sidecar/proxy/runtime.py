"""What every recipe needs, built once by `main` and passed as one parameter. What changes is a `Watched`."""

import random  # noqa: TID251 -- the generator is made by main and passed
from collections.abc import Callable
from dataclasses import dataclass, field

from sidecar.model.address import Address
from sidecar.model.call import Peer
from sidecar.model.decision import Denied
from sidecar.model.errors import Unavailable
from sidecar.model.reason import Reason
from sidecar.model.service import Endpoint, Service
from sidecar.net.clock import WallClock
from sidecar.net.deadline import Deadline
from sidecar.net.dial import Dialer
from sidecar.net.jwt import Tokens
from sidecar.net.pool import Pool
from sidecar.net.splice import Pipes
from sidecar.net.tls_edge import EdgeHosts
from sidecar.net.tls_mesh import MeshTls, connect_mesh
from sidecar.net.tls_stream import TlsStream
from sidecar.net.verify import why_revoked
from sidecar.net.watched import Watched
from sidecar.policy.rules import Rules
from sidecar.telemetry.access_log import AccessLog, Record
from sidecar.telemetry.ledger import Ledger
from sidecar.telemetry.metrics import MAX_SERIES, Counter, Metrics

from .accounts import Accounts
from .admit import Admission
from .budgets import Budgets
from .discovery import Discovery
from .endpoints import Endpoints
from .mirror import Mirrors
from .names import Names
from .synthetic import Synthetic
from .withdrawals import Withdrawals


@dataclass(frozen=True)
class Runtime:
    """
    Args:
        rules: None until the first snapshot: everything is refused.
        tls: None until the first certificate, and after the last one ended.
        is_outbound_open: the interception was found whole.
        draining: no new exchange is begun on a connection once its present ones are over.
        idle: of each downstream connection that waits for its next request, what ends the waiting.
        endpoints: what is remembered of those in the mesh.
        share: of how many processes of one gateway this is one; what a rule allows them together is divided by it.
        is_prompt: whether ordinary exchanges go the prompt way (`http1_prompt.py`, `http2_prompt.py`); they can all go the general one.
        ledger: where evidence is kept, if it is.
        accounts: of the connections that are live.
        withdrawals: what ends connections to the outside when their leave does.
        synthetic: the addresses of names that are reached by TCP.
        names: which of those below approved wildcards were looked up.
        budgets: what approvals have spent of their bytes.
        discovery: of Services in other namespaces.
        edge_hosts: of an ingress gateway: how TLS is spoken with clients.
    """

    rules: Watched[Rules | None]
    tls: Watched[MeshTls | None]
    is_outbound_open: Watched[bool]
    dialer: Dialer
    log: AccessLog
    ledger: Ledger
    metrics: Metrics
    wall: WallClock
    rng: random.Random
    share: int = 1
    is_prompt: bool = True
    pool: Pool = field(default_factory=Pool)
    mirrors: Mirrors = field(init=False)
    draining: Watched[bool] = field(default_factory=lambda: Watched(False))
    idle: set[Deadline] = field(default_factory=set)
    pipes: Pipes = field(default_factory=Pipes)
    endpoints: Endpoints = field(init=False)
    tokens: Tokens = field(default_factory=Tokens)
    admission: Admission = field(init=False)
    accounts: Accounts = field(init=False)
    withdrawals: Withdrawals = field(default_factory=Withdrawals)
    synthetic: Synthetic = field(default_factory=Synthetic)
    names: Names = field(default_factory=Names)
    budgets: Budgets = field(init=False)
    discovery: Discovery = field(init=False)
    edge_hosts: EdgeHosts = field(default_factory=EdgeHosts)
    _counters: dict[tuple[str, str, str, str, int | None], Counter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "accounts", Accounts(self.ledger, self.wall, self.rng, self.identity))
        object.__setattr__(self, "admission", Admission(self.share))
        object.__setattr__(self, "budgets", Budgets(self.metrics, self.share))
        object.__setattr__(self, "discovery", Discovery(self.rules))
        object.__setattr__(self, "mirrors", Mirrors(self.metrics))
        object.__setattr__(self, "endpoints", Endpoints(self.rng, self.metrics))

    def tell(self, record: Record) -> None:
        """Write one exchange or connection down, and count it."""
        kind = record.code, record.direction, record.rule, record.security, record.status if record.method else None
        counter = self._counters.get(kind)
        if counter is None:
            counter = self._counters[kind] = self._counter(*kind)
        counter.value += 1
        self.log.add(record)
        if record.code:
            self.log.flush()    # who looks for the reason when he hears that he was refused finds it
        self.accounts.note(record)

    def _counter(self, code: str, direction: str, rule: str, security: str, status: int | None) -> Counter:
        if len(self._counters) >= MAX_SERIES:
            self._counters.clear()
        labels = (("code", code), ("direction", direction), ("rule", rule), ("security", security))
        if status is None:
            return self.metrics.counter("bartizan_connections_total", labels)
        return self.metrics.counter("bartizan_requests_total", (*labels, ("status", str(status))))

    def identity(self) -> str:
        """Our own SPIFFE ID, as far as it is known."""
        rules = self.rules.current
        return rules.snapshot.workload.identity if rules else ""

    def valid_tls(self) -> MeshTls | None:
        """Our credentials, unless their time is over: then everything that needs them fails closed."""
        tls = self.tls.current
        return tls if tls is not None and tls.credentials.not_after > self.wall() else None

    def why_revoked(self, peer: Peer) -> str:
        """In words; empty if it is not."""
        tls = self.tls.current
        return why_revoked(peer, tls.anchors.deny) if tls is not None else ""

    def why_no_longer(self, peer: Peer, now: float | None = None) -> str:
        """Why a peer that was verified once is not to be talked to any more, in words; empty: it is."""
        if peer.not_after <= (self.wall() if now is None else now):
            return "the peer's certificate has ended since it connected"
        return self.why_revoked(peer)

    def may_call(self, endpoint: Endpoint) -> bool:
        """Whether NetworkPolicies let calls go to a pod of the mesh now."""
        rules = self.rules.current
        return rules is not None and rules.may_call(endpoint)

    def may_go_on(self, service: Service, endpoint: Endpoint) -> bool:
        """Whether what was begun with an endpoint may go on."""
        rules = self.rules.current
        is_there = rules is not None and rules.outbound.has_endpoint(service, endpoint) and rules.may_call(endpoint)
        return is_there and self.is_outbound_open.current

    def demand_way(self, to: Address) -> None:
        """Unavailable if NetworkPolicies let no connection go to an address outside of the mesh."""
        rules = self.rules.current
        denied = Denied(Reason.NO_SNAPSHOT) if rules is None else rules.why_no_way(to)
        if denied is not None:
            raise Unavailable(denied.reason, denied.detail, denied.rule)

    def has_way(self, to: Address) -> bool:
        """Whether they let one."""
        rules = self.rules.current
        return rules is not None and rules.why_no_way(to) is None

    def with_way(self, to: Address, is_permitted: Callable[[], bool]) -> Callable[[], bool]:
        """Whether a connection to it may go on: it `is_permitted`, and there is a way."""
        return lambda: is_permitted() and self.has_way(to)

    async def dial_mesh(self, endpoint: Endpoint, alpn: bytes) -> TlsStream:
        """mTLS to `endpoint`, with its account opened; or an error. The caller sets the deadline."""
        tls = self.own_tls()
        stream, peer = await connect_mesh(tls, self.dialer, endpoint, alpn)
        self.accounts.open_mesh(stream, tls, peer, "outbound", dst=str(Address(endpoint.address, endpoint.port)))
        return stream

    def own_tls(self) -> MeshTls:
        """Our credentials. Unavailable without any."""
        tls = self.valid_tls()
        if tls is None:
            raise Unavailable(Reason.NO_IDENTITY)
        return tls
