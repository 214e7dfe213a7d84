"""The egress gateway: what leaves workloads by a pod of its own, so that the outside sees, and a firewall lets through, one address.

    1  who is it?           mesh mTLS, by an ALPN that only the egress recipes of sidecars speak; exactly one SPIFFE ID
    2  where to?            the preface: kind, host, port; one connection, one destination
    3  may it?              judged again by what *this* snapshot grants *that* identity, whatever its sidecar has said: per request
                            (plain HTTP), per connection and again at each change (TLS, TCP)
    4  the way out          as from any sidecar: our resolution, TLS originated and verified; here are the roots and client certificates
    5  the answer           ok, or the reason, which the caller's sidecar passes on and writes down, as we do

NetworkPolicies that isolate the gateway's own pod hold for both: who may come, and what may be dialled.

What an approval says of a gateway counts with callers only: nothing goes from here to another, nor back into the mesh.

Trust: a caller's sidecar may have been taken over: it gets what is approved for its identity, and no more. The preface and all that
follows are a stranger's bytes; the server name inside passed-through TLS must be the host of the preface. Attacked by
tests/proxy/test_gateway.py.
"""

import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import trio
from msgspec.structs import replace

from sidecar.model import ports
from sidecar.model.address import Address, canonical, is_address
from sidecar.model.call import Peer
from sidecar.model.decision import Denied, Permit
from sidecar.model.egress import EgressHost
from sidecar.model.errors import ProtocolViolation, ReasonedError, Unavailable
from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason
from sidecar.net.deadline import Deadline
from sidecar.net.socket_stream import SocketStream, close_stream, linger
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.egress import Kind, holds, why_not
from sidecar.policy.rules import Rules
from sidecar.protocol.client_hello import MAX_HELLO_BYTES, ClientHello, read_client_hello
from sidecar.protocol.gateway_preface import OK, Carried, Preface, read_preface, render_refusal
from sidecar.telemetry.access_log import Record

from .egress import Leave, approve, demand
from .egress_tcp import connect
from .headers import egress_headers
from .http import serve_http1
from .http2 import serve_http2
from .inbound import accept_mesh
from .originate import Originator, dial
from .plan import CONNECT_S, Decision
from .relay import carry
from .runtime import Runtime
from .ways import Ways

PREFACE_S = 5.0
HELLO_S = 10.0
_KINDS: dict[Carried, Kind] = {"http1": "plain", "http2": "plain", "tls": "tls", "tcp": "tcp"}


async def serve_gateway(sock: socket.socket, runtime: Runtime, originator: Originator) -> None:
    """Serve one connection that arrived at the gateway's port."""
    source, own = str(canonical(sock.getpeername()[0])), sock.getsockname()
    record = Record(runtime.wall(), "gateway", dst=str(Address(str(canonical(own[0])), own[1])), source=source)
    stream: TlsStream | None = None
    try:
        tls = runtime.own_tls()
        stream = TlsStream(tls.gateway, sock, is_server=True)
        peer = await accept_mesh(stream, tls, record, runtime)                                  # 1
        preface = await _read_preface(stream)                                                   # 2
        record.dst, record.host, record.security, record.tls = str(preface), preface.host.strip("[]"), "", ""   # of the way on
        record.spoken = f"{_KINDS[preface.carried]}:{preface.port}"
        await _Led(stream, peer, preface, record, runtime, originator).serve()
    except ReasonedError as exc:
        record.rule = exc.rule or record.rule
        record.refuse(exc.reason, exc.detail)
        runtime.tell(record)
        if stream is not None and record.upstream:      # it was told ok: nobody is to take what it got for the whole
            stream.abort()
        elif stream is not None and record.peer:
            await _say_no(stream, exc)                                                          # 5
    except (OSError, trio.BrokenResourceError):
        pass    # the caller is gone before anything left
    finally:
        if stream is not None:
            stream.close()


