"""The issuer as a process: its configuration, its own HTTPS certificate, and the server.

Its certificate comes from the authority that it holds and lives in memory only; it is renewed when a connection finds it past
half its life or when the authority above it was renewed, so there is no task whose death would let it end. What is signed with and
published follows the directory, without a restart and without ending a connection.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import trio
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.model import identity
from sidecar.model.errors import ConfigError
from sidecar.model.value import Name, Value, convert, from_json
from sidecar.net.clock import wall_clock
from sidecar.net.dial import Dialer
from sidecar.net.service import serve_https, split_url
from sidecar.net.tls_context import ServerCredentials
from sidecar.net.watched import Watched

from . import files
from .ca import DAY_S, Authority
from .csr_signer import CsrSigner
from .first_start import make_authority
from .holders import Injector, conduct
from .issuer import MAX_BODY_BYTES, Issuer
from .kubernetes import Api
from .log import Log, LogError
from .profile import MAX_SVID_S, MIN_S, issue_https
from .roots_map import RootsMap
from .secret_store import SecretAuthority, SecretStore
from .servers import Server, Servers
from .sources import KubernetesTokens, Tokens, attestor_of, with_source
from .trust import Follower, Standing

OWN_LIFETIME_S = DAY_S
RETRY_S = 60


class IssuerConfig(Value, frozen=True):
    """`bartizan certs serve --config FILE`, JSON.

    Args:
        directory: made by `bartizan certs init`; where the issuance log is, even if the authority is elsewhere.
        authority: given, the keys are not in the directory but there.
        trust_domain: must be the directory's; said twice so that the wrong directory is noticed.
        names: DNS names of the issuer itself, `issuer.bartizan-system.svc`.
        lifetime_s: of the SVIDs.
        port: 0 takes a free one.
        injector_url: https://host:port of the injector's stream, which knows when a root rotation may go on; empty: the operator does.
        identity: what the issuer proves there; empty: spiffe://TRUST_DOMAIN/ns/bartizan-system/sa/bartizan-issuer.
    """

    directory: Name
    trust_domain: Name
    tokens: Tokens
    names: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]
    address: Name = "::"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8443
    lifetime_s: Annotated[int, msgspec.Meta(ge=MIN_S, le=MAX_SVID_S)] = MAX_SVID_S
    authority: SecretAuthority | None = None
    servers: tuple[Server, ...] = ()
    injector_url: str = ""
    identity: str = ""


def parse_config(data: bytes) -> IssuerConfig:
    """The configuration that the JSON text holds, or ConfigError."""
    config = convert(with_source(from_json(data, dict[str, object])), IssuerConfig)
    if config.injector_url:
        try:
            split_url(config.injector_url)
        except ValueError as exc:
            raise ConfigError("injectorUrl", str(exc)) from exc
    own_identity(config)
    Servers(config.servers)
    return config


def own_identity(config: IssuerConfig) -> identity.SpiffeId:
    """As what the issuer asks the injector. ConfigError if it is none of the trust domain."""
    try:
        own = identity.parse(config.identity or f"spiffe://{config.trust_domain}/ns/bartizan-system/sa/bartizan-issuer")
    except ValueError as exc:
        raise ConfigError("identity" if config.identity else "trustDomain", str(exc)) from exc
    if identity.parts(own)[0] != config.trust_domain:
        raise ConfigError("identity", f"it is not of the trust domain {config.trust_domain}")
    return own


class OwnCertificate:
    """The issuer's own HTTPS credentials, always less than half used while the authority lives."""

    def __init__(self, standing: Watched[Standing], names: tuple[str, ...], log: Log, clock: Callable[[], float]) -> None:
        self._standing = standing
        self._names = names
        self._log = log
        self._clock = clock
        self._authority = standing.current.own_https
        self._current, self._renew_at = self._issue(self._authority, clock())

    def current(self) -> ServerCredentials:
        """The same value until it is renewed. If that fails it is said, and the previous one serves on; clients see its end."""
        now, authority = self._clock(), self._standing.current.own_https
        if now >= self._renew_at or authority.certificate != self._authority.certificate:
            try:
                self._current, self._renew_at = self._issue(authority, now)
            except (ConfigError, LogError) as exc:
                print(f"bartizan: the issuer's own certificate is not renewed: {exc}", file=sys.stderr)
                self._renew_at = now + RETRY_S
            self._authority = authority
        return self._current

    def _issue(self, authority: Authority, now: float) -> tuple[ServerCredentials, float]:
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = issue_https(authority, key.public_key(), self._names, OWN_LIFETIME_S, now)
        self._log.record(leaf, f"dns:{','.join(self._names)}", "", "issuer", now)
        # Half of what it could have had: an authority near its end would otherwise make for ever shorter ones.
        return ServerCredentials([leaf, *authority.chain], key), now + OWN_LIFETIME_S / 2


async def serve(config: IssuerConfig, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    """Issue until cancelled; reports the port once it listens. ConfigError or LogError if it cannot begin."""
    directory = logs = Path(config.directory)
    store = None
    if config.authority is not None:
        if config.authority.roots:
            await make_authority(config.authority, config.trust_domain, wall_clock)
        store = SecretStore(config.authority)
        await store.begin()
        directory = store.directory
        files.make_directory(logs)
    authorities = files.load(directory)
    if authorities.trust_domain != config.trust_domain:
        actual = authorities.trust_domain
        raise ConfigError("trustDomain", f"the authority in {directory} is for {actual!r}, not {config.trust_domain!r}")
    servers = Servers(config.servers)
    servers.check(authorities.https)
    attestor = attestor_of(config.tokens)
    log = Log(logs / files.LOG)
    try:
        follower = Follower(directory, wall_clock)
        standing = follower.standing
        own = OwnCertificate(standing, config.names, log, wall_clock)
        issuer = Issuer(standing, attestor, log, servers.names_of, config.lifetime_s, wall_clock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follower.run)
            if store is not None:
                nursery.start_soon(store.run)
            if config.authority is not None and config.authority.roots:
                nursery.start_soon(RootsMap(config.authority).run, standing)
            if isinstance(config.tokens, KubernetesTokens) and config.tokens.csr_signer:
                nursery.start_soon(CsrSigner(Api(config.tokens), issuer.issue_svid_to, wall_clock).run)
            if config.injector_url:
                injector = Injector(config.injector_url, own_identity(config), standing, log, wall_clock, Dialer())
                nursery.start_soon(conduct, directory, injector, standing, wall_clock)
            await serve_https(
                config.address, config.port, own.current, issuer.answer, max_body_bytes=MAX_BODY_BYTES, task_status=task_status)
    finally:
        log.close()
