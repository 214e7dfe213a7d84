"""What a collection holds, followed by what the API server tells of it: a list first, then events. Pure: no connection, no clock.

    listed     the whole: what is new, what is another, what is gone. Nothing else is a change, so that a list that had to be asked for
               anew takes nothing away for a moment.
    event      one line of a watch: ADDED, MODIFIED, DELETED; BOOKMARK, which says how far we are; ERROR

An object that cannot be read keeps what was read before, and is reported once.

Trust: objects were written by whoever may create them; what leaves here is kept (`kinds.py`) and checked (`checked.py`).
Spec: Kubernetes API concepts, "Efficient detection of changes".
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from certs.kubernetes import GONE, NO_ANSWER, ApiError
from sidecar.model.errors import MeshError

from . import Ref
from .checked import checked
from .kinds import Collection, kept
from .objects import Json

Changes = dict[Ref, Json | None]    # None: there is none any more


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    resource_version: str
    namespace: str = ""


class _Head(msgspec.Struct):
    metadata: _Metadata


class _Position(msgspec.Struct, rename="camel"):
    resource_version: str


class _Bookmark(msgspec.Struct):
    metadata: _Position


class _Status(msgspec.Struct):
    code: int = NO_ANSWER
    message: str = ""


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class Reflector:
    """
    Args:
        report: one line for each object that cannot be read.

    Attributes:
        version: the resourceVersion that a watch goes on from; empty: it must be listed.
        held: what is in force.
        unreadable: what was never read.
    """

    def __init__(self, collection: Collection, report: Callable[[str], None]) -> None:
        self.collection = collection
        self.version = ""
        self.held: dict[Ref, Json] = {}
        self.unreadable: set[Ref] = set()
        self._report = report
        self._reported: dict[Ref, str] = {}     # the resourceVersion that was

    def read(self, items: Iterable[msgspec.Raw]) -> dict[Ref, Json | None]:
        """Objects as they are kept; None: it cannot be read. Nothing is in force by that."""
        return dict(map(self._read, items))

    def listed(self, found: dict[Ref, Json | None], version: str) -> Changes:
        """The collection, whole, as `read` made it of the list at `version`."""
        changes: Changes = {}
        for ref in [ref for ref in (*self.held, *self.unreadable) if ref not in found]:
            changes |= self._drop(ref)
        for ref, item in found.items():
            changes |= self._put(ref, item)
        self.version = version
        return changes

    def event(self, line: bytes | msgspec.Raw) -> Changes:
        """One line of a watch. Raises ApiError, after which `version` says where to go on; of status GONE nowhere: list anew."""
        event = _decoded(line, _Event)
        if event.type == "ERROR":
            status = _decoded(event.object, _Status)
            if status.code == GONE:
                self.version = ""
            raise ApiError(status.code, f"the watch of {self.collection} ended: {status.code} {status.message[:300]}")
        if event.type == "BOOKMARK":
            self.version = _decoded(event.object, _Bookmark).metadata.resource_version
            return {}
        head = _decoded(event.object, _Head).metadata
        if event.type in ("ADDED", "MODIFIED"):
            changes = self._put(*self._read(event.object))
        elif event.type == "DELETED":
            changes = self._drop(self._ref(head))
        else:
            raise ApiError(NO_ANSWER, f"the watch of {self.collection} tells of {event.type[:100]!r}, which is nothing that is known")
        self.version = head.resource_version
        return changes

    def ended(self) -> Changes:
        """Nobody follows it any more."""
        changes: Changes = dict.fromkeys(self.held)
        self.held, self.version = {}, ""
        return changes

    def _ref(self, head: _Metadata) -> Ref:
        return self.collection.kind.name, head.namespace, head.name

    def _read(self, raw: msgspec.Raw) -> tuple[Ref, Json | None]:
        head = _decoded(raw, _Head).metadata
        ref = self._ref(head)
        try:
            item = checked(kept(self.collection.kind, _decoded(raw, dict[str, Any])))
        except MeshError as exc:
            if self._reported.get(ref) != head.resource_version:
                self._reported[ref] = head.resource_version
                where = f"{head.namespace}/{head.name}" if head.namespace else head.name
                counts = "what was read before counts" if ref in self.held else "it counts as if it were not there"
                self._report(f"{self.collection.kind.name} {where} cannot be read: {exc}; {counts}: correct it")
            return ref, None
        self._reported.pop(ref, None)
        return ref, item

    def _put(self, ref: Ref, item: Json | None) -> Changes:
        if item is None:
            if ref not in self.held:
                self.unreadable.add(ref)
            return {}
        self.unreadable.discard(ref)
        if self.held.get(ref) == item:      # what changed of it nobody reads
            return {}
        self.held[ref] = item
        return {ref: item}

    def _drop(self, ref: Ref) -> Changes:
        self._reported.pop(ref, None)
        self.unreadable.discard(ref)
        return {ref: None} if self.held.pop(ref, None) is not None else {}


def _decoded(data: bytes | msgspec.Raw, kind: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ApiError(NO_ANSWER, f"the API server tells what is not understood: {exc}") from exc