async def _read_preface(stream: TlsStream) -> Preface:
    data, preface = b"", None
    with Deadline() as deadline:
        deadline.downstream("preface", PREFACE_S)
        try:
            while preface is None:
                piece = await stream.receive_some()
                data += piece
                preface = read_preface(data)
                if preface is None and not piece:
                    raise ValueError("the caller ended before it said where to")
        except ValueError as exc:
            raise ProtocolViolation(Reason.BAD_HEAD, f"no preface of a sidecar's: {exc}") from exc
    assert preface is not None
    return preface


async def _say_no(stream: TlsStream, exc: ReasonedError) -> None:
    try:
        with trio.move_on_after(1):
            await stream.send_all(render_refusal(exc.reason, exc.detail))
            await linger(stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass    # nobody is left to hear it


@dataclass(frozen=True, slots=True)
class _Led:
    """One connection of one caller to one destination."""

    stream: TlsStream
    peer: Peer
    preface: Preface
    record: Record
    runtime: Runtime
    originator: Originator
    ways: Ways = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ways", Ways(self.originator, self.runtime, self.caller))

    @property
    def caller(self) -> str:
        return str(self.peer.identity)

    async def serve(self) -> None:
        if self.preface.carried in ("http1", "http2"):
            await self._serve_requests()
        elif self.preface.carried == "tcp" and is_address(self.preface.host.strip("[]")):
            await self._serve_range()
        else:
            await self._serve_named()

    # -- 3

    def _why_not_here(self) -> Denied | None:
        """Why this gateway does nothing for the caller, wherever it would go."""
        runtime = self.runtime
        if why := runtime.why_no_longer(self.peer):
            return Denied(Reason.PEER_NOT_VERIFIED if self.peer.not_after <= runtime.wall() else Reason.REVOKED, detail=why)
        rules = runtime.rules.current
        return rules.why_no_entry(self.record.source, ports.GATEWAY, self.peer.identity) if rules is not None else None

    def _approve(self) -> Leave | Denied:
        runtime, preface = self.runtime, self.preface
        if (denied := self._why_not_here()) is not None:
            return denied
        return approve(preface.host, preface.port, runtime, _KINDS[preface.carried], self.caller)

    def _is_permitted(self, begun: EgressHost) -> bool:
        """Whether what was begun may go on."""
        judged = self._approve()
        return not isinstance(judged, Denied) and holds(begun, judged.approval, _KINDS[self.preface.carried])

    def _demand(self) -> Leave:
        return demand(self._approve(), self.record)

    def _judge_name(self, approval: EgressHost, rules: Rules, record: Record) -> Denied | None:
        return self.runtime.names.judge(self.preface.host, approval, rules, record, caller=self.caller)

    # -- plain HTTP: each request is judged

    async def _serve_requests(self) -> None:
        known, runtime = self.record, self.runtime
        self._demand()
        await self.stream.send_all(OK)

        def new_record() -> Record:
            return replace(known, time=runtime.wall(), rule="")

        serve = serve_http2 if self.preface.carried == "http2" else serve_http1
        await serve(self.stream, runtime, self._decide, new_record)

    def _decide(self, request: RequestHead, record: Record) -> Decision | Awaitable[Decision]:
        preface = self.preface
        headers = egress_headers(request, record, self.runtime.rng)
        if request.host != preface.host.encode() or request.port not in (None, preface.port):
            return Denied(Reason.MISDIRECTED, detail=f"the request is for {request.host.decode('ascii')}, the connection for {preface}")
        judged = self._approve()
        if isinstance(judged, Denied):
            return judged
        permit, approval, rules = judged
        record.rule = permit.rule
        if (denied := why_not(approval, request) or self._judge_name(approval, rules, record)) is not None:
            return denied
        return self.ways.plan(                                                                  # 4
            request, headers, Address("", preface.port), permit, approval, rules, record, partial(self._is_permitted, approval),
        )

    # -- TLS of the application's own, and TCP

    async def _serve_named(self) -> None:
        permit, approval, rules = self._demand()
        tls, is_permitted = approval.tls, partial(self._is_permitted, approval)
        if (denied := self._judge_name(approval, rules, self.record)) is not None:
            raise Unavailable(denied.reason, denied.detail)
        if self.preface.carried == "tcp" and tls is not None:
            if tls.start_tls is not None:
                await self.stream.send_all(OK)      # its protocol needs the application, which is told in that what goes wrong
            app, upstream, at = await connect(
                self.stream, self.preface.host, self.preface.port, approval, rules, self.originator, self.runtime, self.record,
                is_permitted,
            )
            await self._relay(upstream, at, permit, is_permitted, app)
        else:
            with Deadline() as deadline:
                deadline.upstream("name resolution", CONNECT_S)
                addresses = await self.originator.addresses(self.preface.host, approval, rules)
            await self._relay(*await self._dial(addresses), permit, is_permitted)

    async def _serve_range(self) -> None:
        to, runtime = Address(self.preface.host.strip("[]"), self.preface.port), self.runtime

        def leave() -> Permit | None:
            rules = runtime.rules.current
            if rules is None or not runtime.is_outbound_open.current or self._why_not_here() is not None:
                return None
            table = rules.callers.get(self.caller)
            return table.range(to) if table is not None and not rules.is_closed_to_callers(canonical(to.host)) else None

        permit = leave()
        if permit is None and (denied := self._why_not_here()) is not None:
            raise Unavailable(denied.reason, denied.detail, denied.rule)
        if permit is None:
            raise Unavailable(Reason.ADDRESS_NOT_APPROVED, f"this gateway leads {self.caller} not to {to}")
        self.record.rule = permit.rule
        await self._relay(*await self._dial((to.host,)), permit, lambda: leave() is not None)

    async def _dial(self, addresses: Sequence[str]) -> tuple[SocketStream, Address]:
        with Deadline() as deadline:
            deadline.upstream("connect", CONNECT_S)
            sock, at = await dial(addresses, self.preface.port, self.runtime)
        # Its own account, with the host, and not the caller's connection's: `Accounts.note` makes one of what stands alone.
        self.record.security, self.record.connection, self.record.dst, self.record.tls = "passthrough", "", str(at), ""
        return SocketStream(sock), at

    async def _relay(
        self, upstream: trio.abc.HalfCloseableStream, at: Address, permit: Permit, is_permitted: Callable[[], bool],
        app: trio.abc.HalfCloseableStream | None = None,
    ) -> None:
        """
        Args:
            at: the upstream's address.
            app: the caller's stream, in another shape if it was told ok already.
        """
        app = app or self.stream
        self.record.upstream = str(self.preface)
        try:
            try:
                if app is self.stream:
                    await self.stream.send_all(OK)
                if self.preface.carried == "tls":
                    await self._pass_hello(upstream, is_permitted)
            except trio.BrokenResourceError:
                self.record.detail = "one side was gone before anything moved"
                self.runtime.tell(self.record)
            else:
                await carry(app, upstream, permit, self.record, self.runtime, self.runtime.with_way(at, is_permitted))
        finally:
            close_stream(upstream)

    async def _pass_hello(self, upstream: trio.abc.SendStream, is_permitted: Callable[[], bool]) -> None:
        """The first message of the application's TLS, once its server name is known to be what was judged."""
        data, hello = b"", None
        with Deadline() as deadline:
            deadline.downstream("TLS hello", HELLO_S)
            try:
                while (hello := _hello(data)) is None:
                    piece = await self.stream.receive_some()
                    if not piece:
                        break
                    data += piece
            except ValueError as exc:
                raise ProtocolViolation(Reason.MISDIRECTED, f"the caller announced TLS and sends none: {exc}") from exc
            self.record.received = len(data)
            if hello is None or hello.server_name != self.preface.host:
                name = hello.server_name if hello is not None else None
                raise ProtocolViolation(Reason.MISDIRECTED, f"the server name is {name}, the connection for {self.preface}")
            if is_permitted():      # else the tunnel says so, before a byte has moved
                deadline.upstream("TLS hello", HELLO_S)
                await upstream.send_all(data)


def _hello(data: bytes) -> ClientHello | None:
    """ValueError if it is none. What follows it in the same piece is no business of its reader's."""
    if len(data) > 2 * MAX_HELLO_BYTES:
        raise ValueError("no end of its hello")
    return read_client_hello(data) if data else None


