"""TLS to external hosts under one set of settings: the context, what is waived in a handshake, and the sessions to resume.

    tls = ExternalTls(settings, chain, key)
    stream = tls.stream(sock, Party(host, port, caller), now);  await stream.handshake(NotVerified)
    proof = tls.verify(stream, now)     # or NotVerified; nothing has been sent
    tls.keep_session(stream, proof)

A session resumed is a handshake without certificates: OpenSSL verifies nothing then, and tells of no chain (measured). So each session
is kept with the chain that its first handshake verified, and
    - settings, roots and client certificate are the same: sessions belong to this object, which is made for just these;
    - they serve one caller, host and port;
    - name, alternative names and pinned keys are judged again, over that chain;
    - dates hold: a session whose chain or whose waiver has ended meanwhile is not offered, and a full handshake says what is wrong.

Trust: the host is hostile until `verify` has returned. Attacked by tests/net/test_tls_external.py. Spec: RFC 8446 s2.2, s4.6.1, RFC 5077.
"""

import socket
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import msgspec
from cryptography import x509
from OpenSSL import SSL  # noqa: TID251 -- this file owns it

from sidecar.model.address import is_address
from sidecar.model.egress import Check, Origination
from sidecar.model.errors import NotVerified

from .tls_context import origination
from .tls_stream import TlsStream
from .verify import UNREADABLE
from .verify_host import require_waiver, verify_external, waived_until

MOST_HOSTS = 64             # with sessions, under one set of settings; a session with its chain takes 24 KB (measured)
SESSIONS_PER_HOST = 2

_Code = SSL.X509VerificationCodes
_NO_CHAIN = frozenset({     # nobody whom the roots know has signed; a bad signature is not among them
    _Code.ERR_UNABLE_TO_GET_ISSUER_CERT, _Code.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, _Code.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
    _Code.ERR_DEPTH_ZERO_SELF_SIGNED_CERT, _Code.ERR_SELF_SIGNED_CERT_IN_CHAIN,
})


class Party(NamedTuple):
    """Between whom.

    Args:
        caller: of an egress gateway, whom it leads out; empty: our own application.
    """

    host: str
    port: int
    caller: str = ""


class Proof(msgspec.Struct, frozen=True):
    """What a host has shown.

    Args:
        chain: verified, leaf first.
        waived: the checks that needed a waiver.
        until: Unix seconds, when it is worth nothing any more.
    """

    chain: tuple[x509.Certificate, ...]
    waived: frozenset[Check]
    until: float


@dataclass(slots=True)
class _Handshake:
    """
    Args:
        offered: what the session that was offered rests on.
        waived: so far.
    """

    party: Party
    now: float
    offered: Proof | None
    waived: set[Check] = field(default_factory=set)


class ExternalTls:
    """
    Args:
        chain, key: PEM of the client certificate; both or neither.
        is_http2: offer HTTP/2 before HTTP/1.1; None: offer nothing.

    Raises:
        ConfigError: as `origination`.
    """

    def __init__(self, settings: Origination, chain: str | None, key: str | None, *, is_http2: bool | None = False) -> None:
        self._settings = settings
        self._context = origination(
            min_version=settings.min_version, roots=settings.roots, chain=chain, key=key, is_http2=is_http2,
            is_waived=partial(_is_waived, settings) if settings.waivers else None,
        )
        self._sessions: dict[Party, list[tuple[SSL.Session, Proof]]] = {}     # the last one used last

    def stream(self, sock: socket.socket, party: Party, now: float) -> TlsStream:
        """The client's side, before its handshake. It owns the socket."""
        host = party.host
        stream = TlsStream(self._context, sock, is_server=False, server_name=None if is_address(host.strip("[]")) else host)
        offered = self._take_session(party, now)
        if offered is not None:
            stream.connection.set_session(offered[0])
        stream.connection.set_app_data(_Handshake(party, now, offered[1] if offered else None))
        return stream

    def verify(self, stream: TlsStream, now: float) -> Proof:
        """Called right after the handshake, before a byte is sent; or NotVerified."""
        handshake: _Handshake = stream.connection.get_app_data()
        host = handshake.party.host
        try:
            chain = tuple(stream.connection.get_verified_chain(as_cryptography=True) or ())
        except UNREADABLE as exc:       # OpenSSL is less strict
            raise NotVerified(f"the certificate is unusable for {host}: {exc}") from exc
        waived = frozenset(handshake.waived)
        if not chain:       # resumed
            if handshake.offered is None:
                raise NotVerified(f"{host} showed no certificate")
            chain, waived = handshake.offered.chain, handshake.offered.waived - {"name"}
        waived = verify_external(chain, host, self._settings, now, waived)
        lasting = chain[1:] if "expiry" in waived else chain
        ends = [one.not_valid_after_utc.timestamp() for one in lasting]
        return Proof(chain, waived, min([waived_until(self._settings, waived), *ends]))

    def keep_session(self, stream: TlsStream, proof: Proof) -> None:
        """When the stream is closed: by then the host has sent its tickets, if it gives any. Of a connection that broke OpenSSL resumes
        nothing, so that nothing is lost by keeping its session, too.
        """
        closed, party = stream.closed, stream.connection.get_app_data().party

        def keep() -> None:
            if closed is not None:
                closed()
            session = stream.connection.get_session()
            if session is not None:
                kept = self._sessions.pop(party, [])[-SESSIONS_PER_HOST + 1:]
                self._sessions[party] = [*kept, (session, proof)]
                if len(self._sessions) > MOST_HOSTS:
                    del self._sessions[next(iter(self._sessions))]

        stream.closed = keep

    def _take_session(self, party: Party, now: float) -> tuple[SSL.Session, Proof] | None:
        """The newest. Each serves once: who sees a ticket twice knows that both connections come from here (RFC 8446 appendix C.4)."""
        kept = self._sessions.get(party)
        while kept:
            session, proof = kept.pop()
            if now < proof.until:
                return session, proof
        self._sessions.pop(party, None)
        return None


def _is_waived(settings: Origination, conn: SSL.Connection, error: int, depth: int) -> bool:
    """Whether OpenSSL's verdict on a certificate of the chain counts for nothing. NotVerified ends the handshake, as a refusal does."""
    check: Check
    if error in _NO_CHAIN:
        check, failure = "chain", "nobody among the roots has issued it"
    elif error == _Code.ERR_CERT_HAS_EXPIRED and depth == 0:
        check, failure = "expiry", "certificate has expired"
    else:
        return False
    handshake: _Handshake = conn.get_app_data()
    require_waiver(settings, check, handshake.now, f"TLS handshake failed: certificate verify failed ({failure})")
    handshake.waived.add(check)
    return True
