"""A call becomes a certificate, or a refusal that says why.

    1 how often    2 who (token)    3 which key (CSR)    4 whose key already    5 certificate, log    6 answer

Trust: identity and pod come from the attestation alone, the key from the request alone. Every endpoint stands in one table with
what it demands of its caller; whatever is not in it does not exist. Attacked by tests/certs/test_issuer.py.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.model.call import Answer, Call
from sidecar.model.errors import ConfigError
from sidecar.model.identity import workload_id
from sidecar.model.trust import Trust
from sidecar.net.jwt import json_object

from . import files
from .authenticate import Attestation, Attestor, Refused
from .log import Log, LogError
from .profile import issue_svid
from .rate_limit import RateLimit
from .request import BadRequest, key_hash, public_key_of

MAX_BODY_BYTES = 24 << 10       # a request of the greatest length, escaped as JSON
PER_S, BURST, SOURCES = 5.0, 100, 8192      # a node's pods may share an address and start all at once

ROOTS_PATH = "/v1/roots"
SVID_PATH = "/v1/svid"


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /v1/svid. `csr` is PEM; of what it holds only the key counts."""

    csr: str


class Issued(msgspec.Struct, frozen=True, rename="camel"):
    """Its answer: PEM certificates, leaf first; the trust bundle; when the leaf ends, and our clock, Unix seconds."""

    chain: list[str]
    trust: Trust
    not_after: int
    now: float


@dataclass(frozen=True, slots=True)
class Public:
    """An endpoint that anybody may call."""

    method: str
    answer: Callable[["Issuer", Call], Answer]


@dataclass(frozen=True, slots=True)
class ForPods:
    """An endpoint that cannot be called without an Attestation."""

    method: str
    answer: Callable[["Issuer", Call, Attestation], Answer]


class Issuer:
    """
    Args:
        lifetime_s: of the SVIDs, within what `profile` allows.
        clock: Unix seconds.
    """

    def __init__(
        self, authorities: files.Authorities, attestor: Attestor, log: Log, lifetime_s: float, clock: Callable[[], float]
    ) -> None:
        self._authorities = authorities
        self._attestor = attestor
        self._log = log
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._limit = RateLimit(PER_S, BURST, SOURCES)
        self._own_keys = _own_keys(authorities)

    async def answer(self, call: Call) -> Answer:
        """The handler of the HTTPS server."""
        endpoint = ENDPOINTS.get(call.path)
        if endpoint is None:
            return _error(404, f"there is no {call.path[:100]!r} here; see {' and '.join(ENDPOINTS)}")
        if call.method != endpoint.method:
            return _error(405, f"{call.path} takes {endpoint.method} only", ("allow", endpoint.method))
        if wait_s := self._limit.take(call.remote, self._clock()):
            retry_s = math.ceil(wait_s)
            return _error(429, f"too many requests from {call.remote}; try again in {retry_s} s", ("retry-after", f"{retry_s}"))
        try:
            match endpoint:
                case Public():
                    return endpoint.answer(self, call)
                case ForPods():
                    return endpoint.answer(self, call, await self._attestor.attest(_bearer(call), self._clock()))
        except Refused as exc:
            return _error(401, str(exc), ("www-authenticate", "Bearer"))
        except BadRequest as exc:
            return _error(400, str(exc))
        except (ConfigError, LogError) as exc:
            print(f"bartizan: {exc}", file=sys.stderr)      # for the operator: the cause names files, which are not the caller's
            return _error(503, "the issuer cannot issue now; its own output says why. Try again later")

    def _roots(self, call: Call) -> Answer:
        return Answer(200, files.pem_of(*self._authorities.roots), "application/x-pem-file")

    def _svid(self, call: Call, pod: Attestation) -> Answer:
        """Nothing is awaited here: who holds a key, the certificate and its line in the log are one step."""
        if len(call.body) > MAX_BODY_BYTES:
            return _error(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        try:
            asked = msgspec.convert(json_object(call.body), Asked)
        except (msgspec.ValidationError, ValueError) as exc:
            raise BadRequest(f'the body is not {{"csr": "<PEM>"}}: {exc}') from exc
        public_key = public_key_of(asked.csr.encode(errors="replace"), self._own_keys)
        now = self._clock()
        holder = self._log.holder_of(key_hash(public_key), now)
        if holder is not None and holder.pod_uid != pod.pod_uid:
            return _error(403, "the key belongs to another workload whose certificate has not ended; make a new key")
        identity = workload_id(self._authorities.trust_domain, pod.namespace, pod.service_account)
        authority = self._authorities.svid
        leaf = issue_svid(authority, public_key, identity, pod.pod_uid, self._lifetime_s, now)
        self._log.record(leaf, identity, pod.pod_uid, call.remote, now)
        chain = [files.pem_of(certificate).decode() for certificate in (leaf, authority.certificate)]
        trust = Trust(1, files.pem_of(*self._authorities.roots).decode())
        return Answer(200, msgspec.json.encode(Issued(chain, trust, int(leaf.not_valid_after_utc.timestamp()), now)))


ENDPOINTS: dict[str, Public | ForPods] = {
    ROOTS_PATH: Public("GET", Issuer._roots),
    SVID_PATH: ForPods("POST", Issuer._svid),
}


def _own_keys(authorities: files.Authorities) -> frozenset[str]:
    certificates = (*authorities.roots, authorities.svid.certificate, authorities.https.certificate)
    keys = (certificate.public_key() for certificate in certificates)
    return frozenset(key_hash(key) for key in keys if isinstance(key, ec.EllipticCurvePublicKey))


def _bearer(call: Call) -> str:
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refused("there is none; send the pod's projected token as `Authorization: Bearer`")
    if "," in token:
        raise Refused("there is more than one; which of them counts is for nobody to guess")
    return token


def _error(status: int, why: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status, msgspec.json.encode({"error": why}), headers=headers)
