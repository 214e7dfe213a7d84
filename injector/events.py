"""Kubernetes Events, for who watches the cluster rather than our log.

They are a convenience: what they say stands in the log or the metrics, too. So nobody waits for one, and one that the API server does
not take is told and dropped. What is said again is the same Event, counted; who causes many of one object is heard for the first few.
An Event's name is made of what it says, so that replicas, and processes one after the other, do not repeat each other.

Spec: Kubernetes API, Event v1 core; the bounds are those of client-go's correlator, but smaller.
"""

import hashlib
import sys
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import trio

from certs.kubernetes import CONFLICT, NOT_FOUND, Api, ApiError
from sidecar.net.clock import WallClock

from .cluster.objects import Object, text

WAITING = 256           # more are dropped
MOST_TOLD = 2048        # that are remembered
AGAIN_S = 60.0          # the same is not sent more often than that
AT_ONCE = 20            # about one object; then one each
EACH_S = 300.0
MOST_TEXT = 1024        # what the API server takes of a message
COMPONENT = "bartizan-injector"


@dataclass(frozen=True, slots=True)
class About:
    """The object that an Event is shown with."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, one: Object) -> "About":
        return cls(text(one.data.get("apiVersion"), "apiVersion") or "v1", one.kind, one.namespace, one.name, one.uid)


@dataclass(frozen=True, slots=True)
class Said:
    about: About
    is_warning: bool
    reason: str
    message: str

    @property
    def name(self) -> str:
        digest = hashlib.sha256("\0".join((self.about.uid, self.about.kind, self.reason, self.message)).encode()).hexdigest()
        return f"{self.about.name[:200]}.{digest[:16]}"


@dataclass(slots=True)
class _Told:
    first_at: float
    count: int = 0
    sent_at: float = -AGAIN_S
    is_waiting: bool = False
    is_made: bool = False


class Events:
    def __init__(self, api: Api, wall: WallClock) -> None:
        self._api = api
        self._wall = wall
        self._into, self._out = trio.open_memory_channel[Said](WAITING)
        self._told: OrderedDict[Said, _Told] = OrderedDict()
        self._room: OrderedDict[About, tuple[float, float]] = OrderedDict()      # how many more, as of when
        self._failure = ""

    def tell(self, about: About, reason: str, message: str, *, is_warning: bool = True) -> None:
        """Never waits.

        Args:
            reason: one word, `RuleNotInForce`.
        """
        said = Said(about, is_warning, reason, message[:MOST_TEXT])
        told = self._told.get(said)
        if told is None:
            if not self._has_room(about):
                return
            told = self._told[said] = _Told(self._wall())
            if len(self._told) > MOST_TOLD:
                self._told.popitem(last=False)
        self._told.move_to_end(said)
        told.count += 1
        if told.is_waiting or trio.current_time() < told.sent_at + AGAIN_S:
            return
        try:
            self._into.send_nowait(said)
            told.is_waiting = True
        except trio.WouldBlock:
            self._lost(f"{WAITING} wait already")

    async def run(self) -> None:
        """For ever."""
        async for said in self._out:
            told = self._told.get(said)
            if told is None:
                continue    # others came since
            told.is_waiting, told.sent_at = False, trio.current_time()
            try:
                await self._send(said, told)
                told.is_made, self._failure = True, ""
            except ApiError as exc:
                self._lost(str(exc))

    def _has_room(self, about: About) -> bool:
        """For another one about this object."""
        now = trio.current_time()
        left, as_of = self._room.pop(about, (float(AT_ONCE), now))
        left = min(float(AT_ONCE), left + (now - as_of) / EACH_S)
        has_room = left >= 1
        self._room[about] = left - has_room, now
        if len(self._room) > MOST_TOLD:
            self._room.popitem(last=False)
        return has_room

    async def _send(self, said: Said, told: _Told) -> None:
        collection = f"/api/v1/namespaces/{said.about.namespace or 'default'}/events"
        again: dict[str, Any] = {"lastTimestamp": _time(self._wall()), "count": told.count}
        if told.is_made:
            try:
                await self._api.patch(f"{collection}/{said.name}", again, dict)
                return
            except ApiError as exc:
                if exc.status != NOT_FOUND:     # they last for an hour
                    raise
        try:
            await self._api.create(collection, event(said, told.first_at, told.count), dict)
        except ApiError as exc:
            if exc.status != CONFLICT:
                raise
            del again["count"]      # another replica's, or of a process before us: it knows better
            await self._api.patch(f"{collection}/{said.name}", again, dict)

    def _lost(self, why: str) -> None:
        if why != self._failure:
            self._failure = why
            print(f"bartizan: no Kubernetes Event: {why}", file=sys.stderr, flush=True)


def event(said: Said, first_at: float, count: int) -> dict[str, Any]:
    about = said.about
    return {
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": said.name, "namespace": about.namespace or "default"},
        "involvedObject": {
            "apiVersion": about.api_version, "kind": about.kind, "namespace": about.namespace, "name": about.name, "uid": about.uid,
        },
        "type": "Warning" if said.is_warning else "Normal", "reason": said.reason, "message": said.message,
        "firstTimestamp": _time(first_at), "lastTimestamp": _time(first_at), "count": count,
        "source": {"component": COMPONENT}, "reportingComponent": COMPONENT,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
