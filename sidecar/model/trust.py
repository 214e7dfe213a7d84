"""Whom the mesh trusts, and whom no longer: the trust bundle and the deny-list, one value that the issuer publishes.

It comes to a sidecar with its certificate and with its snapshot; the newest counts. A version counts up with each change, and an
older one never takes the place of a newer, whoever brings it: a withdrawn name must not come back by a replay.

Trust: it arrives over a channel that was verified; what a peer says of itself here has been verified by `net/verify.py`.
"""

import re
from typing import Annotated

import msgspec

from . import identity
from .errors import ConfigError
from .value import Value

SERIAL = re.compile(r"[0-9a-f]{32,40}", re.ASCII)   # as `serial_text` writes it
DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
INJECTOR = "injector"   # its name among the holders

# Unix ms, far into the future and no further: what every question can name (`&trust=`), and every decoder can hold.
Version = Annotated[int, msgspec.Meta(ge=0, lt=10**15)]


class Revoked(Value, frozen=True):
    """Who is refused although a certificate has not ended.

    Args:
        identities: SPIFFE IDs.
        pods: pod uids.
        keys: SHA-256 of the SubjectPublicKeyInfo, hex.
        serials: as `serial_text` writes them.
    """

    identities: tuple[str, ...] = ()
    pods: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    serials: tuple[str, ...] = ()


class Trust(Value, frozen=True):
    """
    Args:
        roots: PEM certificates.
        signer: SHA-256 fingerprint, hex, of the root that new certificates chain to; who holds one under another root asks for a
            new one. Empty: never mind.
    """

    version: Version
    roots: str
    signer: str = ""
    revoked: Revoked = Revoked()


class Holder(msgspec.Struct, frozen=True):
    """Who holds which trust: a sidecar, or the injector itself, as the injector tells the issuer (GET /v1/holders).

    Args:
        name: `shop/web-1`, or `INJECTOR`.
        trust: version of the trust that it holds; 0: it was never heard of.
        signer: SHA-256 fingerprint, hex, of the root that its certificate chains to.
    """

    name: str
    trust: int = 0
    signer: str = ""


class Holding(msgspec.Struct, frozen=True):
    """The answer of GET /v1/holders."""

    holders: list[Holder]


class DenyList(msgspec.Struct, frozen=True, eq=False):
    """A `Revoked` made ready for asking."""

    identities: frozenset[str]
    pods: frozenset[str]
    keys: frozenset[str]
    serials: frozenset[str]

    @classmethod
    def of(cls, revoked: Revoked) -> "DenyList":
        return cls(frozenset(revoked.identities), frozenset(revoked.pods), frozenset(revoked.keys), frozenset(revoked.serials))

    def why(self, spiffe_id: str, pod_uid: str, serial: int, key: str) -> str:
        """What of it was revoked, in words; empty: nothing."""
        if spiffe_id in self.identities:
            return f"the identity {spiffe_id} was revoked"
        if pod_uid and pod_uid in self.pods:
            return f"the pod {pod_uid} was revoked"
        if self.serials and (text := serial_text(serial)) in self.serials:
            return f"the certificate {text} was revoked"
        if key in self.keys:
            return "its key was revoked"
        return ""


NOBODY = DenyList.of(Revoked())


def serial_text(serial: int) -> str:
    """The one spelling of a serial number: hex, lower case, 128 bits at least."""
    return f"{serial:032x}"


def check_trust(where: str, trust: Trust) -> None:
    """ConfigError for what types cannot say. That the roots are certificates is for who loads them to find."""
    revoked = trust.revoked
    if trust.signer and DIGEST.fullmatch(trust.signer) is None:
        raise ConfigError(f"{where}.signer", "it is no SHA-256 fingerprint in hex, lower case")
    for i, text in enumerate(revoked.identities):
        try:
            identity.parse(text)
        except ValueError as exc:
            raise ConfigError(f"{where}.revoked.identities[{i}]", str(exc)) from exc
    for i, text in enumerate(revoked.keys):
        if DIGEST.fullmatch(text) is None:
            raise ConfigError(f"{where}.revoked.keys[{i}]", "it is no SHA-256 hash in hex, lower case")
    for i, text in enumerate(revoked.serials):
        if SERIAL.fullmatch(text) is None:
            raise ConfigError(f"{where}.revoked.serials[{i}]", "it is no serial number in hex, lower case, 32 digits at least")
