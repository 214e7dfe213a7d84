"""Egress that is unusual, told as soon as its sidecar has told of it: one line in the log, a metric, and whoever else is to hear.

The profiles are kept in the state directory; where they are missing they are learned anew of the ledgers that are there. What came in
within the last minute before a crash may be learned twice, or told twice.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import trio

from certs.files import write
from injector.audit.names import workload_of
from injector.audit.store import open_store
from sidecar.model.errors import ConfigError
from sidecar.model.ledger import Entry
from sidecar.model.value import from_json
from sidecar.net.clock import WallClock

from .anomalies import Anomaly, anomalies
from .profile import DAY_S, Profile, forget, learn, note, told

PROFILE = "profile.json"
METRIC = "bartizan_egress_anomalies_total"
SAVE_EVERY_S = 60.0
MOST_TOLD = 100         # a day, of one workload; beyond it they are counted, and one line says so

Labels = tuple[tuple[str, str], ...]


class PodName(msgspec.Struct, frozen=True):
    namespace: str
    name: str
    uid: str


class Alerts:
    """
    Args:
        path: of the profiles.
        count: a metric.
        is_gateway: whether the pod with this uid may speak for those whom it leads out; else nobody could teach another's profile.
        tell: whoever else is to hear.
    """

    def __init__(
        self, path: Path, profile: Profile, wall: WallClock, count: Callable[[str, Labels], None],
        is_gateway: Callable[[str], bool], tell: Callable[[Anomaly, PodName], None] | None = None,
    ) -> None:
        self.profile = profile
        self._is_gateway = is_gateway
        self._path = path
        self._wall = wall
        self._count = count
        self._tell = tell
        self._is_changed = False

    @classmethod
    def open(
        cls, state: Path, days: int, wall: WallClock, count: Callable[[str, Labels], None],
        is_gateway: Callable[[str], bool], tell: Callable[[Anomaly, PodName], None] | None = None,
    ) -> "Alerts":
        """Those of the state directory. ConfigError if its ledgers cannot be read."""
        path, now = state / PROFILE, wall()
        profile = _kept(path)
        if profile is None:
            profile = learn(_entries(state / "ledger", now - days * DAY_S, is_gateway), now, days)
        profile.days = days
        return cls(path, profile, wall, count, is_gateway, tell)

    def take(self, uid: str, name: str, entries: Iterable[Entry]) -> None:
        """The next ones of a pod, verified and kept.

        Args:
            name: `shop/web-1`
        """
        now = self._wall()
        namespace, _, own_name = name.partition("/")
        pod = PodName(namespace, own_name, uid)
        for entry in entries:
            if (entry.caller and not self._is_gateway(uid)) or entry.time < now - self.profile.days * DAY_S:
                continue
            for anomaly in anomalies(self.profile, entry, now):
                self._raise(anomaly, pod, int(now) // DAY_S)
            if (said := told(entry, now)) is not None:
                note(self.profile, said)
                self._is_changed = True

    def _raise(self, anomaly: Anomaly, pod: PodName, day: int) -> None:
        """Once a day."""
        workload = self.profile.workloads[anomaly.workload]
        if workload.told.get(anomaly.key) == day:
            return
        name = "/".join(workload_of(anomaly.workload))
        self._count(METRIC, (("kind", anomaly.kind), ("workload", name)))
        if len(workload.told) >= MOST_TOLD:
            workload.told = {key: at for key, at in workload.told.items() if at == day}
        if len(workload.told) >= MOST_TOLD:
            return
        workload.told[anomaly.key] = day
        line = msgspec.json.encode({"event": "egress-anomaly", **msgspec.to_builtins(anomaly), "pod": f"{pod.namespace}/{pod.name}"})
        print(line.decode(), file=sys.stderr, flush=True)
        if self._tell is not None:
            self._tell(anomaly, pod)
        if len(workload.told) == MOST_TOLD:
            print(f"bartizan: more egress anomalies of {name} today are counted, and not told", file=sys.stderr, flush=True)

    async def run(self) -> None:
        """Keep the profiles; a last time when cancelled."""
        try:
            while True:
                await trio.sleep(SAVE_EVERY_S)
                forget(self.profile, self._wall())
                self._save()
        finally:
            self._save()

    def _save(self) -> None:
        """If there is news; a disk that does not take it is told, and tried again."""
        if not self._is_changed:
            return
        try:
            write(self._path, msgspec.json.encode(self.profile), replace=True)
            self._is_changed = False
        except ConfigError as exc:
            print(f"bartizan: egress profiles are not kept: {exc}", file=sys.stderr, flush=True)


def _kept(path: Path) -> Profile | None:
    """None: it is not there, or is none, which is told."""
    try:
        return from_json(path.read_bytes(), Profile)
    except FileNotFoundError:
        return None
    except (OSError, ConfigError) as exc:
        print(f"bartizan: {path} is learned anew: {exc}", file=sys.stderr, flush=True)
        return None


def _entries(folder: Path, since: float, is_gateway: Callable[[str], bool]) -> Iterator[Entry]:
    """Of the ledgers that are there, as far as their chains vouch for them."""
    if not any(folder.glob("*/*.jsonl")):
        return
    store = open_store([str(folder)])
    for ledger, parts in store.chains:
        namespace = ledger.namespace
        for entry, is_sound in ledger.read(parts, Entry, store.heads.get(ledger.pod)):
            is_own = workload_of(entry.local)[0] == namespace and (not entry.caller or is_gateway(ledger.pod_uid))
            if is_sound and is_own and entry.time >= since:
                yield entry
