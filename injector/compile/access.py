"""Who may come in, from the annotation to what the gateway verifies: Secrets are read, issuers found, entries spelled out.

Trust: Secrets are the application team's, and whoever may write them decides who gets in. Nothing of a value is ever told: not in a
problem, nor in a log. What cannot be read lets nobody in: a single entry, the client that it is of; a whole Secret, or an issuer that the
mesh does not name, nobody at all. Attacked by tests/injector/compile/test_access.py.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from injector.cluster.objects import Object, at
from injector.documents.access import Authentication, Authorization, Client, External
from injector.documents.text import seconds
from sidecar.model import edge
from sidecar.model.errors import ConfigError
from sidecar.model.route import Caller, TokenIssuer
from sidecar.model.service import Backend
from sidecar.net.tls_context import load_certificates

from .egress import secret_text
from .inbound import Keys, keys_of
from .looked import Looked
from .mesh import mesh_settings

T = TypeVar("T")

_API_KEY = re.compile(r"([0-9a-f]{64})(?:[ \t]+roles=([^\s]+))?", re.ASCII)
_BCRYPT = re.compile(r"\$2[aby]\$")
KEY_CURE = "write the SHA-256 of the key in lower-case hex: printf %s KEY | sha256sum"
PASSWORD_CURE = "write it with bcrypt: htpasswd -B -C 10"


@dataclass(frozen=True, slots=True, eq=False)
class CompiledAccess:
    """
    Args:
        clients: what TLS is to ask of clients, at the hosts of the object.
        issuers: whose tokens are asked for.
        problems: what of it lets nobody in, or lets fewer in than it names, in words.
    """

    access: edge.Access
    clients: edge.ClientCertificates | None = None
    issuers: tuple[TokenIssuer, ...] = ()
    problems: tuple[str, ...] = ()


def compile_access(look: Looked, namespace: str, said: Authentication, keys: Keys) -> CompiledAccess:
    """What `authentication` on an object of `namespace` comes to.

    Args:
        keys: of token issuers, as far as they were fetched.
    """
    made = _Made(look, namespace)
    api_keys, basic, clients = made.api_keys(said), made.basic(said), made.clients(said)
    issuers = made.issuers(said, keys)
    access = edge.Access(
        tokens=said.tokens, api_keys=api_keys, basic=basic, certificate=made.authority(said),
        is_optional=said.optional, keeps_credentials=said.keep_credentials,
        claim_headers=tuple(edge.ClaimHeader(claim, header) for header, claim in said.claim_headers.items()),
        external=_external(said.external, namespace) if said.external is not None else None,
        unusable=made.unusable[0] if made.unusable else "",
    )
    nobody = [f"{why}; nobody is let in" for why in made.unusable]
    return CompiledAccess(access, clients, issuers, (*nobody, *made.skipped))


def restrictions(entries: Sequence[Authorization]) -> tuple[edge.Restriction, ...]:
    """What `authorization` says, of each rule of the object."""
    return tuple(
        edge.Restriction(
            one.paths, one.methods, tuple(map(_caller, one.allow)) if one.allow is not None else None, tuple(map(_caller, one.deny)),
        ) for one in entries
    )


def asks_for_claims(entries: Sequence[Authorization]) -> bool:
    return any(client.roles or client.claims for one in entries for client in (*(one.allow or ()), *one.deny))


def _caller(client: Client) -> Caller:
    return Caller(source=client.source, claims={**client.claims, **({"roles": client.roles} if client.roles else {})})


def _external(said: External, namespace: str) -> edge.External:
    service = Backend(f"{said.service}.{namespace}", said.port) if said.service is not None else None
    return edge.External(service, said.host, said.port, said.prefix, said.sends, said.takes, seconds(said.within))


class _Made:
    """
    Attributes:
        unusable: why nobody is let in, in words.
        skipped: whom an entry that cannot be read does not let in.
    """

    def __init__(self, look: Looked, namespace: str) -> None:
        self._look = look
        self._namespace = namespace
        self.unusable: list[str] = []
        self.skipped: list[str] = []

    def api_keys(self, said: Authentication) -> edge.ApiKeys | None:
        if said.api_keys is None:
            return None
        secret, where = self._secret(said.api_keys.secret)
        found: list[edge.ApiKey] = []
        for name in sorted({**at(secret.data, "data"), **at(secret.data, "stringData")} if secret is not None else ()):
            value = _API_KEY.fullmatch((secret_text(secret, name) or "").strip()) if secret is not None else None
            if value is None:
                self.skipped.append(f"{where}: the key {name!r} counts for nothing: it is no hash; {KEY_CURE}")
            else:
                self._add(found, where, edge.ApiKey, {"sha256": value[1], "name": name, "roles": _listed(value[2])})
        self._demand(found, secret, f"{where} holds no key that can be used")
        hashes = [key.sha256 for key in found]
        for i, key in enumerate(found):
            if key.sha256 in hashes[:i]:
                first = found[hashes.index(key.sha256)].name
                self.unusable.append(f"{where}: {first} and {key.name} are the same key; whose it is cannot be told")
        return edge.ApiKeys(tuple(found), said.api_keys.header)

    def basic(self, said: Authentication) -> edge.Basic | None:
        if said.basic is None:
            return None
        secret, where = self._secret(said.basic.secret)
        roles = dict(self._lines(secret, "roles", where))
        found: list[edge.BasicUser] = []
        for name, stored in self._lines(secret, "auth", where):
            if any(user.name == name for user in found):
                self.skipped.append(f"{where}: auth: {name[:64]!r} is there twice; the first counts")
            elif not _BCRYPT.match(stored):
                self.skipped.append(f"{where}: auth: {name[:64]!r} does not get in: MD5, SHA-1, crypt and plaintext are guessed fast; "
                                    f"{PASSWORD_CURE}")
            else:
                self._add(found, where, edge.BasicUser, {"name": name, "hash": stored, "roles": _listed(roles.get(name))})
        self._demand(found, secret, f"{where} has no `auth` with a user that can be verified")
        return edge.Basic(tuple(found), said.basic.realm)

    def clients(self, said: Authentication) -> edge.ClientCertificates | None:
        if said.client_certificate is None:
            return None
        secret, where = self._secret(said.client_certificate.secret)
        roots = secret_text(secret, "ca.crt") or "" if secret is not None else ""
        try:
            load_certificates(roots.encode(), "ca.crt")
        except ConfigError:
            self._demand((), secret, f"{where} has no `ca.crt` with certificates in PEM")
            return None     # who comes is told so, where a handshake could tell nothing
        return edge.ClientCertificates(roots, said.client_certificate.mode == "required", self.authority(said))

    def authority(self, said: Authentication) -> str:
        """The name of the roots that clients' certificates chain to; empty: none are asked for."""
        return f"{self._namespace}/{said.client_certificate.secret}" if said.client_certificate is not None else ""

    def issuers(self, said: Authentication, keys: Keys) -> tuple[TokenIssuer, ...]:
        asked = {jwt.issuer for jwt in said.tokens}
        if not asked:
            return ()
        known = mesh_settings(self._look.mesh_policies(), self._namespace, {}).token_issuers
        found, missing = keys_of(asked, known, keys)
        self.unusable += missing
        for name in sorted(asked - {issuer.issuer for issuer in known}):
            self.unusable.append(f"tokens of {name} are asked for, which no MeshPolicy for this namespace names among its tokenIssuers")
        return found

    def _secret(self, name: str) -> tuple[Object | None, str]:
        """(what there is, how it is called)"""
        secret = self._look.secret((self._namespace, name))
        where = f"the Secret {self._namespace}/{name}"
        if secret is None:
            self.unusable.append(f"{where} is missing, or the control plane may not read it")
        return secret, where

    def _demand(self, found: Sequence[object], secret: Object | None, why: str) -> None:
        if not found and secret is not None:
            self.unusable.append(why)

    def _lines(self, secret: Object | None, field: str, where: str) -> Iterator[tuple[str, str]]:
        """What `name: value` says, line by line."""
        for i, line in enumerate((secret_text(secret, field) or "" if secret is not None else "").splitlines(), 1):
            name, colon, value = (part.strip() for part in line.partition(":"))
            if colon and name:
                yield name, value
            elif line.strip() and not line.lstrip().startswith("#"):
                self.skipped.append(f"{where}: line {i} of `{field}` is not of the form NAME:VALUE; it counts for nothing")

    def _add(self, found: list[T], where: str, kind: type[T], fields: Mapping[str, Any]) -> None:
        """What the gateway would refuse is left out: it takes a snapshot whole or not at all, and everybody's rules are in it."""
        try:
            found.append(msgspec.convert(fields, kind))
        except msgspec.ValidationError as exc:
            about = str(exc).rpartition("`$.")[2].rstrip("`")
            self.skipped.append(f"{where}: {fields['name'][:64]!r} does not get in: its {about} is of no form that can be used")


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(role for part in (text or "").split(",") if (role := part.strip()))
