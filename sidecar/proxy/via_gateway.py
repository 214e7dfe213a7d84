"""What may leave by an egress gateway only: judged here as always, resolved and originated there.

A call of the mesh to the gateway's Service, whose connection begins with a preface that names the destination
(`protocol/gateway_preface.py`). Its ALPN is no other call's: an application that calls the gateway's Service by itself is refused by the
gateway, so that what arrives there was judged by `egress.py` or `outbound.py`.

    plain HTTP   a connection for each destination, each request at any endpoint
    TLS, TCP     balanced as a whole

Trust: the gateway must prove the identity that the snapshot names for it. Where it is not reached, or refuses, the application is told
why: never round it.
"""

import socket
from collections.abc import Callable

import trio
from msgspec.structs import replace

from sidecar.model.decision import Denied, Permit
from sidecar.model.egress import EgressHost, EgressRange, GatewayRef
from sidecar.model.errors import GatewayUnreached, TimedOut, Unavailable, UpstreamError, WrongIdentity
from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason
from sidecar.model.service import Endpoint
from sidecar.net.deadline import Deadline
from sidecar.net.ends import Connection
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import ALPN_EGRESS
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.egress import ToService
from sidecar.policy.rules import Rules
from sidecar.protocol.gateway_preface import Preface, Refusal, read_answer, render_preface
from sidecar.telemetry.access_log import Record

from .endpoints import Member
from .mesh_call import MeshCall
from .mesh_tcp import connect_to_one
from .plan import Decision, Plan, Upstream
from .relay import carry
from .runtime import Runtime
from .versions import client

ANSWER_S = 21.0     # the gateway resolves and connects before it says ok, each with ten seconds


def plan_request(
    request: RequestHead, port: int, approval: EgressHost, permit: Permit, rules: Rules, record: Record, runtime: Runtime,
    is_permitted: Callable[[], bool],
) -> Decision:
    """How a permitted request of plain HTTP goes to the gateway; each attempt to an endpoint of its own, as in the mesh.

    Args:
        port: that the application dialled.
    """
    preface = Preface("http2" if request.is_http2 else "http1", request.host.decode("ascii"), port)
    to = _service(approval.gateway, rules)
    decision = _GatewayCall(request, to, rules, record, runtime, preface, is_permitted).decide()
    if isinstance(decision, Denied) and decision.reason is Reason.NETWORK_POLICY_OUT:
        return decision
    if not isinstance(decision, Plan):
        return Denied(Reason.GATEWAY_UNREACHED, permit.rule, f"{to.service.name} has no endpoint")
    return replace(decision, permit=permit, upgrades=(), spend=runtime.budgets.spender(approval))


class _GatewayCall(MeshCall):
    __slots__ = ("_is_permitted", "_preface")

    def __init__(
        self, request: RequestHead, to: ToService, rules: Rules, record: Record, runtime: Runtime, preface: Preface,
        is_permitted: Callable[[], bool],
    ) -> None:
        # Our ID of the request goes along, so that both logs can be read together; the gateway takes it out.
        super().__init__(request, [(b"x-request-id", record.request_id.encode())], to, rules, record, runtime)
        self._preface = preface
        self._is_permitted = is_permitted

    def _upstream(
        self, member: Member, leave: Callable[[], None] | None = None, observe: Callable[[bool], None] | None = None
    ) -> Upstream:
        upstream = super()._upstream(member, leave, observe)
        preface, runtime, is_permitted = self._preface, self._runtime, self._is_permitted

        async def connect() -> Connection:
            with trio.move_on_after(upstream.connect_s):
                stream = await _dial(member.endpoint, preface, runtime, lambda: is_permitted() and runtime.may_call(member.endpoint))
                return client(stream, is_http2=preface.carried == "http2")
            raise GatewayUnreached(f"{upstream.name}: no answer")

        return replace(
            upstream, key=("gateway", preface, upstream.key), connect=connect, connect_s=upstream.connect_s + 1,
            host=self._request.host, name=f"{preface} by {upstream.name}",
        )

    def _enter(self, member: Member) -> Decision:
        """This very pod is the gateway: a connection to ourselves would not arrive."""
        return Denied(Reason.GATEWAY_UNREACHED)


async def _dial(endpoint: Endpoint, preface: Preface, runtime: Runtime, is_permitted: Callable[[], bool]) -> TlsStream:
    try:
        stream = await runtime.dial_mesh(endpoint, ALPN_EGRESS)
    except WrongIdentity:
        raise
    except UpstreamError as exc:
        raise GatewayUnreached(f"{exc.reason.token}: {exc.detail}") from exc
    try:
        await _greet(stream, preface)
        runtime.withdrawals.watch(stream.sock, is_permitted)
    except BaseException:
        stream.close()
        raise
    return stream


async def _greet(stream: TlsStream, preface: Preface) -> None:
    """Say where to, and wait for the leave. Unavailable with the gateway's reason if it refuses."""
    said = b""
    try:
        with Deadline() as deadline:
            deadline.upstream("gateway's answer", ANSWER_S)
            await stream.send_all(render_preface(preface))
            while not (answer := read_answer(said)):
                piece = await stream.receive_some(3 - len(said) if len(said) < 3 else None)
                if not piece:
                    raise GatewayUnreached("the gateway ended the connection without an answer")
                said += piece
    except (trio.BrokenResourceError, TimedOut, ValueError) as exc:
        raise GatewayUnreached(f"no answer of the gateway: {exc}") from exc
    if isinstance(answer, Refusal):
        raise Unavailable(answer.reason or Reason.GATEWAY_UNREACHED, f"said by the gateway: {answer.detail}")


def _service(ref: GatewayRef | None, rules: Rules) -> ToService:
    assert ref is not None, "the approval names one"
    to = rules.outbound.service_named(ref.service, ref.port)
    if to is None:
        raise GatewayUnreached(f"{ref.service} has no port {ref.port}, as far as this sidecar knows")
    return to


async def serve_connection(
    sock: socket.socket, preface: Preface, approval: EgressHost | EgressRange, permit: Permit, rules: Rules, record: Record,
    runtime: Runtime, is_permitted: Callable[[], bool],
) -> None:
    """One connection of the application's, as it is; nothing of it was taken yet. Raises ReasonedError before a byte has moved."""
    record.rule = permit.rule
    runtime.budgets.demand(approval)
    to = _service(approval.gateway, rules)
    group = runtime.endpoints.group(rules, to.service, trio.current_time())
    member = group.pick(trio.current_time())
    if member is None and (denied := rules.why_nobody(to)).reason is Reason.NETWORK_POLICY_OUT:
        raise Unavailable(denied.reason, denied.detail, denied.rule)
    if member is None or rules.is_this_pod(member.endpoint):
        raise GatewayUnreached(f"{to.service.name} has no endpoint")
    try:
        member, upstream, leave = await connect_to_one(member, group, to, rules, runtime, record, ALPN_EGRESS)
    except WrongIdentity:
        raise
    except UpstreamError as exc:
        raise GatewayUnreached(f"{exc.reason.token}: {exc.detail}") from exc
    endpoint = member.endpoint
    record.upstream = f"{preface} by {record.upstream}"
    record.tls = upstream.connection.get_protocol_version_name()
    try:
        await _greet(upstream, preface)

        def may_go_on() -> bool:
            return runtime.may_go_on(to.service, endpoint) and is_permitted()

        await carry(SocketStream(sock), upstream, permit, record, runtime, may_go_on, approval=approval)
    finally:
        leave()
        upstream.close()
