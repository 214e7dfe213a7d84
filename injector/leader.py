"""Which of the replicas does what only one may do: the one that holds a Lease.

    follows -- the Lease is free, or was not renewed for as long as it says --> leads
    leads   -- somebody else holds it, or it could not be renewed in RENEW_S --> follows

Clocks need not agree: the times in a Lease are for people. What counts is how long ago, by our own clock, it was last seen to change; and
whoever leads stops by its own clock, a third before anybody else may begin. Who leaves gives the Lease back.

Spec: coordination.k8s.io/v1 Lease, as client-go's leader election uses it (durations, transitions, release).
"""

import random  # noqa: TID251 -- the generator's type
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import trio

from certs.kubernetes import CONFLICT, NOT_FOUND, Api, ApiError
from sidecar.net.clock import WallClock
from sidecar.net.watched import Watched

LEASE_S = 15            # what client-go takes, as these are
RENEW_S = 10.0
RETRY_S = 2.0
JITTER = 1.2
RELEASE_S = 1.0

Task = Callable[[], Awaitable[None]]


class _Metadata(msgspec.Struct, rename="camel"):
    resource_version: str


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    renew_time: str | None = None
    acquire_time: str | None = None
    lease_transitions: int | None = None


class _Lease(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec = msgspec.field(default_factory=_Spec)


class Leader:
    """
    Args:
        name: of the Lease.
        identity: ours; of each start its own, so that nobody takes what a process before it held for its own.
        report: one line when we begin or cease to lead, or cannot ask.

    Attributes:
        leads: whether we do.
    """

    def __init__(
        self, api: Api, namespace: str, name: str, identity: str, wall: WallClock, rng: random.Random, report: Callable[[str], None],
    ) -> None:
        self.leads = Watched(False)
        self._api = api
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self._identity = identity
        self._wall = wall
        self._rng = rng
        self._report = report
        self._failure = ""
        self._seen: _Spec | None = None     # of somebody else's
        self._seen_at = 0.0

    async def run(self) -> None:
        """For ever."""
        until = trio.current_time()     # when we cease to lead, unless it is renewed
        try:
            while True:
                began = trio.current_time()
                with trio.move_on_at(until if self.leads.current else began + RENEW_S):
                    if await self._try():
                        until = began + RENEW_S     # the others' time begins when they see it, which is later
                with trio.move_on_at(until if self.leads.current else began + RENEW_S + RETRY_S):
                    await trio.sleep(RETRY_S * self._rng.uniform(1.0, JITTER))
                if self.leads.current and trio.current_time() >= until:
                    self._cease("it could not be renewed")
        finally:
            if self.leads.current:
                self._cease("this process ends")
                with trio.move_on_after(RELEASE_S, shield=True):
                    await self._release()

    async def while_leading(self, *tasks: Task) -> None:
        """For ever: these run while we lead, and are cancelled when we cease to."""
        while True:
            await self.leads.wait_change(False)
            async with trio.open_nursery() as nursery:
                for task in tasks:
                    nursery.start_soon(task)
                await self.leads.wait_change(True)
                nursery.cancel_scope.cancel()

    async def _try(self) -> bool:
        """Whether we lead for another while."""
        try:
            is_ours = await self._take()
        except ApiError as exc:
            if exc.status != CONFLICT and str(exc) != self._failure:
                self._failure = str(exc)
                self._report(f"who leads cannot be asked, and it is tried again: {exc}")
            return False
        self._failure = ""
        if is_ours and not self.leads.current:
            self._report(f"{self._identity} leads by the Lease {self._name}")
        self.leads.set(is_ours)
        return is_ours

    async def _take(self) -> bool:
        """Renew it, or take it if it is free. Raises ApiError, of status CONFLICT if somebody was faster."""
        try:
            lease = await self._api.get(f"{self._collection}/{self._name}", _Lease)
        except ApiError as exc:
            if exc.status != NOT_FOUND:
                raise
            metadata = {"name": self._name, "labels": {"app.kubernetes.io/part-of": "bartizan"}}
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": self._held(0)}
            await self._api.create(self._collection, body, _Lease)
            return True
        if lease.spec.holder_identity == self._identity:
            await self._patch(lease, {"renewTime": self._now()})
            return True
        if not self._is_over(lease.spec):
            if self.leads.current:
                self._cease(f"{lease.spec.holder_identity} holds it")
            return False
        await self._patch(lease, self._held((lease.spec.lease_transitions or 0) + 1))
        return True

    def _is_over(self, spec: _Spec) -> bool:
        """Whether nobody holds it, by what was seen of it, and since when."""
        if spec != self._seen:
            self._seen, self._seen_at = spec, trio.current_time()
        return not spec.holder_identity or trio.current_time() >= self._seen_at + (spec.lease_duration_seconds or LEASE_S)

    def _held(self, transitions: int) -> dict[str, Any]:
        now = self._now()
        return {"holderIdentity": self._identity, "leaseDurationSeconds": LEASE_S, "acquireTime": now, "renewTime": now,
                "leaseTransitions": transitions}

    async def _patch(self, lease: _Lease, spec: dict[str, Any]) -> None:
        body = {"metadata": {"resourceVersion": lease.metadata.resource_version}, "spec": spec}
        await self._api.patch(f"{self._collection}/{self._name}", body, _Lease)

    async def _release(self) -> None:
        try:
            lease = await self._api.get(f"{self._collection}/{self._name}", _Lease)
            if lease.spec.holder_identity == self._identity:
                await self._patch(lease, {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._now()})
        except ApiError:
            pass    # then the others wait until it is over

    def _cease(self, why: str) -> None:
        self._report(f"{self._identity} leads no more: {why}")
        self.leads.set(False)

    def _now(self) -> str:
        """A MicroTime."""
        return datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
