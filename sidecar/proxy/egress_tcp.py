"""TCP to external hosts by name: the application dials the synthetic address that the DNS guard gave it for the name.

    1  judge the name, at the port that was dialled
    2  resolve it as every approved name, and dial that
    3  TLS: from the first byte, or asked for in the protocol's own words (`start_tls.py`); none where a policy says so
    4  bytes as they are, as long as the leave lasts

Trust: the address selects a name that the guard has given one, and nothing else; name and port have passed `policy/egress.py`. The
host is believed nothing before its certificate is verified, and gets nothing of the application's before. Never plaintext instead.
"""

import socket
from collections.abc import Callable
from functools import partial

import trio

from sidecar.model.address import Address
from sidecar.model.egress import EgressHost
from sidecar.model.errors import ReasonedError
from sidecar.net.ahead import Ahead
from sidecar.net.deadline import Deadline
from sidecar.net.socket_stream import LAST_WORDS_S, SocketStream, linger
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.rules import Rules
from sidecar.protocol.gateway_preface import Preface
from sidecar.telemetry.access_log import Record

from .egress import approve, demand, is_approved
from .originate import Originator, dial, secure
from .plan import CONNECT_S
from .relay import carry
from .runtime import Runtime
from .start_tls import WORDS, Words
from .via_gateway import serve_connection


def synthetic_name(to: Address, runtime: Runtime, rules: Rules) -> str | None:
    """The name that a connection is for; None where none is, or where what flows says its name itself: plain HTTP and TLS at the ports
    that are approved for them.
    """
    name = runtime.synthetic.name(to.host)
    approval = rules.outbound.named(name) if name is not None else None
    if approval is not None and to.port not in approval.tcp_ports and to.port in (*approval.plain_ports, *approval.tls_ports):
        return None
    return name


async def serve_tcp(sock: socket.socket, to: Address, name: str, originator: Originator, runtime: Runtime, record: Record) -> None:
    record.host, record.spoken = name, f"tcp:{to.port}"
    permit, approval, rules = demand(approve(name, to.port, runtime, "tcp"), record)                            # 1
    is_permitted = partial(is_approved, name, to.port, runtime, "tcp", approval)
    if approval.gateway is not None:
        await serve_connection(sock, Preface("tcp", name, to.port), approval, permit, rules, record, runtime, is_permitted)
        return
    app, upstream, at = await connect(
        SocketStream(sock), name, to.port, approval, rules, originator, runtime, record, is_permitted
    )
    await carry(app, upstream, permit, record, runtime, runtime.with_way(at, is_permitted), approval=approval)     # 4


async def connect(
    stream: SocketStream | TlsStream, name: str, port: int, approval: EgressHost, rules: Rules, originator: Originator, runtime: Runtime,
    record: Record, is_permitted: Callable[[], bool],
) -> tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream, Address]:
    """Application and host, each ready for what the other says, and the host's address.

    Args:
        stream: to the application, whose bytes are all still to come; the caller's to close.

    ReasonedError if it is not to be; where the protocol has words for that, the application has heard them.
    """
    tls = approval.tls
    words = WORDS[tls.start_tls]() if tls is not None and tls.start_tls is not None else None
    app = Ahead(stream)
    record.upstream = f"{name}:{port}" if words is not None else ""     # from here on the application is told in its own words
    try:
        with Deadline() as deadline:
            runtime.budgets.demand(approval)
            context = originator.context(tls, is_http2=None) if tls is not None else None   # what is missing is missed here
            deadline.upstream("name resolution", CONNECT_S)
            addresses = await originator.addresses(name, approval, rules)                                       # 2
            deadline.upstream("connect", CONNECT_S)
            sock_up, at = await dial(addresses, port, runtime)
            opened: list[SocketStream | TlsStream] = [SocketStream(sock_up)]

            async def speak_tls() -> TlsStream:
                assert tls is not None
                assert context is not None
                deadline.upstream("TLS handshake", CONNECT_S)
                secured = await secure(sock_up, at, name, tls, context, runtime, record, is_permitted)
                opened.append(secured)
                runtime.accounts.carry(record, secured.account)
                record.security = "tls"
                return secured

            upstream: trio.abc.HalfCloseableStream
            try:
                if tls is None:                                                                                 # 3
                    record.security, upstream = "passthrough", opened[0]
                elif words is None:
                    upstream = await speak_tls()
                else:
                    upstream = await words.begin(app, SocketStream(sock_up), speak_tls, deadline)
            except BaseException:
                for one in reversed(opened):
                    one.close()
                raise
    except ReasonedError as exc:
        if words is not None:
            await _refuse(app, words, exc)
        raise
    record.upstream = f"{name}:{port}"
    return app if words is not None else stream, upstream, at       # without any detour where nobody looks ahead


async def _refuse(app: Ahead, words: Words, why: ReasonedError) -> None:
    """In the application's own protocol, if it still listens."""
    with trio.move_on_after(LAST_WORDS_S):
        try:
            await words.refuse(app, f"{why.reason.code} {why.reason.token}: {why.detail or why.reason.cause}")
            await linger(app)
        except (OSError, trio.BrokenResourceError, ReasonedError):
            pass
