"""External hosts: binding by construction, and TLS that the sidecar originates.

The name that was judged is resolved by the resolvers that the snapshot names; that answer is dialled, and that name is what the
certificate must be for. The address that the application dialled decides nothing; where it differs it is written down.

    plain HTTP   judged by Host, for each request; TLS originated and verified before a byte of the request is sent
    TLS          judged by SNI; passed through as it is to the address that *we* resolved

If anything is missing (Secret, roots, name, verification) the answer is a refusal that says so. Never plaintext instead.

Trust: the application chooses the name, and nothing else. Name and port have passed `policy/egress.py`; the host at the other end is
believed nothing before its certificate is verified, and its answer is judged like every upstream's.
"""

import socket
from collections.abc import Callable, Sequence
from functools import partial

import trio
from msgspec.structs import replace

from sidecar.model.address import Address, canonical, is_address
from sidecar.model.decision import Denied, Permit
from sidecar.model.errors import ConfigError, ConnectFailed, NotResolved, NotVerified, Unavailable
from sidecar.model.message import RequestHead, ResponseHead
from sidecar.model.reason import Reason
from sidecar.model.snapshot import EgressHost, Origination
from sidecar.net.deadline import Deadline
from sidecar.net.ends import Connection
from sidecar.net.resolve import Resolver
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import Context, material_digest, origination
from sidecar.net.tls_stream import TlsStream
from sidecar.net.verify import verify_host
from sidecar.net.watched import Watched
from sidecar.policy.rules import Rules
from sidecar.protocol.client_hello import ClientHello
from sidecar.telemetry.access_log import Record

from .headers import egress_headers
from .http import serve_http
from .plan import CONNECT_S, Decision, Plan, Upstream
from .runtime import Runtime
from .tunnel import tunnel
from .versions import client


class Originator:
    """TLS contexts for external hosts by their settings, and the addresses that approved names lead to.

    Args:
        rules: a change empties the table of contexts, so that replaced material is used no longer.
    """

    def __init__(self, rules: Watched[Rules | None], resolver: Resolver) -> None:
        self._rules = rules
        self._resolver = resolver
        self._contexts: dict[tuple[Origination, bool], Context] = {}
        self._built_for: Rules | None = None

    def context(self, settings: Origination, *, is_http2: bool) -> Context:
        """Unavailable, before anything is sent, if the material is missing or unusable."""
        if self._built_for is not self._rules.current:
            self._built_for = self._rules.current
            self._contexts.clear()
        context = self._contexts.get((settings, is_http2))
        if context is None:
            certificate = settings.client_certificate
            if certificate is not None and (certificate.chain is None or certificate.key is None):
                raise Unavailable(Reason.CLIENT_CERTIFICATE_MISSING, f"Secret {certificate.name}")
            try:
                context = origination(
                    min_version=settings.min_version,
                    roots=settings.roots,
                    chain=certificate.chain if certificate else None,
                    key=certificate.key if certificate else None,
                    is_http2=is_http2,
                )
            except ConfigError as exc:
                reason = Reason.ROOTS_UNUSABLE if exc.where == "roots" else Reason.CLIENT_CERTIFICATE_MISSING
                raise Unavailable(reason, str(exc)) from exc
            self._contexts[settings, is_http2] = context
        return context

    async def addresses(self, host: str, approval: EgressHost, rules: Rules) -> tuple[str, ...]:
        """Where the judged name leads, special addresses left out. NotResolved or Unavailable if nowhere."""
        found = await self._resolver.resolve(host, rules.snapshot.outbound.resolvers)
        if not found:
            raise NotResolved(f"{host} has no address")
        allowed = tuple(text for text in found if rules.outbound.may_resolve_to(approval, canonical(text)))
        if not allowed:
            raise Unavailable(Reason.SPECIAL_ADDRESS, f"{host} resolves to {', '.join(found)}")
        return allowed


def _approve(host: str, port: int, runtime: Runtime, *, is_tls: bool) -> tuple[Permit, EgressHost, Rules] | Denied:
    rules = runtime.rules.current
    if rules is None:
        return Denied(Reason.NO_SNAPSHOT)
    if not runtime.is_outbound_open.current:
        return Denied(Reason.REDIRECT_LOST)
    judged = rules.outbound.host(host, port, is_tls=is_tls)
    return judged if isinstance(judged, Denied) else (judged.permit, judged.approval, rules)


# -- the application speaks plain HTTP: originate


