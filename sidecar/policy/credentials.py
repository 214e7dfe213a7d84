"""How a client at the edge says who it is: which of the ways of an `Access` a request brings, and what it claims by it.

Pure. What needs keys or time (tokens, passwords) whoever asks verifies, by `net/jwt.py` and `net/passwords.py`, and makes the claims of
what was found here. One way counts: of a request that brings two, nobody can say whose it is.

Trust: every byte is a stranger's. What leaves here as claims rests on a key, a password or a certificate that the operator gave, and
what an application is told of them is printable ASCII, said by us alone. Attacked by tests/policy/test_credentials.py.
Spec: RFC 7617 (Basic), RFC 6750 (Bearer), RFC 9110 s11. We are stricter: one `Authorization`, of a scheme that is asked for.
"""

import base64
import binascii
import hashlib
import hmac
import math
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from sidecar.model.client import ClientCertificate
from sidecar.model.edge import Access, ApiKey, ApiKeys, Basic, BasicUser, ClaimHeader
from sidecar.model.message import Headers
from sidecar.model.route import Jwt

from .authorize import Claims

Way = Literal["token", "apiKey", "basic", "certificate"]
WORDS: Mapping[Way, str] = {
    "token": "a bearer token", "apiKey": "an API key", "basic": "user and password", "certificate": "a client certificate",
}
AUTHORIZATION = b"authorization"
MOST_BASIC_BYTES = 1024
MOST_CLAIM_BYTES = 4096
_SAYABLE = re.compile(r"[!-~]([ -~]*[!-~])?", re.ASCII)


class Brought(NamedTuple):
    """
    Args:
        field: that held it, in lower case; empty: the connection did.
        value: of the field.
    """

    way: Way
    field: bytes = b""
    value: bytes = b""


class Verified(NamedTuple):
    """Who a client is.

    Args:
        by: what it was verified with, which must still be asked for if what it began is to go on.
        ends: Unix seconds.
    """

    claims: Claims
    by: ApiKey | BasicUser | Jwt | ClientCertificate
    ends: float = math.inf


def has_ways(access: Access) -> bool:
    return bool(access.tokens or access.api_keys or access.basic or access.certificate)


def brought(access: Access, headers: Headers, certificate: ClientCertificate | None) -> Brought | None:
    """The one way of `access` that a request brings; None: none of them. ValueError says why what it brings cannot count."""
    fields = credential_fields(access)
    found: list[Brought] = []
    for name, value in headers:
        field = name.lower()
        if field in fields:
            found.append(Brought(_way(access, field, value), field, value))
    for one in found:
        if sum(other.field == one.field for other in found) > 1:
            raise ValueError(f"the field {one.field.decode()} repeats")
    if certificate is not None and counts(access, certificate):
        found.append(Brought("certificate"))
    if len(found) > 1:
        raise ValueError(f"the request brings {' and '.join(WORDS[one.way] for one in found)}; whose it is must be said in one way")
    return found[0] if found else None


def counts(access: Access, certificate: ClientCertificate) -> bool:
    """Whether it chains to the roots that are meant: of one host several objects speak, each with an authority of its own."""
    return bool(access.certificate) and certificate.authority == access.certificate


def credential_fields(access: Access) -> frozenset[bytes]:
    """The fields that hold credentials, in lower case."""
    fields = {jwt.header.lower().encode() for jwt in access.tokens}
    if access.api_keys is not None:
        fields.add(access.api_keys.header.lower().encode())
    if access.basic is not None:
        fields.add(AUTHORIZATION)
    return frozenset(fields)


def _way(access: Access, field: bytes, value: bytes) -> Way:
    if field != AUTHORIZATION:
        is_key = access.api_keys is not None and access.api_keys.header.lower().encode() == field
        return "apiKey" if is_key else "token"
    scheme = value.partition(b" ")[0].lower()
    if scheme == b"basic" and access.basic is not None:
        return "basic"
    if scheme == b"bearer" and tokens_in(access, field):
        return "token"
    raise ValueError("the scheme of its Authorization is none that is asked for")


def tokens_in(access: Access, field: bytes) -> tuple[Jwt, ...]:
    """Which tokens `field` may hold."""
    return tuple(jwt for jwt in access.tokens if jwt.header.lower().encode() == field)


# -- what was brought becomes claims


def verify_key(keys: ApiKeys, value: bytes) -> Verified | None:
    """Every key is compared, and by what it hashes to: how long it takes says nothing of any of them."""
    given, found = hashlib.sha256(value).hexdigest(), None
    for key in keys.keys:
        if hmac.compare_digest(key.sha256, given):
            found = key
    return Verified(_claims(found.name, found.roles), found) if found is not None else None


