"""A call becomes a certificate, or a refusal that says why.

    1 how often    2 who (token)    3 which key (CSR)    4 revoked, or another's    5 certificate, log    6 answer

Trust: identity and pod come from the attestation alone, the key from the request alone, DNS names from the configuration alone.
Every endpoint stands in one table with what it demands of its caller; whatever is not in it does not exist. Attacked by
tests/certs/test_issuer.py.
"""

import math
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

import msgspec
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.model.call import Answer, Call
from sidecar.model.errors import ConfigError, MeshError
from sidecar.model.identity import workload_id
from sidecar.model.trust import Trust
from sidecar.net.clock import WallClock
from sidecar.net.jwt import json_object
from sidecar.net.watched import Watched

from . import files
from .authenticate import Attestation, Attestor, CannotTell, Refused
from .bundle import spiffe_bundle
from .ca import Authority
from .log import Log, LogError
from .profile import issue_https, issue_svid
from .rate_limit import RateLimit
from .request import BadRequest, key_hash, public_key_of
from .trust import Standing

MAX_BODY_BYTES = 24 << 10       # a request of the greatest length, escaped as JSON
PER_S, BURST, SOURCES = 5.0, 100, 8192      # a node's pods may share an address and start all at once
STANDING_S = 30.0       # how long a question that has no news yet is kept

ROOTS_PATH = "/v1/roots"
TRUST_PATH = "/v1/trust"
BUNDLE_PATH = "/v1/bundle"
SVID_PATH = "/v1/svid"
HTTPS_PATH = "/v1/https"

T = TypeVar("T")
Issue = Callable[[ec.EllipticCurvePublicKey, float], x509.Certificate]
_SEEN = re.compile(r"seen=([0-9]{1,18})", re.ASCII)


class AskedSvid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /v1/svid.

    Args:
        csr: PEM; of what it holds only the key counts.
        holder: who holds the private key.
    """

    csr: str
    holder: Literal["sidecar", "application"] = "sidecar"


class AskedHttps(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /v1/https; names are not for the caller to say."""

    csr: str


