"""Who asks for a certificate, by the API server: its TokenReview says what the token is bound to, and then the pod is looked at.

The look at the pod is needed: the API server accepts the token of a pod that was deleted less than a minute ago, of one that has
come to its end, and of no pod at all. No answer is remembered, lest it outlive its pod.

Trust: what comes in is a stranger's string and the address that it came from; what leaves is an Attestation of a pod that exists,
runs or is about to, and has that address; or Refused; or CannotTell, where the API server was not to be asked. Attacked by
tests/certs/test_token_review.py, and by tests/e2e/kubernetes against a real API server.
Spec: Kubernetes authentication.k8s.io/v1 TokenReview; core/v1 Pod.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from sidecar.model.address import canonical, is_address

from .authenticate import Attestation, CannotTell, Refused, attestation
from .kubernetes import NOT_FOUND, Api, ApiError

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
POD_NAME, POD_UID = "authentication.kubernetes.io/pod-name", "authentication.kubernetes.io/pod-uid"
_ACCOUNT = "system:serviceaccount:"
_ALIVE = ("Pending", "Running")     # a pod gets its certificate before all of it runs


class User(msgspec.Struct, frozen=True):
    """Whom the API server has authenticated, as it writes it into a TokenReview."""

    username: str = ""
    extra: Mapping[str, Sequence[str]] = {}


class _Outcome(msgspec.Struct, frozen=True):
    authenticated: bool = False
    audiences: Sequence[str] = ()
    user: User = User()
    error: str = ""


class _Review(msgspec.Struct, frozen=True):
    status: _Outcome


class _Address(msgspec.Struct, frozen=True):
    ip: str


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    uid: str
    deletion_timestamp: datetime | None = None


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    service_account_name: str = "default"


class _State(msgspec.Struct, frozen=True, rename={"pod_ips": "podIPs"}):
    phase: str = ""
    pod_ips: Sequence[_Address] = ()


class _Pod(msgspec.Struct, frozen=True):
    metadata: _Metadata
    spec: _Spec
    status: _State = _State()


class TokenReviewAttestor:
    """
    Args:
        audience: what the token must be for; a token for the API server is none for us.
        checks_address: that the caller's address is the pod's. Off only where something between them hides it.
    """

    def __init__(self, api: Api, audience: str, *, checks_address: bool = True) -> None:
        self._api = api
        self._audience = audience
        self._checks_address = checks_address

    async def attest(self, token: str, remote: str, now: float) -> Attestation:
        asked = {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token, "audiences": [self._audience]},
        }
        try:
            outcome = (await self._api.create(TOKEN_REVIEWS, asked, _Review)).status
        except ApiError as exc:
            raise CannotTell(str(exc)) from exc
        if not outcome.authenticated:
            raise Refused(f"the API server does not know it ({outcome.error[:300] or 'no reason given'})")
        # > If a TokenReview returns an empty status.audience field where status.authenticated is "true", the token is valid
        # > against the audience of the Kubernetes API server.
        if self._audience not in outcome.audiences:
            raise Refused(f"it is for another audience; mount a projected token with audience {self._audience!r}")
        pod = bound_pod(outcome.user)
        await look_at(self._api, pod, remote if self._checks_address else None, now)
        return pod


def bound_pod(user: User) -> Attestation:
    """The pod that the credentials of `user` were bound to when they were made, or Refused."""
    namespace, colon, account = user.username.removeprefix(_ACCOUNT).partition(":")
    if not user.username.startswith(_ACCOUNT) or not colon:
        raise Refused("it is no service account's")
    match user.extra.get(POD_NAME), user.extra.get(POD_UID):
        case [name], [uid]:
            return attestation(namespace, account, name, uid)
    raise Refused("it is bound to no pod; mount a projected token, one of a Secret or of `kubectl create token` lives on without its pod")


async def look_at(api: Api, pod: Attestation, remote: str | None, now: float) -> None:
    """The pod is there, is the one that is meant, and lives.

    Args:
        remote: an address that must be the pod's; None: any may ask.

    Raises:
        Refused, CannotTell.
    """
    try:
        found = await api.get(f"/api/v1/namespaces/{pod.namespace}/pods/{pod.pod_name}", _Pod)
    except ApiError as exc:
        if exc.status == NOT_FOUND:
            raise Refused("its pod is gone") from exc
        raise CannotTell(str(exc)) from exc
    if found.metadata.uid != pod.pod_uid:
        raise Refused("its pod is gone, and another has its name")
    if found.spec.service_account_name != pod.service_account:
        raise Refused("its pod runs as another service account")
    if found.status.phase not in _ALIVE:
        raise Refused(f"its pod has come to its end (phase {found.status.phase or 'none'})")
    # > DeletionTimestamp is RFC 3339 date and time at which this resource will be deleted: the grace lies before it.
    if (ends := found.metadata.deletion_timestamp) is not None and ends.timestamp() <= now:
        raise Refused("its pod is being deleted, and its grace has ended")
    if remote is None:
        return
    addresses = {str(canonical(address.ip)) for address in found.status.pod_ips if is_address(address.ip)}
    if not addresses:   # the kubelet reports it a moment after the sandbox has it
        raise CannotTell(f"the pod {pod.namespace}/{pod.pod_name} has no address yet by the API server; it may ask again soon")
    if remote not in addresses:
        raise Refused(f"it came from {remote}, which is no address of its pod ({', '.join(sorted(addresses))}); where something "
                      "between them changes addresses, see `tokens.addressUncheckedBecause`")
