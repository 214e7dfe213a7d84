"""TLS that the sidecar originates, and where approved names lead.

Trust: the host at the other end is believed nothing before its certificate is verified; what is returned here is verified, or nothing
is. The application chooses the name, and nothing else. Attacked by tests/proxy/test_egress.py.
"""

import socket
from collections.abc import Callable, Sequence
from itertools import chain

from sidecar.model.address import Address, canonical
from sidecar.model.egress import EgressHost, Origination
from sidecar.model.errors import ConfigError, NotResolved, NotVerified, Unavailable
from sidecar.model.reason import Reason
from sidecar.net.client_files import ClientFiles, Material
from sidecar.net.race import race
from sidecar.net.resolve import Resolver
from sidecar.net.tls_external import ExternalTls, Party
from sidecar.net.tls_stream import TlsStream
from sidecar.net.verify_host import waived_until
from sidecar.net.watched import Watched
from sidecar.policy.rules import Rules
from sidecar.telemetry.access_log import Record

from .runtime import Runtime

MOST_NAMES = 4096       # whose judged addresses are remembered


class Originator:
    """TLS contexts for external hosts by their settings, and the addresses that approved names lead to.

    Args:
        rules: of what they name no longer no context is kept.
    """

    def __init__(self, rules: Watched[Rules | None], resolver: Resolver) -> None:
        self._rules = rules
        self._resolver = resolver
        self._contexts: dict[tuple[Origination, bool | None], tuple[Material | None, ExternalTls]] = {}
        self._allowed: dict[str, tuple[Rules, EgressHost, tuple[str, ...], tuple[str, ...]]] = {}
        self._built_for: Rules | None = None
        self.files = ClientFiles()

    def anew(self) -> "Originator":
        """The same without anything that was kept: each handshake is a whole one."""
        return Originator(self._rules, self._resolver)

    def context(self, settings: Origination, *, is_http2: bool | None) -> ExternalTls:
        """The same one as long as settings and files are the same. Unavailable, before anything is sent, if the material is missing
        or unusable.

        Args:
            is_http2: None: it is no HTTP, and nothing is offered.
        """
        if self._built_for is not self._rules.current:
            self._forget(self._rules.current)
        certificate, material = settings.client_certificate, None
        try:
            if certificate is not None:
                material = self.files.material(certificate)
                if material is None:
                    missing = Reason.CLIENT_CERTIFICATE_MISSING
                    raise Unavailable(missing, f"the Secret {certificate.name} is missing, or has no tls.crt and tls.key")
            built_of, context = self._contexts.get((settings, is_http2), (None, None))
            if context is None or built_of != material:
                context = ExternalTls(settings, *(material or (None, None)), is_http2=is_http2)
                self._contexts[settings, is_http2] = material, context
        except ConfigError as exc:
            reason = Reason.ROOTS_UNUSABLE if exc.where == "roots" else Reason.CLIENT_CERTIFICATE_MISSING
            raise Unavailable(reason, str(exc)) from exc
        return context

    def _forget(self, rules: Rules | None) -> None:
        self._built_for = rules
        hosts = chain(rules.snapshot.outbound.hosts, *(one.hosts for one in rules.snapshot.gateway)) if rules else ()
        named = {host.tls for host in hosts if host.tls is not None}
        self._contexts = {key: kept for key, kept in self._contexts.items() if key[0] in named}
        self.files.keep_only({one.client_certificate for one in named if one.client_certificate is not None})

    async def addresses(self, host: str, approval: EgressHost, rules: Rules) -> tuple[str, ...]:
        """Where the judged name leads, special addresses left out. NotResolved or Unavailable if nowhere."""
        return self._judged(await self._resolver.resolve(host, rules.snapshot.outbound.resolvers), host, approval, rules)

    def known_addresses(self, host: str, approval: EgressHost, rules: Rules) -> tuple[str, ...] | None:
        """`addresses`, without waiting; None: the resolvers are to be asked."""
        found = self._resolver.known(host, rules.snapshot.outbound.resolvers)
        return self._judged(found, host, approval, rules) if found is not None else None

    def _judged(self, found: tuple[str, ...], host: str, approval: EgressHost, rules: Rules) -> tuple[str, ...]:
        """Every request asks; as long as rules, approval and answer are the same, so is what is left of the answer (20 us to judge)."""
        known = self._allowed.get(host)
        if known is not None and known[0] is rules and known[1] is approval and known[2] == found:
            return known[3]
        if not found:
            raise NotResolved(f"{host} has no address")
        allowed = tuple(text for text in found if rules.may_resolve_to(approval, canonical(text)))
        if not allowed:
            raise Unavailable(Reason.SPECIAL_ADDRESS, f"{host} resolves to {', '.join(found)}")
        if len(self._allowed) >= MOST_NAMES:
            self._allowed.clear()
        self._allowed[host] = rules, approval, found, allowed
        return allowed


async def connect_tls(
    host: str, addresses: Sequence[str], port: int, settings: Origination, context: ExternalTls, runtime: Runtime, record: Record,
    is_permitted: Callable[[], bool],
) -> TlsStream:
    """A connection whose certificate is for `host`; verified before this returns, so before a byte is sent.

    Args:
        is_permitted: it ends where this says no.
    """
    sock, at = await dial(addresses, port, runtime)
    return await secure(sock, at, host, settings, context, runtime, record, is_permitted)


async def secure(
    sock: socket.socket, at: Address, host: str, settings: Origination, context: ExternalTls, runtime: Runtime, record: Record,
    is_permitted: Callable[[], bool],
) -> TlsStream:
    """As `connect_tls`, over a connection that is there already, to `at`: TLS may have been asked for in another protocol first.

    The socket belongs to the stream from now on; it is closed if this fails.
    """
    stream = context.stream(sock, Party(host, at.port, record.peer), runtime.wall())
    try:
        await stream.handshake(NotVerified)
        proof = context.verify(stream, runtime.wall())
        ends = waived_until(settings, proof.waived)
        runtime.withdrawals.watch(sock, lambda: is_permitted() and runtime.has_way(at) and runtime.wall() < ends)
    except BaseException:
        stream.close()
        raise
    record.tls = stream.connection.get_protocol_version_name()
    account = runtime.accounts.open_tls(stream, dst=str(at), host=host)
    context.keep_session(stream, proof)
    if proof.waived:
        record.waived = ",".join(sorted(proof.waived))
        account.entry.detail = f"waived: {record.waived}"
        for check in proof.waived:
            runtime.metrics.count("bartizan_egress_waived_total", (("check", check), ("rule", record.rule)))
    return stream


async def dial(addresses: Sequence[str], port: int, runtime: Runtime) -> tuple[socket.socket, Address]:
    """A connection to the first address that takes it, of those that NetworkPolicies let be connected to. Unavailable if none is.

    Whatever leaves for the outside leaves here. It is asked again as long as the connection lasts: `Runtime.has_way`.
    """
    every = [Address(address, port) for address in addresses]
    listed = [to for to in every if runtime.has_way(to)]
    if every and not listed:
        runtime.demand_way(every[0])
    return await race(runtime.dialer, listed)
