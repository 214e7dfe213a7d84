"""What comes in from outside of the mesh, step by step: one connection of a client's at a listener of an ingress gateway.

    1  which listener?      the snapshot's, by the port that clients know; a client of a port that it does not name is told so, as is
                            one whom NetworkPolicies keep from this pod
    2  TLS                  by the server name of the hello the certificate for it, or an alert, and no other certificate instead
    3  who is it?           an address; and a client certificate, where the host asks for one
    4  is it meant here?    per request: Host is the server name (else 421), and asks for no more than the connection has shown
    5  which rule?          by port, host, path, method and fields; none: 404
    6  may it?              who the client is, what the rule allows: `access.py`
    7  what else?           limits, faults, answers of our own, edits: `admit.py`
    8  forward              to a Service of the mesh, by weight, and from there as any caller in the mesh: `mesh.py`

A browser speaks HTTP/2 to whatever stands in front, and seldom does the application: it gets HTTP/1.1, unless its port says otherwise,
or it is gRPC. What the destination has declared for its callers (timeouts, retries, splits) holds where the rule here says nothing.

Trust: everything is a stranger's, and nothing that a client says of itself goes on but what was verified here; what it reaches is what
a rule of the snapshot names, by mTLS to the identity that the snapshot names. Attacked by tests/proxy/test_edge.py.
Spec: RFC 9110 s7.4 and s15.5.20 (421), RFC 6066 s3.
"""

import socket
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial

import msgspec
import trio
from msgspec.structs import replace

from sidecar.model.address import Address, canonical, client_network
from sidecar.model.client import Client
from sidecar.model.decision import Denied
from sidecar.model.edge import EdgeRoute
from sidecar.model.errors import ClientTlsRejected, NoEndpoint, ReasonedError, Unavailable
from sidecar.model.message import Headers, RequestHead
from sidecar.model.reason import Reason
from sidecar.model.service import CallRule, Service
from sidecar.net.deadline import Deadline
from sidecar.net.peek import peek
from sidecar.net.socket_stream import SocketStream, linger
from sidecar.net.tls_edge import INTERNAL_ERROR, UNRECOGNIZED_NAME, Served
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.egress import ToService
from sidecar.policy.rules import Rules
from sidecar.policy.split import led
from sidecar.protocol.client_hello import ClientHello
from sidecar.protocol.client_word import word_of
from sidecar.protocol.detect import Detected, recognise
from sidecar.telemetry.access_log import Record

from .access import Admitted, Clients, Judged
from .headers import edge_headers
from .http import serve_http, serve_http1
from .http2 import serve_http2
from .mesh import call
from .mesh_call import UPGRADES
from .plan import Choose, Decision, Patience, Plan, Reply
from .respond import TABLE, explain, explain_http2
from .runtime import Runtime
from .serve import ServeConnection

HANDSHAKE_S = 10.0      # with the hello
GRACE_S = 10.0
TAKE_S = 15.0
# Strangers may be many and slow on purpose: who holds a connection, and an application's worker with it, for nothing is soon gone.
HURRIED = Patience(GRACE_S, TAKE_S, is_strict=True)


async def serve_edge(sock: socket.socket, port: int, runtime: Runtime, clients: Clients) -> None:
    """Serve one connection.

    Args:
        port: as clients know it, of the listener that it came to.
    """
    source, own = str(canonical(sock.getpeername()[0])), str(canonical(sock.getsockname()[0]))
    record = Record(runtime.wall(), "edge", dst=str(Address(own, port)), source=source, client=source)
    rules = runtime.rules.current
    try:
        if rules is None:                                                                           # 1
            await _turn_away(sock, Unavailable(Reason.NO_SNAPSHOT), record, runtime)
        elif not rules.edge.serves(port):
            await _turn_away(sock, Unavailable(Reason.NO_EDGE_ROUTE, f"nothing is served at {port}"), record, runtime)
        elif (denied := rules.why_no_entry(source, sock.getsockname()[1], None)) is not None:
            await _turn_away(sock, Unavailable(denied.reason, denied.detail), record, runtime)
        elif runtime.edge_hosts.follow(rules.snapshot.edge).speaks_tls(port):
            await _serve_tls(sock, port, record, runtime, clients)
        else:
            entered = _enter(Client(source, "http", port), None, sock, runtime, clients)
            await entered.serve(SocketStream(sock), record, serve_http)
    except ReasonedError as exc:
        record.refuse(exc.reason, exc.detail)
        runtime.tell(record)
    except (OSError, trio.BrokenResourceError):
        pass    # the client reset before it had said anything


async def _first_bytes(sock: socket.socket) -> ClientHello | Detected | None:
    """What it speaks; None: nothing, it only looked whether anybody listens."""
    with Deadline() as deadline:
        deadline.downstream("TLS handshake", HANDSHAKE_S)
        return await peek(sock, recognise)