class Issued(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to both: PEM certificates, leaf first; the trust; when the leaf ends, and our clock, Unix seconds."""

    chain: list[str]
    trust: Trust
    not_after: int
    now: float


class Forbidden(MeshError):
    """We know who asks, and that one does not get it."""


@dataclass(frozen=True, slots=True)
class Public:
    """An endpoint that anybody may call."""

    method: str
    answer: Callable[["Issuer", Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class ForPods:
    """An endpoint that cannot be called without an Attestation."""

    method: str
    answer: Callable[["Issuer", Call, Attestation], Answer]


class Issuer:
    """
    Args:
        standing: what is signed with and published; it may change at any time.
        names_of: the DNS names of one of the mesh's own HTTPS servers, by namespace and service account; None: it is none.
        lifetime_s: of the certificates, within what `profile` allows.
        clock: Unix seconds.
    """

    def __init__(
        self,
        standing: Watched[Standing],
        attestor: Attestor,
        log: Log,
        names_of: Callable[[str, str], tuple[str, ...] | None],
        lifetime_s: float,
        clock: WallClock,
    ) -> None:
        self._standing = standing
        self._attestor = attestor
        self._log = log
        self._names_of = names_of
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._limit = RateLimit(PER_S, BURST, SOURCES)

    async def answer(self, call: Call) -> Answer:
        """The handler of the HTTPS server."""
        endpoint = ENDPOINTS.get(call.path)
        if endpoint is None:
            return Answer.error(404, f"there is no {call.path[:100]!r} here; see {' and '.join(ENDPOINTS)}")
        if call.method != endpoint.method:
            return Answer.error(405, f"{call.path} takes {endpoint.method} only", ("allow", endpoint.method))
        if len(call.body) > MAX_BODY_BYTES:
            return Answer.error(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        if wait_s := self._limit.take(call.remote, self._clock()):
            retry_s = math.ceil(wait_s)
            return Answer.error(429, f"too many requests from {call.remote}; try again in {retry_s} s", ("retry-after", f"{retry_s}"))
        try:
            match endpoint:
                case Public():
                    return await endpoint.answer(self, call)
                case ForPods():
                    return endpoint.answer(self, call, await self._attestor.attest(_bearer(call), call.remote, self._clock()))
        except Refused as exc:
            return Answer.error(401, str(exc), ("www-authenticate", "Bearer"))
        except BadRequest as exc:
            return Answer.error(400, str(exc))
        except Forbidden as exc:
            return Answer.error(403, str(exc))
        except (CannotTell, ConfigError, LogError) as exc:
            print(f"bartizan: {exc}", file=sys.stderr)      # for the operator: the cause names files, which are not the caller's
            return Answer.error(503, "the issuer cannot issue now; its own output says why. Try again later")

    async def _roots(self, call: Call) -> Answer:
        return Answer(200, self._standing.current.trust.roots.encode(), "application/x-pem-file")

    async def _bundle(self, call: Call) -> Answer:
        standing = self._standing.current
        return Answer(200, spiffe_bundle(standing.authorities.roots, standing.trust.version))

    async def _trust(self, call: Call) -> Answer:
        """At once if the caller has seen another version, otherwise with the next."""
        seen, standing = _seen(call.query), self._standing.current
        with trio.move_on_after(STANDING_S):
            while standing.trust.version == seen:
                standing = await self._standing.wait_change(standing)
            return Answer(200, msgspec.json.encode(standing.trust))
        return Answer(304)

    def _svid(self, call: Call, pod: Attestation) -> Answer:
        asked = _decode(call, AskedSvid)
        return _answer(self.issue_svid_to(pod, asked.csr, call.remote, "" if asked.holder == "sidecar" else asked.holder))

    def issue_svid_to(self, pod: Attestation, csr: str, requester: str, holder: str) -> Issued:
        """
        Args:
            requester: what the log says of who asked.

        Raises:
            BadRequest, Forbidden, ConfigError, LogError.
        """
        authorities = self._standing.current.authorities
        identity = workload_id(authorities.trust_domain, pod.namespace, pod.service_account)

        def issue(key: ec.EllipticCurvePublicKey, now: float) -> x509.Certificate:
            return issue_svid(authorities.svid, key, identity, pod.pod_uid, self._lifetime_s, now, holder=holder)

        return self._issue(requester, pod, csr, authorities.svid, issue, identity, holder)

    def _https(self, call: Call, pod: Attestation) -> Answer:
        asked, authority = _decode(call, AskedHttps), self._standing.current.authorities.https
        names = self._names_of(pod.namespace, pod.service_account)
        if names is None:
            raise Forbidden(f"{pod.namespace}/{pod.service_account} is none of the mesh's own servers; "
                            "they stand under `servers` in the issuer's configuration")

        def issue(key: ec.EllipticCurvePublicKey, now: float) -> x509.Certificate:
            return issue_https(authority, key, names, self._lifetime_s, now)

        return _answer(self._issue(call.remote, pod, asked.csr, authority, issue, f"dns:{','.join(names)}"))

    def _issue(
        self, requester: str, pod: Attestation, csr: str, authority: Authority, issue: Issue, name: str, holder: str = ""
    ) -> Issued:
        """Nothing is awaited here: who is revoked, who holds a key, the certificate and its line in the log are one step."""
        standing, now = self._standing.current, self._clock()
        public_key = public_key_of(csr.encode(errors="replace"), standing.own_keys)
        key = key_hash(public_key)
        identity = workload_id(standing.authorities.trust_domain, pod.namespace, pod.service_account)
        if why := standing.deny.why(identity, pod.pod_uid, 0, key):     # no certificate has the serial 0
            raise Forbidden(f"{why}; `bartizan certs revoke --lift` would take it back")
        other = self._log.holder_of(key, now)
        if other is not None and other.pod_uid != pod.pod_uid:
            raise Forbidden("the key belongs to another workload whose certificate has not ended; make a new key")
        if other is not None and other.holder != holder:
            raise Forbidden("the key is held by the pod's sidecar or by its application, and may not be by both; make a new key")
        leaf = issue(public_key, now)
        self._log.record(leaf, name, pod.pod_uid, requester, now, holder=holder)
        return Issued([_pem_of(leaf), *_pems_of(authority.chain)], standing.trust, int(leaf.not_valid_after_utc.timestamp()), now)


ENDPOINTS: dict[str, Public | ForPods] = {
    ROOTS_PATH: Public("GET", Issuer._roots),
    TRUST_PATH: Public("GET", Issuer._trust),
    BUNDLE_PATH: Public("GET", Issuer._bundle),
    SVID_PATH: ForPods("POST", Issuer._svid),
    HTTPS_PATH: ForPods("POST", Issuer._https),
}


def _pem_of(certificate: x509.Certificate) -> str:
    return files.pem_of(certificate).decode()


@lru_cache(maxsize=4)
def _pems_of(chain: tuple[x509.Certificate, ...]) -> list[str]:
    """The same with each leaf."""
    return [_pem_of(certificate) for certificate in chain]


def _answer(issued: Issued) -> Answer:
    return Answer(200, msgspec.json.encode(issued))


def _decode(call: Call, kind: type[T]) -> T:
    try:
        return msgspec.convert(json_object(call.body), kind)
    except (msgspec.ValidationError, ValueError) as exc:
        raise BadRequest(f'the body is not {{"csr": "<PEM>"}}: {exc}') from exc


def _seen(query: str) -> int | None:
    if not query:
        return None
    match = _SEEN.fullmatch(query)
    if match is None:
        raise BadRequest("the query is not `seen=VERSION`")
    return int(match[1])


def _bearer(call: Call) -> str:
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refused("there is none; send the pod's projected token as `Authorization: Bearer`")
    if "," in token:
        raise Refused("there is more than one; which of them counts is for nobody to guess")
    return token
