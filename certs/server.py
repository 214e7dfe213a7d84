"""The issuer as a process: its configuration, its own HTTPS certificate, and the server.

Its certificate comes from the authority that it holds and lives in memory only; it is renewed when a connection finds it past
half its life, so there is no task whose death would let it end.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import trio
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.model.errors import ConfigError
from sidecar.model.value import Name, Value, from_json
from sidecar.net.clock import wall_clock
from sidecar.net.service import serve_https
from sidecar.net.tls_context import ServerCredentials

from . import files
from .authenticate import JwksFileAttestor
from .ca import DAY_S
from .issuer import MAX_BODY_BYTES, Issuer
from .log import Log, LogError
from .profile import MAX_SVID_S, MIN_S, issue_https

OWN_LIFETIME_S = DAY_S
RETRY_S = 60


class Tokens(Value, frozen=True):
    """What is demanded of a pod's token.

    Args:
        jwks_file: the cluster's public keys; read again when the file changes.
        issuer: `iss`, as the cluster's OIDC discovery document has it.
    """

    jwks_file: Name
    issuer: Name
    audience: Name = "bartizan"


class IssuerConfig(Value, frozen=True):
    """`bartizan certs serve --config FILE`, JSON.

    Args:
        directory: made by `bartizan certs init`.
        trust_domain: must be the directory's; said twice so that the wrong directory is noticed.
        names: DNS names of the issuer itself, `issuer.bartizan-system.svc`.
        lifetime_s: of the SVIDs.
        port: 0 takes a free one.
    """

    directory: Name
    trust_domain: Name
    tokens: Tokens
    names: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]
    address: Name = "::"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8443
    lifetime_s: Annotated[int, msgspec.Meta(ge=MIN_S, le=MAX_SVID_S)] = MAX_SVID_S


def parse_config(data: bytes) -> IssuerConfig:
    """The configuration that the JSON text holds, or ConfigError."""
    return from_json(data, IssuerConfig)


class OwnCertificate:
    """The issuer's own HTTPS credentials, always less than half used while the authority lives."""

    def __init__(self, authorities: files.Authorities, names: tuple[str, ...], log: Log, clock: Callable[[], float]) -> None:
        self._authority = authorities.https
        self._names = names
        self._log = log
        self._clock = clock
        self._current, self._renew_at = self._issue(clock())

    def current(self) -> ServerCredentials:
        """The same value until it is renewed. If that fails it is said, and the previous one serves on; clients see its end."""
        now = self._clock()
        if now >= self._renew_at:
            try:
                self._current, self._renew_at = self._issue(now)
            except (ConfigError, LogError) as exc:
                print(f"bartizan: the issuer's own certificate is not renewed: {exc}", file=sys.stderr)
                self._renew_at = now + RETRY_S
        return self._current

    def _issue(self, now: float) -> tuple[ServerCredentials, float]:
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = issue_https(self._authority, key.public_key(), self._names, OWN_LIFETIME_S, now)
        self._log.record(leaf, f"dns:{','.join(self._names)}", "", "issuer", now)
        # Half of what it could have had: an authority near its end would otherwise make for ever shorter ones.
        return ServerCredentials([leaf, self._authority.certificate], key), now + OWN_LIFETIME_S / 2


async def serve(config: IssuerConfig, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    """Issue until cancelled; reports the port once it listens. ConfigError or LogError if it cannot begin."""
    directory = Path(config.directory)
    authorities = files.load(directory)
    if authorities.trust_domain != config.trust_domain:
        actual = authorities.trust_domain
        raise ConfigError("trustDomain", f"the authority in {directory} is for {actual!r}, not {config.trust_domain!r}")
    attestor = JwksFileAttestor(Path(config.tokens.jwks_file), config.tokens.issuer, config.tokens.audience)
    log = Log(directory / files.LOG)
    try:
        own = OwnCertificate(authorities, config.names, log, wall_clock)
        issuer = Issuer(authorities, attestor, log, config.lifetime_s, wall_clock)
        await serve_https(
            config.address, config.port, own.current, issuer.answer, max_body_bytes=MAX_BODY_BYTES, task_status=task_status)
    finally:
        log.close()