async def _turn_away(sock: socket.socket, why: ReasonedError, record: Record, runtime: Runtime) -> None:
    """Whatever it speaks, it is told why in that."""
    hello = await _first_bytes(sock)
    if hello is not None:
        await _say_no(sock, hello, UNRECOGNIZED_NAME, why, record, runtime)


async def _say_no(
    sock: socket.socket, hello: ClientHello | Detected, alert: bytes, why: ReasonedError, record: Record, runtime: Runtime
) -> None:
    stream, last_words = SocketStream(sock), alert
    record.refuse(why.reason, why.detail)
    if hello in (Detected.HTTP1, Detected.HTTP2):
        record.status = TABLE[why.reason].status
        last_words = explain(why.reason, "", why.detail) if hello is Detected.HTTP1 else explain_http2(why.reason)
    runtime.tell(record)
    await stream.send_all(last_words)
    await linger(stream)


async def _serve_tls(sock: socket.socket, port: int, record: Record, runtime: Runtime, clients: Clients) -> None:    # 2
    ends_at = trio.current_time() + HANDSHAKE_S
    hello = await _first_bytes(sock)
    if hello is None:
        return
    if not isinstance(hello, ClientHello):
        await _say_no(sock, hello, b"", Unavailable(Reason.MISDIRECTED, f"TLS is spoken at port {port}"), record, runtime)
        return
    served = runtime.edge_hosts.find(port, hello.server_name)
    if served is None:
        why = ClientTlsRejected(f"no certificate is for the server name {hello.server_name}")
        await _say_no(sock, hello, UNRECOGNIZED_NAME, why, record, runtime)
        return
    try:
        context = served.context()
    except Unavailable as exc:
        await _say_no(sock, hello, INTERNAL_ERROR, exc, record, runtime)
        return
    stream = TlsStream(context, sock, is_server=True)
    try:
        await _shake_hands(stream, ends_at)                                                             # 3
        record.tls = stream.connection.get_protocol_version_name()
        client = Client(record.source, "https", port, hello.server_name, served.client_certificate(stream, hello.server_name))
        serve = serve_http2 if stream.connection.get_alpn_proto_negotiated() == b"h2" else serve_http1
        await _enter(client, served, sock, runtime, clients).serve(stream, record, serve)
    finally:
        stream.close()


async def _shake_hands(stream: TlsStream, ends_at: float) -> None:
    """
    Args:
        ends_at: by trio's clock; the hello has had its part of the time.
    """
    with Deadline() as deadline:
        deadline.downstream("TLS handshake", ends_at - trio.current_time())
        try:
            await stream.handshake(ClientTlsRejected)
        except ClientTlsRejected:
            await linger(SocketStream(stream.sock))     # so that the alert arrives before the end does
            raise


def _enter(client: Client, served: Served | None, sock: socket.socket, runtime: Runtime, clients: Clients) -> "_Entered":
    who, word = client_network(client.address), lru_cache(1)(partial(word_of, client))
    return _Entered(client, served, sock.getsockname()[1], who, runtime, clients, word)


