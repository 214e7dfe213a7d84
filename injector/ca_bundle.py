"""By whom the API server verifies the webhook: `caBundle` of the webhook configurations, kept all the roots that the mesh trusts.

While a root is rotated those are the old one and the new one, and they stand there before anybody serves with a certificate under the
new one: a replica says that it holds a trust only once it has seen that trust's roots in both configurations (`holds`), and until
every replica has said so the issuer signs with the old root. What somebody else writes there is mended at the next look. Until the
first roots are there the API server verifies nobody, and with `failurePolicy: Fail` admits nothing.

One replica writes, all of them look. Nothing but `caBundle` is changed, on condition that nobody changed the object meanwhile.

Trust: who may write these configurations says who decides on admission; `patch` on them by name is all that our role has.
"""

import base64
import sys
from collections.abc import Callable
from typing import Any

import trio

from certs.kubernetes import CONFLICT, NOT_FOUND, Api, ApiError
from sidecar.model.trust import Trust

from .trust import TrustWatch

LOOK_EVERY_S = 5.0
LACKING_S = 0.5         # where a look found that roots are missing
GROUP = "/apis/admissionregistration.k8s.io/v1"
KINDS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")


class CaBundle:
    """
    Args:
        name: of the configurations.
        may_write: whether this replica is the one that does.
    """

    def __init__(self, api: Api, name: str, trust: TrustWatch, may_write: Callable[[], bool]) -> None:
        self._api = api
        self._name = name
        self._trust = trust
        self._may_write = may_write
        self._told = ""
        self._seen: Trust | None = None

    @property
    def holds(self) -> int:
        """The version of the trust whose roots the last look found in every configuration that there is; 0: of none."""
        return self._seen.version if self._seen is not None else 0

    async def run(self) -> None:
        """For ever. What fails is told once, and tried again."""
        while True:
            anchors = self._trust.anchors.current
            try:
                is_whole = await self.look()
            except ApiError as exc:
                self._tell(str(exc) if exc.status != CONFLICT else "")
                is_whole = False
            else:
                if is_whole:
                    self._told = ""
            with trio.move_on_after(LOOK_EVERY_S if is_whole else LACKING_S):
                await self._trust.anchors.wait_change(anchors)

    async def look(self) -> bool:
        """Whether every configuration held the roots of now; where one did not, it does afterwards if we may write. Raises ApiError."""
        trust = self._trust.current
        wanted = base64.b64encode(trust.roots.encode()).decode()
        found = [await self._look_at(f"{GROUP}/{kind}/{self._name}", wanted) for kind in KINDS]
        self._seen = trust if all(found) else None
        return all(found)

    async def _look_at(self, path: str, wanted: str) -> bool:
        try:
            made = await self._api.get(path, dict)
        except ApiError as exc:
            if exc.status == NOT_FOUND:
                return True     # nobody is verified by what is not there
            raise
        webhooks: list[dict[str, Any]] = made.get("webhooks") or []
        if all(webhook["clientConfig"].get("caBundle") == wanted for webhook in webhooks):
            return True
        if not self._may_write():
            return False
        if self._seen is not None and self._seen.roots == self._trust.current.roots:
            self._tell(f"somebody else had written to caBundle of {path.removeprefix(GROUP + '/')}")
        changed = [{**webhook, "clientConfig": {**webhook["clientConfig"], "caBundle": wanted}} for webhook in webhooks]
        # Fields whose value stays stay whose they are; a merge patch takes a list whole.
        await self._api.patch(path, {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "webhooks": changed}, dict)
        return False    # what the API server holds is for the next look to see

    def _tell(self, what: str) -> None:
        if what and what != self._told:
            self._told = what
            print(f"bartizan: the API server's trust in the webhook: {what}", file=sys.stderr, flush=True)
