"""Who is refused although its certificate has not ended: the operator's list in revoked.json.

Identities, pods and keys stay on it until they are lifted, and bind the issuer too. A serial is one certificate: once that must
have ended, it is not published any more, though the list still tells of it.

A key may be an authority's: all that it signed is then refused, and connections that stand on it end. One that was stolen is first
replaced (`rotate`), then revoked; a root too, since connections outlive it in the bundle.

Trust: the operator writes it; what is malformed is refused here, since a name that is misspelt would revoke nobody, and say so to
nobody.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, get_args

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sidecar.model import identity
from sidecar.model.errors import ConfigError
from sidecar.model.trust import DIGEST, SERIAL, Revoked, serial_text
from sidecar.model.value import Value, from_json

from . import files
from .authenticate import POD_UID
from .profile import MAX_HTTPS_S
from .request import key_hash

REVOKED = "revoked.json"
CLOCK_S = 3600      # how far behind a verifier's clock may be: so long a serial stays after its certificate ended

Kind = Literal["identity", "pod", "key", "serial"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_READERS: tuple[Callable[[bytes], PublicKeyTypes], ...] = (
    lambda pem: x509.load_pem_x509_certificate(pem).public_key(),
    lambda pem: x509.load_pem_x509_csr(pem).public_key(),
    load_pem_public_key,
)


class Revocation(Value, frozen=True):
    """One entry.

    Args:
        value: as `Revoked` has it.
        time: Unix seconds, when it was revoked.
        until: Unix seconds, when nobody needs to know of it any more; 0: never.
    """

    kind: Kind
    value: str
    time: float
    reason: str = ""
    until: float = 0.0

    def is_over(self, now: float) -> bool:
        return 0 < self.until <= now


class _Document(Value, frozen=True):
    entries: tuple[Revocation, ...] = ()


def read(directory: Path) -> tuple[Revocation, ...]:
    """The list. ConfigError if it cannot be read: an unreadable one must not count as none."""
    try:
        return read_file(directory / REVOKED)
    except FileNotFoundError:
        return ()


def read_file(path: Path) -> tuple[Revocation, ...]:
    """The list in a file. FileNotFoundError, ConfigError."""
    try:
        return from_json(path.read_bytes(), _Document).entries
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise ConfigError("", f"{path}: {exc.strerror}") from exc
    except ConfigError as exc:
        raise ConfigError("", f"{path}: {exc}") from exc


def add(directory: Path, entry: Revocation) -> bool:
    """Whether it was not on the list yet. Called under `files.locked`."""
    entries = read(directory)
    if any((each.kind, each.value) == (entry.kind, entry.value) for each in entries):
        return False
    _write(directory, (*entries, entry))
    return True


def lift(directory: Path, kind: Kind, value: str) -> bool:
    """Whether it was on the list. Called under `files.locked`."""
    entries = read(directory)
    left = tuple(each for each in entries if (each.kind, each.value) != (kind, value))
    if len(left) == len(entries):
        return False
    _write(directory, left)
    return True


def published(entries: Iterable[Revocation], now: float) -> Revoked:
    """What of the list everybody has to know."""
    found: dict[str, set[str]] = {"identity": set(), "pod": set(), "key": set(), "serial": set()}
    for entry in entries:
        if not entry.is_over(now):
            found[entry.kind].add(entry.value)
    identities, pods, keys, serials = (tuple(sorted(values)) for values in found.values())
    return Revoked(identities, pods, keys, serials)


def until(not_after: float | None, now: float) -> float:
    """How long a serial has to be known.

    Args:
        not_after: of its certificate; None if it is unknown, which is then taken for the longest that there is.
    """
    return (now + MAX_HTTPS_S if not_after is None else not_after) + CLOCK_S


def value_of(kind: Kind, text: str, trust_domain: str) -> str:
    """What the operator wrote, in the one spelling that verifiers look for; ConfigError if it is none."""
    match kind:
        case "identity":
            return identity_of(text, trust_domain)
        case "pod":
            if POD_UID.fullmatch(text) is None:
                raise ConfigError("--pod", f"{text!r} is no pod uid; `kubectl get pod NAME -o jsonpath={{.metadata.uid}}` says it")
            return text
        case "key":
            return _key(text)
        case "serial":
            return _serial(text)


def identity_of(text: str, trust_domain: str) -> identity.SpiffeId:
    """The identity of this trust domain that the operator wrote, or ConfigError."""
    try:
        spiffe_id = identity.parse(text)
    except ValueError as exc:
        raise ConfigError("--identity", str(exc)) from exc
    if identity.parts(spiffe_id)[0] != trust_domain:
        raise ConfigError("--identity", f"{text} is not of this authority's trust domain, {trust_domain}")
    return spiffe_id


def _serial(text: str) -> str:
    digits = text.replace(":", "").lower()
    if re.fullmatch(r"[0-9a-f]{1,40}", digits) is None or not (value := int(digits, 16)):
        raise ConfigError("--serial", f"{text!r} is no serial number in hex; `bartizan certs list` shows them")
    assert SERIAL.fullmatch(serial_text(value)) is not None
    return serial_text(value)


def _key(text: str) -> str:
    if DIGEST.fullmatch(text.lower()) is not None:
        return text.lower()
    try:
        pem = Path(text).read_bytes()
    except OSError as exc:
        raise ConfigError("--key", f"{text}: {exc.strerror}; and it is no SHA-256 hash of a public key in hex") from exc
    for load in _READERS:
        try:
            return key_hash(load(pem))
        except (ValueError, TypeError, x509.InvalidVersion):
            continue    # the next kind
    raise ConfigError("--key", f"{text} holds neither a certificate, a certificate request nor a public key, in PEM")


def _write(directory: Path, entries: tuple[Revocation, ...]) -> None:
    files.write(directory / REVOKED, msgspec.json.encode(_Document(entries)), replace=True)