class _Entered(msgspec.Struct, frozen=True):
    """One connection of a client's, whose requests are to come.

    Args:
        served: as what it was served TLS; None: it spoke none.
        at: the port of ours that it came to.
        who: as whom limits count the client.
        word: what the pod is told of the client.
    """

    client: Client
    served: Served | None
    at: int
    who: str
    runtime: Runtime
    clients: Clients
    word: Callable[[bytes, int | None], bytes]

    async def serve(self, stream: trio.abc.HalfCloseableStream, known: Record, serve: ServeConnection) -> None:
        await serve(stream, self.runtime, self._decide, partial(replace, known))

    def _decide(self, request: RequestHead, record: Record) -> Decision | Awaitable[Decision]:
        runtime, rules = self.runtime, self.runtime.rules.current
        headers = edge_headers(request, record, self.word, runtime.rng)
        if rules is None:
            return Denied(Reason.NO_SNAPSHOT)
        denied = rules.why_no_entry(self.client.address, self.at, None) or self._misdirected(request, rules)        # 4
        if denied is not None:
            return denied
        found = rules.edge.find(self.client.port, request)                                          # 5
        if found is None:
            return Denied(Reason.NO_EDGE_ROUTE)
        record.rule = found.rule.name
        admitted = self.clients.admit(found, rules, request, self.client, record)                   # 6
        if isinstance(admitted, Admitted):
            return self._carry_out(admitted, found.rule, request, headers, rules, record)
        if isinstance(admitted, (Denied, Reply)):
            return admitted
        return self._decide_later(admitted, found.rule, request, headers, rules, record)

    async def _decide_later(
        self, admitting: Awaitable[Judged], route: EdgeRoute, request: RequestHead, headers: Headers, rules: Rules, record: Record
    ) -> Decision:
        admitted, now = await admitting, self.runtime.rules.current
        if not isinstance(admitted, Admitted):
            return admitted
        if now is None or now is rules:
            return self._carry_out(admitted, route, request, headers, rules, record)
        found = now.edge.find(self.client.port, request)    # they have changed while a password was verified, or an authorizer was asked
        if found is None or found.rule.name != route.name or not self._may_still(admitted, now):
            return Denied(Reason.NOT_ALLOWED, route.name, "the rules have changed since it was let in")
        return self._carry_out(admitted, found.rule, request, headers, now, record)

    def _misdirected(self, request: RequestHead, rules: Rules) -> Denied | None:
        """Why the request is not for this connection."""
        client, served = self.client, self.served
        if served is None:
            return None
        host = request.host.decode("ascii")
        if client.server_name is not None and host != client.server_name:
            return Denied(Reason.MISDIRECTED, detail=f"the request is for {host}, and TLS was asked for {client.server_name}")
        # Without a server name, or since rules have changed, it may be a host that asks a client for more than this one has shown.
        asked = self.runtime.edge_hosts.follow(rules.snapshot.edge).find(client.port, host)
        if asked is not served and not served.asks_as(asked):
            return Denied(Reason.MISDIRECTED, detail=f"TLS for {host} is another than that of this connection")
        if client.certificate is not None and client.certificate.not_after <= self.runtime.wall():
            return Denied(Reason.CLIENT_TLS, detail="the client's certificate has ended since it connected")
        return None

    def _carry_out(
        self, admitted: Admitted, route: EdgeRoute, request: RequestHead, headers: Headers, rules: Rules, record: Record
    ) -> Decision:
        permit = admitted.permit
        if permit.route is None:        # nothing else is asked for
            way = self._lead(request, route, headers, rules, record)                                # 8
            still = partial(self._is_permitted, admitted, way)
            return replace(way, permit=permit, upgrades=UPGRADES, is_permitted=still, patience=HURRIED)
        led: list[Plan] = []

        def upstream(sent: RequestHead) -> Choose:
            led.append(self._lead(sent, route, headers, rules, record))
            return led[0].choose

        plan = self.runtime.admission.admit(permit, request, self.who, upstream, bool, rng=self.runtime.rng)     # 7
        if not isinstance(plan, Plan):
            return plan
        (way,) = led
        return replace(
            plan, request_s=way.request_s, idle_s=way.idle_s, retries=way.retries, may_retry=way.may_retry, mirror=way.mirror,
            upgrades=UPGRADES, is_permitted=partial(self._is_permitted, admitted, way), patience=HURRIED,   # the pod's rule must allow them
        )

    def _is_permitted(self, admitted: Admitted, way: Plan) -> bool:
        """Asked again and again while an upgraded connection lasts."""
        rules = self.runtime.rules.current
        return rules is not None and (way.is_permitted is None or way.is_permitted()) and self._may_still(admitted, rules)

    def _may_still(self, admitted: Admitted, rules: Rules) -> bool:
        """Whether what was let in once would be, by `rules`, which are those of now; the authorizer is not asked again."""
        if rules.why_no_entry(self.client.address, self.at, None) or self._misdirected(admitted.request, rules):
            return False
        return self.clients.still(admitted, self.client)

    def _lead(self, sent: RequestHead, route: EdgeRoute, headers: Headers, rules: Rules, record: Record) -> Plan:
        """How the call is carried out. Unavailable, or NoEndpoint, if it cannot be."""
        to = led(route.backends, rules.outbound, self.runtime.rng)
        if to is None:
            raise NoEndpoint(f"no backend of the rule {route.name!r} is in the mesh")
        decision = call(
            sent, headers, to, rules, record, self.runtime, rule=_call_rule(route, to, sent), is_http2=_speaks_http2(sent, to.service),
        )
        if isinstance(decision, Denied):
            raise Unavailable(decision.reason, decision.detail)
        assert isinstance(decision, Plan), "no Service answers by itself"
        return decision


def _call_rule(route: EdgeRoute, to: ToService, sent: RequestHead) -> CallRule | None:
    """Instead of what the destination has declared for its callers: that, but for what the rule here says. None: it says nothing."""
    if not (route.request_s or route.idle_s or route.retries or route.mirror):
        return None
    rule = to.rule(sent) or CallRule(route.name)
    return replace(
        rule, name=route.name if route.retries is not None else rule.name,     # retries are paid for by whoever asked for them
        request_s=route.request_s or rule.request_s, idle_s=route.idle_s or rule.idle_s,
        retries=route.retries or rule.retries, mirror=route.mirror or rule.mirror,
    )


def _speaks_http2(request: RequestHead, service: Service) -> bool:
    """Towards the destination's sidecar, and so its application."""
    if request.upgrade or service.protocol == "http1":
        return False
    return service.protocol == "http2" or (request.is_http2 and request.is_grpc)