def read_basic(value: bytes) -> tuple[str, bytes]:
    """User and password. ValueError if it is none of RFC 7617."""
    if len(value) > MOST_BASIC_BYTES:
        raise ValueError(f"user and password are longer than {MOST_BASIC_BYTES} bytes")
    try:
        whole = base64.b64decode(value.partition(b" ")[2].strip(b" "), validate=True)
        user, colon, password = whole.partition(b":")
        name = user.decode()
    except (binascii.Error, ValueError) as exc:
        raise ValueError("its Authorization is no base64 of user and password in UTF-8") from exc
    # > The user-id and password MUST NOT contain any control characters (RFC 7617 s2).
    if not colon or any(byte < 0x20 or byte == 0x7F for byte in whole):
        raise ValueError("its Authorization is no user and password")
    return name, password


def user_named(basic: Basic, name: str) -> BasicUser | None:
    return next((user for user in basic.users if user.name == name), None)


def stand_in(basic: Basic, name: str) -> BasicUser:
    """The user whose hash an unknown name is verified against, so that it costs what a known one costs; always the same one."""
    return basic.users[int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % len(basic.users)]


def of_user(user: BasicUser) -> Verified:
    return Verified(_claims(user.name, user.roles), user)


def of_token(claims: Claims, jwt: Jwt) -> Verified:
    ends = claims.get("exp")
    return Verified(claims, jwt, float(min(ends, sys.float_info.max)) if isinstance(ends, int | float) else math.inf)


def of_certificate(certificate: ClientCertificate) -> Verified:
    """What is absent is no claim, not an empty one."""
    said = {"sub": certificate.common_name, "dns": certificate.dns, "email": certificate.emails, "uri": certificate.uris}
    claims = {name: value if isinstance(value, str) else list(value) for name, value in said.items() if value}
    return Verified(claims, certificate, certificate.not_after)


def _claims(name: str, roles: tuple[str, ...]) -> dict[str, object]:
    return {"sub": name, "roles": list(roles)}


def holds(verified: Verified, access: Access, now: float) -> bool:
    """Whether what was verified once still lets in: it is asked for as it was, and its time is not over."""
    match verified.by:
        case ApiKey() as key:
            is_asked = access.api_keys is not None and key in access.api_keys.keys
        case BasicUser() as user:
            is_asked = access.basic is not None and user in access.basic.users
        case Jwt() as jwt:
            is_asked = jwt in access.tokens
        case ClientCertificate() as certificate:
            is_asked = counts(access, certificate)
    return is_asked and now < verified.ends and not access.unusable


# -- what the application is told


def claim_headers(wanted: Iterable[ClaimHeader], claims: Claims | None) -> Headers:
    """What cannot be said exactly is not said at all: a part of a list could mean more than the whole."""
    headers: Headers = []
    for one in wanted:
        text = _text(claims.get(one.claim)) if claims is not None else None
        if text is not None:
            headers.append((one.header.lower().encode(), text.encode()))
    return headers


def _text(claim: object) -> str | None:
    """Printable ASCII in one line; lists by commas."""
    items = claim if isinstance(claim, list) else [claim]
    texts = []
    for item in items:
        if isinstance(item, bool):
            item = "true" if item else "false"
        text = str(item) if isinstance(item, str | int | float) else ""
        if not _SAYABLE.fullmatch(text) or (isinstance(claim, list) and "," in text):
            return None
        texts.append(text)
    told = ",".join(texts)
    return told if told and len(told) <= MOST_CLAIM_BYTES else None


# -- what a client is told that must say who it is


def challenges(access: Access, error: str = "") -> tuple[str, ...]:
    """The values of WWW-Authenticate, one for each way.

    Args:
        error: what is wrong with a token that was brought; none of its bytes.
    """
    told: list[str] = []
    if access.tokens:
        told.append('Bearer realm="bartizan"' + (f', error="invalid_token", error_description="{_quotable(error)}"' if error else ""))
    if access.basic is not None:
        told.append(f'Basic realm="{access.basic.realm}", charset="UTF-8"')
    if access.api_keys is not None:     # neither of these is a registered scheme; a 401 must name one (RFC 9110 s15.5.2)
        told.append(f'ApiKey header="{access.api_keys.header.lower()}"')
    if access.certificate:
        told.append("ClientCertificate")
    return tuple(told)


def _quotable(text: str) -> str:
    """RFC 6750 s3: %x20-21 / %x23-5B / %x5D-7E."""
    return "".join(char if " " <= char <= "~" and char not in '"\\' else "'" for char in text)[:200]
