"""Who asks for a certificate: the pod that a service account's token was bound to.

Trust: what comes in is a stranger's string; what leaves is an Attestation whose every word a key of the cluster has signed, or
Refused. It names a pod, because a token that is bound to none outlives every pod. Attacked by tests/certs/test_authenticate.py.
Spec: Kubernetes, bound service account tokens; RFC 7519 s4.1.
"""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from sidecar.model.errors import ConfigError, MeshError
from sidecar.model.identity import NAMESPACE, SERVICE_ACCOUNT
from sidecar.net.jwt import LEEWAY_S, parse_jwks, verify_jws

POD_UID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)   # a UUID, or the hash of a static pod's manifest
MAX_JWKS_BYTES = 1 << 20


class Refused(MeshError):
    """The token proves nothing. The message says why, never what the token holds."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the token is refused: {why}")


class CannotTell(MeshError):
    """What would have to be asked does not answer. Nothing is known of the token, so nothing is issued; asking again may help."""


@dataclass(frozen=True, slots=True)
class Attestation:
    """The pod that asks, and the service account that it runs as."""

    namespace: str
    service_account: str
    pod_name: str
    pod_uid: str


class Attestor(Protocol):
    """Whoever can say what a token proves: published keys (here), or the API server (`token_review`)."""

    async def attest(self, token: str, remote: str, now: float) -> Attestation:
        """
        Args:
            remote: the caller's IP address, canonical.

        Raises:
            Refused, CannotTell.
        """
        ...


class _Named(msgspec.Struct, frozen=True):
    name: str
    uid: str


class _Kubernetes(msgspec.Struct, frozen=True):
    namespace: str
    pod: _Named
    serviceaccount: _Named


class _Claims(msgspec.Struct, frozen=True):
    """What must be there. Other claims may be, and say nothing. We are stricter than RFC 7519: times are whole seconds."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: int
    nbf: int
    kubernetes: _Kubernetes = msgspec.field(name="kubernetes.io")
    iat: int = 0


class JwksAttestor:
    """Verifies tokens with the keys that the cluster publishes.

    Args:
        jwks: the document; ConfigError if it is none.
        issuer: what `iss` must be, exactly.
        audience: what `aud` must hold; a token for the API server is none for us.
    """

    def __init__(self, jwks: bytes, issuer: str, audience: str) -> None:
        self._keys = parse_jwks(jwks)
        self._issuer = issuer
        self._audience = audience

    async def attest(self, token: str, remote: str, now: float) -> Attestation:
        return self.verify(token, now)

    def verify(self, token: str, now: float) -> Attestation:
        """What the token proves, or Refused."""
        try:
            claims = msgspec.convert(verify_jws(token, self._keys), _Claims)
        except msgspec.ValidationError as exc:
            raise Refused(f"its claims are not those of a token bound to a pod ({exc})") from exc
        except ValueError as exc:
            raise Refused(str(exc)) from exc
        if claims.iss != self._issuer:
            raise Refused("another issuer signed it (`iss`); see `tokens.issuer` in the issuer's configuration")
        if self._audience not in ([claims.aud] if isinstance(claims.aud, str) else claims.aud):
            raise Refused(f"it is for another audience (`aud`); mount a projected token with audience {self._audience!r}")
        if now >= claims.exp + LEEWAY_S:
            raise Refused("it has expired; read the token file again, the kubelet keeps it fresh")
        if now < claims.nbf - LEEWAY_S:
            raise Refused("it is not valid yet; see that the clocks of the nodes agree")
        if now < claims.iat - LEEWAY_S:
            raise Refused("it was issued in the future; see that the clocks of the nodes agree")
        return _attestation(claims)


def _attestation(claims: _Claims) -> Attestation:
    bound = claims.kubernetes
    if claims.sub != f"system:serviceaccount:{bound.namespace}:{bound.serviceaccount.name}":
        raise Refused("its subject and its Kubernetes claims name different accounts")
    return attestation(bound.namespace, bound.serviceaccount.name, bound.pod.name, bound.pod.uid)


def attestation(namespace: str, account: str, pod_name: str, pod_uid: str) -> Attestation:
    """Of words that are names as Kubernetes has them; Refused if one is not."""
    if NAMESPACE.fullmatch(namespace) is None or len(account) > 253 or SERVICE_ACCOUNT.fullmatch(account) is None:
        raise Refused("its namespace or service account is no Kubernetes name")
    if POD_UID.fullmatch(pod_uid) is None:
        raise Refused("its pod uid is none")
    if len(pod_name) > 253 or SERVICE_ACCOUNT.fullmatch(pod_name) is None:     # the same grammar: a DNS subdomain
        raise Refused("its pod's name is none")
    return Attestation(namespace, account, pod_name, pod_uid)


class JwksFileAttestor:
    """A JwksAttestor whose document is read again when the file changes; one that does not parse leaves the previous in force."""

    def __init__(self, path: Path, issuer: str, audience: str) -> None:
        self._path = path
        self._issuer = issuer
        self._audience = audience
        self._seen, self._attestor = self._load()

    async def attest(self, token: str, remote: str, now: float) -> Attestation:
        try:
            if _version(self._path.stat()) != self._seen:
                self._seen, self._attestor = self._load()
        except (ConfigError, OSError) as exc:
            print(f"bartizan: {self._path}: {exc}; the previous keys stay in force", file=sys.stderr)
        return self._attestor.verify(token, now)

    def _load(self) -> tuple[tuple[int, ...], JwksAttestor]:
        with self._path.open("rb") as file:
            version = _version(os.fstat(file.fileno()))
            data = file.read(MAX_JWKS_BYTES + 1)
        if len(data) > MAX_JWKS_BYTES:
            raise ConfigError("jwks", f"it is longer than {MAX_JWKS_BYTES} bytes")
        return version, JwksAttestor(data, self._issuer, self._audience)


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
