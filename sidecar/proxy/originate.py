"""TLS that the sidecar originates, and where approved names lead.

Trust: the host at the other end is believed nothing before its certificate is verified; what is returned here is verified, or nothing
is. The application chooses the name, and nothing else. Attacked by tests/proxy/test_egress.py.
"""

import socket
from collections.abc import Callable, Sequence

from sidecar.model.address import Address, canonical, is_address
from sidecar.model.egress import EgressHost, Origination
from sidecar.model.errors import ConfigError, NotResolved, NotVerified, Unavailable
from sidecar.model.reason import Reason
from sidecar.net.race import race
from sidecar.net.resolve import Resolver
from sidecar.net.tls_context import Context, origination
from sidecar.net.tls_stream import TlsStream
from sidecar.net.verify import verify_host
from sidecar.net.watched import Watched
from sidecar.policy.rules import Rules
from sidecar.telemetry.access_log import Record

from .runtime import Runtime


class Originator:
    """TLS contexts for external hosts by their settings, and the addresses that approved names lead to.

    Args:
        rules: of what they name no longer no context is kept.
    """

    def __init__(self, rules: Watched[Rules | None], resolver: Resolver) -> None:
        self._rules = rules
        self._resolver = resolver
        self._contexts: dict[tuple[Origination, bool], Context] = {}
        self._built_for: Rules | None = None

    def context(self, settings: Origination, *, is_http2: bool) -> Context:
        """The same one as long as the settings are the same. Unavailable, before anything is sent, if the material is missing or
        unusable.
        """
        if self._built_for is not self._rules.current:
            self._forget(self._rules.current)
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

    def _forget(self, rules: Rules | None) -> None:
        self._built_for = rules
        named = {host.tls for host in rules.snapshot.outbound.hosts} if rules else set()
        self._contexts = {key: context for key, context in self._contexts.items() if key[0] in named}

    async def addresses(self, host: str, approval: EgressHost, rules: Rules) -> tuple[str, ...]:
        """Where the judged name leads, special addresses left out. NotResolved or Unavailable if nowhere."""
        found = await self._resolver.resolve(host, rules.snapshot.outbound.resolvers)
        if not found:
            raise NotResolved(f"{host} has no address")
        allowed = tuple(text for text in found if rules.outbound.may_resolve_to(approval, canonical(text)))
        if not allowed:
            raise Unavailable(Reason.SPECIAL_ADDRESS, f"{host} resolves to {', '.join(found)}")
        return allowed


async def connect_tls(
    host: str, addresses: Sequence[str], port: int, settings: Origination, context: Context, runtime: Runtime, record: Record,
    is_permitted: Callable[[], bool],
) -> TlsStream:
    """A connection whose certificate is for `host`; verified before this returns, so before a byte is sent.

    Args:
        is_permitted: it ends where this says no.
    """
    sock, at = await dial(addresses, port, runtime)
    stream = TlsStream(context, sock, is_server=False, server_name=None if is_address(host.strip("[]")) else host)
    try:
        await stream.handshake(NotVerified)
        verify_host(stream.connection, host)
    except BaseException:
        stream.close()
        raise
    record.tls = stream.connection.get_protocol_version_name()
    runtime.accounts.open_tls(stream, dst=str(at), host=host)
    runtime.withdrawals.watch(sock, is_permitted)
    return stream


async def dial(addresses: Sequence[str], port: int, runtime: Runtime) -> tuple[socket.socket, Address]:
    """A connection to the first address that takes it."""
    return await race(runtime.dialer, [Address(address, port) for address in addresses])
