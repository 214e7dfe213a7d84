"""The issuer as a signer of Kubernetes: CertificateSigningRequests for `bartizan.dev/workload` become SVIDs, or are denied.

Who asks is what the API server wrote into the request when it was created: the service account and the pod that its creator's token
was bound to. That pod is looked at and the key judged as over HTTPS; the address alone is not known here. The certificate is one
that the application holds, since whoever has the pod's token for the API server is no sidecar of ours. A lifetime that is asked for
is not heeded: the issuer's own counts.

Requests are listed every few seconds. One is answered in three steps that each may be repeated: the certificate (kept meanwhile),
the approval, the status; a conflict with somebody else's change, or an API server that is away, leaves the rest for the next look.

Trust: names and extensions of the request are never looked at. Attacked by tests/certs/test_csr_signer.py and tests/e2e/kubernetes.
Spec: Kubernetes certificates.k8s.io/v1.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import trio

from sidecar.model.errors import ConfigError, MeshError
from sidecar.net.clock import WallClock

from .authenticate import Attestation, CannotTell, Refused
from .kubernetes import Api, ApiError, Metadata
from .log import LogError
from .rate_limit import RateLimit
from .request import BadRequest
from .token_review import User, bound_pod, look_at

SIGNER = "bartizan.dev/workload"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
LOOK_EVERY_S = 2.0
RETRY_S = 15.0
PER_S, BURST, SOURCES = 0.2, 10, 8192       # of one pod
HOLDER = "application"
_USAGES = {"digital signature", "key encipherment", "client auth", "server auth"}
_DONE = {"Denied", "Failed"}

Condition = Mapping[str, str | None]


class _Spec(User, frozen=True, kw_only=True, rename="camel"):
    request: bytes      # msgspec reads base64 into bytes
    signer_name: str
    usages: Sequence[str] = ()


class _State(msgspec.Struct, frozen=True):
    conditions: Sequence[Condition] = ()
    certificate: str = ""


class _Csr(msgspec.Struct, frozen=True):
    metadata: Metadata
    spec: _Spec
    status: _State = _State()

    def has(self, *kinds: str) -> bool:
        return any(condition.get("type") in kinds for condition in self.status.conditions)


class Issued(Protocol):
    @property
    def chain(self) -> list[str]: ...


Issue = Callable[[Attestation, str, str, str], Issued]


class CsrSigner:
    """
    Args:
        issue: makes and logs an SVID, given the pod, the request in PEM, what the log says of who asked, and who holds the key;
            whoever is revoked, or brings a key that is not theirs, is refused there.
    """

    def __init__(self, api: Api, issue: Issue, clock: WallClock) -> None:
        self._api = api
        self._issue = issue
        self._clock = clock
        self._limit = RateLimit(PER_S, BURST, SOURCES)
        self._made: dict[str, str] = {}     # by the request's uid: certificates that are logged and not yet delivered

    async def run(self) -> None:
        """For ever."""
        told = ""
        while True:
            try:
                await self.look()
                told = ""
                await trio.sleep(LOOK_EVERY_S)
            except (ApiError, CannotTell, ConfigError, LogError) as exc:
                if str(exc) != told:
                    told = str(exc)
                    print(f"bartizan: certificate signing requests have to wait: {told}", file=sys.stderr, flush=True)
                await trio.sleep(RETRY_S)

    async def look(self) -> None:
        """Answer every request that has none. One that cannot be answered now keeps no other from its answer.

        Raises:
            ApiError, CannotTell, ConfigError, LogError: the first that stood in the way.
        """
        failed: MeshError | None = None
        seen: set[str] = set()
        token, is_last = "", False
        while not is_last:
            page, token = await self._api.page(REQUESTS, f"fieldSelector=spec.signerName%3D{SIGNER}", _Csr, token)
            is_last = not token
            for csr in page:
                seen.add(csr.metadata.uid)
                try:
                    await self._answer(csr)
                except (ApiError, CannotTell, ConfigError, LogError) as exc:
                    failed = failed or exc
        self._made = {uid: chain for uid, chain in self._made.items() if uid in seen}
        if failed is not None:
            raise failed

    async def _answer(self, csr: _Csr) -> None:
        if csr.spec.signer_name != SIGNER or csr.status.certificate or csr.has(*_DONE):
            return
        now = self._clock()
        try:
            pod = bound_pod(csr.spec)
            if csr.metadata.uid not in self._made:
                if unknown := sorted(set(csr.spec.usages) - _USAGES):
                    raise Refused(f"the usage {unknown[0][:100]!r} is not for workloads; ask for client auth, server auth")
                await look_at(self._api, pod, None, now)
                if self._limit.take(pod.pod_uid, now):
                    return      # at a later look
                issued = self._issue(pod, csr.spec.request.decode("ascii", "replace"), f"csr/{csr.metadata.name}", HOLDER)
                self._made[csr.metadata.uid] = "".join(issued.chain)
        except (CannotTell, ConfigError, LogError, ApiError):
            raise
        except MeshError as exc:        # Refused, BadRequest, Forbidden
            await self._refuse(csr, exc)
            return
        if not csr.has("Approved"):
            verified = _condition("Approved", "PodVerified", f"it was asked for by the pod {pod.namespace}/{pod.pod_name}, which lives")
            csr = await self._patch(csr, "approval", {"conditions": [*csr.status.conditions, verified]})
        await self._patch(csr, "status", {"certificate": msgspec.to_builtins(self._made[csr.metadata.uid].encode())})
        del self._made[csr.metadata.uid]

    async def _refuse(self, csr: _Csr, why: MeshError) -> None:
        # > Approved and Denied conditions are mutually exclusive
        kind, place = ("Failed", "status") if csr.has("Approved") else ("Denied", "approval")
        reason = "BadRequest" if isinstance(why, BadRequest) else "Refused"
        await self._patch(csr, place, {"conditions": [*csr.status.conditions, _condition(kind, reason, str(why)[:1000])]})

    async def _patch(self, csr: _Csr, place: str, status: Mapping[str, object]) -> _Csr:
        body = {"metadata": {"resourceVersion": csr.metadata.resource_version}, "status": status}
        return await self._api.patch(f"{REQUESTS}/{csr.metadata.name}/{place}", body, _Csr)


def _condition(kind: str, reason: str, message: str) -> Condition:
    return {"type": kind, "status": "True", "reason": reason, "message": message}