async def serve_plain(sock: socket.socket, to: Address, originator: Originator, runtime: Runtime, known: Record) -> None:
    def new_record() -> Record:
        return Record(runtime.wall(), "outbound", dst=known.dst)

    async def decide(request: RequestHead, record: Record) -> Decision:
        headers = egress_headers(request, record, runtime.rng)
        host = request.host.decode("ascii")
        if request.port not in (None, to.port):
            return Denied(Reason.MISDIRECTED, detail=f"Host says port {request.port}, the connection goes to port {to.port}")
        judged = _approve(host, to.port, runtime, is_tls=False)
        if isinstance(judged, Denied):
            return judged
        permit, approval, rules = judged
        record.rule = permit.rule
        context = originator.context(approval.tls, is_http2=request.is_http2)
        addresses = await originator.addresses(host, approval, rules)
        record.dst_mismatch = to.host not in addresses
        certificate = approval.tls.client_certificate
        material = material_digest(approval.tls.roots, certificate.chain if certificate else None, approval.tls.min_version)
        key = ("egress", host, approval.tls.port, addresses, material, request.is_http2)
        connect = partial(_originate, host, addresses, approval.tls, context, runtime, record)
        name = f"{host}:{approval.tls.port}"
        authority = request.host if approval.tls.port == 443 else b"%b:%d" % (request.host, approval.tls.port)
        adapt = partial(_stay_plain, host=request.host, port=to.port, tls_port=approval.tls.port)
        upstream = Upstream(key, connect, authority, headers, name, is_shared=request.is_http2, group=("egress", host), security="tls")
        return Plan(permit, lambda: upstream, adapt=adapt)

    await serve_http(SocketStream(sock), runtime, decide, new_record)


async def _originate(
    host: str, addresses: Sequence[str], settings: Origination, context: Context, runtime: Runtime, record: Record
) -> Connection:
    """A connection whose certificate is for `host`; verified before this returns, so before a byte is sent."""
    sock, at = await _dial(addresses, settings.port, runtime)
    stream = TlsStream(context, sock, is_server=False, server_name=None if is_address(host.strip("[]")) else host)
    try:
        await stream.handshake(NotVerified)
        verify_host(stream.connection, host)
    except BaseException:
        stream.close()
        raise
    record.tls = stream.connection.get_protocol_version_name()
    runtime.accounts.open_tls(stream, dst=str(at), host=host)
    return client(stream, is_http2=stream.connection.get_alpn_proto_negotiated() == b"h2", scheme=b"https")


async def _dial(addresses: Sequence[str], port: int, runtime: Runtime) -> tuple[socket.socket, Address]:
    """A connection to the first address that takes it."""
    failures = []
    for address in addresses:
        at = Address(address, port)
        try:
            with trio.fail_after(CONNECT_S / 2):
                return await runtime.dialer.connect(at), at
        except ConnectFailed as exc:
            failures.append(exc.detail)
        except trio.TooSlowError:
            failures.append(f"{address}: no answer")
    raise ConnectFailed("; ".join(failures))


def _stay_plain(response: ResponseHead, *, host: bytes, port: int, tls_port: int) -> ResponseHead:
    """Keep a plain-HTTP client on the originated path.

    `Location: https://host...` of this very host becomes `http://host...`, and `Secure` is taken off cookies: between
    application and sidecar there is only the pod's loopback; outside it stays TLS.
    """
    secure = b"https://" + host + (b"" if tls_port == 443 else b":%d" % tls_port)
    plain = b"http://" + host + (b"" if port == 80 else b":%d" % port)
    headers = []
    for name, value in response.headers:
        field = name.lower()
        if field == b"location" and value[: len(secure)].lower() == secure and value[len(secure):][:1] in (b"", b"/", b"?"):
            value = plain + value[len(secure):]
        elif field == b"set-cookie":
            value = b";".join(part for part in value.split(b";") if part.strip().lower() != b"secure")
        headers.append((name, value))
    return replace(response, headers=headers)


# -- the application speaks TLS itself: pass through


async def serve_tls(
    sock: socket.socket, to: Address, hello: ClientHello, originator: Originator, runtime: Runtime, record: Record
) -> None:
    record.security = "passthrough"
    if hello.server_name is None:
        raise Unavailable(Reason.ADDRESS_NOT_APPROVED, f"TLS to {to} without a server name, and no approved range holds it")
    host = record.host = hello.server_name
    judged = _approve(host, to.port, runtime, is_tls=True)
    if isinstance(judged, Denied):
        record.rule = judged.rule
        raise Unavailable(judged.reason, judged.detail)
    permit, approval, rules = judged
    record.rule = permit.rule
    with Deadline() as deadline:
        deadline.upstream("name resolution", CONNECT_S)
        addresses = await originator.addresses(host, approval, rules)
    record.dst_mismatch = to.host not in addresses

    def is_permitted(_: Rules | None) -> bool:
        return not isinstance(_approve(host, to.port, runtime, is_tls=True), Denied)

    await relay(sock, [Address(address, to.port) for address in addresses], permit, record, runtime, is_permitted)


async def relay(
    sock: socket.socket,
    to: Sequence[Address],
    permit: Permit,
    record: Record,
    runtime: Runtime,
    is_permitted: Callable[[Rules | None], bool],
) -> None:
    """Bytes as they are, to the first of `to` that takes the connection."""
    record.rule = permit.rule
    with Deadline() as deadline:
        deadline.upstream("connect", CONNECT_S)
        sock_up, _ = await _dial([address.host for address in to], to[0].port, runtime)
    upstream = SocketStream(sock_up)
    record.upstream = f"{record.host or to[0].host}:{to[0].port}"
    started = trio.current_time()
    try:
        await tunnel(SocketStream(sock), upstream, permit, record, runtime.rules, is_permitted, runtime.pipes)
    finally:
        upstream.close()
        record.duration_ms = round((trio.current_time() - started) * 1000, 3)
        runtime.tell(record)
