"""Clients before the door of an ingress gateway: one request each, and what became of it."""

from collections.abc import Sequence
from typing import Any

import trio

from sidecar.model.client import Client, ClientCertificate
from sidecar.model.decision import Denied
from sidecar.model.edge import Access, Edge, EdgeListener, EdgeRoute
from sidecar.model.egress import Outbound
from sidecar.model.message import NO_BODY, Headers, RequestHead
from sidecar.model.route import Caller, TokenIssuer
from sidecar.model.service import Backend
from sidecar.model.snapshot import Snapshot, Workload
from sidecar.net.socket_stream import SocketStream
from sidecar.policy.route_table import RouteTable
from sidecar.policy.rules import Rules
from sidecar.proxy.access import Admitted, Clients
from sidecar.proxy.http import serve_http
from sidecar.proxy.plan import Reply
from sidecar.telemetry.access_log import Record
from tests.helpers.leave import Pod, pod
from tests.helpers.pki import WEB
from tests.helpers.runtime import POD, kept_pair

SOURCE = "192.0.2.7"
ANYBODY = Caller()


def route(name: str = "ingress/shop/web", *, access: str = "users", allow: Sequence[Caller] = (ANYBODY,), **more: Any) -> EdgeRoute:
    return EdgeRoute(name, tuple(allow), ports=(443,), access=access, backends=(Backend("web.shop", 80),), **more)


def edge_rules(
    access: Access, *routes: EdgeRoute, issuers: tuple[TokenIssuer, ...] = (), outbound: Outbound = Outbound(),  # noqa: B008 -- frozen
    **others: Access,
) -> Rules:
    edge = Edge((EdgeListener(443),), routes or (route(),), {"users": access, **others}, issuers)
    return Rules.of(Snapshot(Workload(WEB, "shop", addresses=(POD,)), outbound=outbound, edge=edge), "digest")


class Door:
    """
    Attributes:
        request, record: of the last one that asked.
        is_at_once: whether its outcome needed no waiting.
    """

    request: RequestHead
    record: Record
    is_at_once: bool

    def __init__(self, nursery: trio.Nursery, rules: Rules) -> None:
        self.gateway: Pod = pod(nursery, rules)
        self.clients = Clients(self.gateway.originator, self.gateway.bench.runtime)

    def become(self, rules: Rules) -> None:
        self.gateway.bench.runtime.rules.set(rules)

    async def ask(
        self, *headers: tuple[str, str], source: str = SOURCE, certificate: ClientCertificate | None = None, method: str = "GET",
        target: str = "/a?b=1", host: str = "www.example.com", port: int | None = None,
    ) -> Admitted | Denied | Reply:
        fields: Headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self.request = RequestHead(method.encode(), target.encode(), host.encode(), port, fields, NO_BODY, is_last=False)
        self.record = Record(0.0, "edge", request_id="an-id")
        return await self._admit(self.request, self.record, source, host, certificate)

    async def knock(self, text: bytes) -> bytes:
        """What a request that is not let in is answered."""
        async def decide(request: RequestHead, record: Record) -> Reply | Denied:
            outcome = await self._admit(request, record, SOURCE, "www.example.com", None)
            assert not isinstance(outcome, Admitted)
            return outcome

        ours, theirs = kept_pair(self.gateway.nursery)
        runtime = self.gateway.bench.runtime

        async def serve() -> None:
            with theirs:
                await serve_http(SocketStream(theirs), runtime, decide, lambda: Record(runtime.wall(), "edge", source=SOURCE))

        self.gateway.nursery.start_soon(serve)
        app = SocketStream(ours)
        await app.send_all(text)
        return bytes(await app.receive_some())

    async def _admit(
        self, request: RequestHead, record: Record, source: str, host: str, certificate: ClientCertificate | None
    ) -> Admitted | Denied | Reply:
        rules = self.gateway.bench.runtime.rules.current
        assert rules is not None
        assert rules.snapshot.edge is not None
        found = RouteTable(rules.snapshot.edge.routes).find(443, request)
        assert found is not None
        client = Client(source, "https", 443, host, certificate)
        judged = self.clients.admit(found, rules, request, client, record)
        self.is_at_once = isinstance(judged, (Admitted, Denied, Reply))
        return judged if isinstance(judged, (Admitted, Denied, Reply)) else await judged

    @property
    def seen(self) -> Headers:
        """The fields that the application would see."""
        return self.request.headers
