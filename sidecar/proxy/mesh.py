"""Calls to a Service of the mesh: which endpoint takes each attempt, and mTLS to exactly the identity that the snapshot names.

    1  the rule         the most specific of those that the destination declared for its callers
    2  the Service      the one that was dialled, or a backend among which the rule splits (`policy/split.py`)
    3  the endpoint     for each attempt anew (`mesh_call.py`), or for the connection where it is no HTTP (`mesh_tcp.py`)
    4  the connection   verified before a byte is sent (`net/tls_mesh.py`)

Trust: the application chose the address and wrote the request; both select among endpoints of the snapshot and nothing else.
Whichever Service a rule leads to is reached in the same way, and never in plaintext.
"""

import socket
from functools import partial

import trio
from msgspec.structs import replace

from sidecar.model.address import Address
from sidecar.model.decision import Denied
from sidecar.model.message import Headers, RequestHead
from sidecar.model.reason import Reason
from sidecar.model.service import CallRule
from sidecar.net.socket_stream import SocketStream
from sidecar.policy.egress import ToService
from sidecar.policy.rules import Rules
from sidecar.policy.split import named, target
from sidecar.telemetry.access_log import Record

from .headers import mesh_headers
from .http import serve_http
from .mesh_call import MeshCall
from .plan import Decide, Decision, Plan
from .runtime import Runtime


async def serve_mesh_requests(sock: socket.socket, to: Address, runtime: Runtime, known: Record) -> None:
    """One connection of an application that speaks HTTP; each request is judged and balanced for itself."""
    new_record = partial(replace, Record(known.time, "outbound", dst=known.dst))
    await serve_http(SocketStream(sock), runtime, mesh_decider(to, runtime), new_record)


def mesh_decider(to: Address, runtime: Runtime) -> Decide:
    """How each request of a connection that the application opened to `to` is decided."""
    def decide(request: RequestHead, record: Record) -> Decision:
        headers = mesh_headers(request, record, runtime.rng)
        rules = runtime.rules.current
        if rules is None:
            return Denied(Reason.NO_SNAPSHOT)
        if not runtime.is_outbound_open.current:
            return Denied(Reason.REDIRECT_LOST)
        dialled = rules.outbound.service(to)
        if dialled is None:
            return Denied(Reason.ADDRESS_NOT_APPROVED, detail=f"{to} is in the mesh no longer")
        record.rule = dialled.permit.rule
        return call(request, headers, dialled, rules, record, runtime)

    return decide


def call(
    request: RequestHead, headers: Headers, dialled: ToService, rules: Rules, record: Record, runtime: Runtime,
    *, rule: CallRule | None = None, is_http2: bool | None = None,
) -> Decision:
    """How one call is carried out.

    Args:
        rule: instead of that which the destination has declared for it.
        is_http2: whether that is spoken with the endpoint's sidecar; None: where the request came by it.
    """
    rule = rule or (dialled.rule(request) if dialled.rules is not None else None)                           # 1
    to = target(dialled, rule, rules.outbound, runtime.rng) if rule is not None else dialled                # 2
    if isinstance(to, Denied):
        return to
    decision = MeshCall(request, headers, to, rules, record, runtime, is_http2=is_http2).decide()       # 3, 4
    if rule is None or not isinstance(decision, Plan):
        return decision
    plan = replace(decision, request_s=rule.request_s or decision.request_s, idle_s=rule.idle_s or decision.idle_s)
    if rule.mirror is not None and runtime.rng.random() * 100 < rule.mirror.percent:
        mirror = named(rule.mirror, dialled, rules.outbound)
        if mirror is not None:
            plan = replace(plan, mirror=MeshCall(request, headers, mirror, rules, record, runtime, is_http2=is_http2).copy())
    if rule.retries is not None and record.security != "in-process":
        now = trio.current_time()
        group = runtime.endpoints.group(rules, dialled.service, now)
        group.deposit(rule, now)
        plan = replace(plan, retries=rule.retries, may_retry=lambda: group.may_retry(rule, trio.current_time()))
    return plan
